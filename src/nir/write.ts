import { NoisefloorError } from '../errors.js';
import { windowOutput } from '../graph/shapes.js';
import type { Shape } from '../graph/graph.js';
import { inputName, startOf, type ConvSynapse, type IdentitySynapse, type SpikingLayer, type SpikingModel, type SumLayer, type Synapse } from '../snn/model.js';
import { elementCount } from '../tensor.js';
import { writeHdf5, type Group } from './hdf5.js';

/** Version of the format, as the Python package nir of that version writes it. */
const version = '1.0.8';

/**
 * A spiking model in the Neuromorphic Intermediate Representation (Pedersen et al., Nature Communications 2024), as the bytes of
 * an HDF5 file: Input, Conv2d, AvgPool2d, Flatten, Affine, IF, Output. Values are float32: images normalised, currents
 * near the size of those of the trained network, logits as they are. NIR does not say how neurons begin, and that they reset to 0; here they begin at
 * `metadata/initial_potential` and subtract the threshold, as `metadata/reset` says.
 *
 * @throws NoisefloorError CONVERSION for max-pooling and for layers that start later, which NIR has not; MISSING_DEPENDENCY without h5wasm
 */
export async function encodeNir(model: SpikingModel): Promise<Uint8Array> {
  const pool = model.layers.find((layer) => layer.kind === 'maxPool');
  if (pool) {
    throw new NoisefloorError('CONVERSION', `Cannot write layer "${pool.name}": NIR has no max-pooling. Train or take a network with average pooling.`);
  }
  return writeHdf5((file) => {
    file.create_dataset({ name: 'version', data: version });
    new NirWriter(model, file.create_group('node')).write();
  });
}

class NirWriter {
  readonly #nodes: Group;
  readonly #edges: string[] = [];
  readonly #names = new Map<string, string>();

  constructor(
    readonly model: SpikingModel,
    readonly graph: Group,
  ) {
    graph.create_dataset({ name: 'type', data: 'NIRGraph' });
    this.#nodes = graph.create_group('nodes');
  }

  write(): void {
    const { input, layers } = this.model;
    const later = layers.find((layer) => startOf(layer) > 0);
    if (later) throw new NoisefloorError('CONVERSION', `Cannot write layer "${later.name}": NIR has no neurons that start later. Calibrate with stagger 0 (--calibration-stagger 0).`);
    this.#add('input', 'Input', { shape: integers(input.shape) });
    this.#names.set(inputName, 'input');
    for (const layer of layers) if (layer.kind !== 'maxPool') this.#layer(layer);
    this.graph.create_dataset({ name: 'edges', data: this.#edges, shape: [this.#edges.length / 2, 2] });
    const metadata = this.graph.create_group('metadata');
    metadata.create_dataset({ name: 'producer', data: 'noisefloor' });
    metadata.create_dataset({ name: 'reset', data: 'subtraction' });
  }

  #layer(layer: SumLayer): void {
    const name = this.#unique(layer.name);
    this.#names.set(layer.name, name);
    const carrier = Math.max(0, layer.synapses.findIndex(({ kind }) => kind === 'conv2d'));
    const currents = layer.synapses.map((synapse, i) => this.#synapse(layer, synapse, `${name}.${i}`, i === carrier));
    const shape = isFlat(layer) ? [layer.shape[0]!] : layer.shape;
    const neurons = layer.kind === 'readout' ? this.#add('output', 'Output', { shape: integers(shape) }) : this.#neurons(layer, name, shape);
    for (const current of currents) this.#edges.push(current, neurons);
  }

  #neurons(layer: SpikingLayer, name: string, shape: Shape): string {
    const { threshold, initialPotential } = layer;
    const area = elementCount(shape) / shape[0]!;
    const spread = (value: (channel: number) => number): Floats => floats(shape, Float32Array.from({ length: shape[0]! * area }, (_, i) => value(Math.floor(i / area))));
    this.#add(name, 'IF', { r: spread(() => 1), v_threshold: spread((c) => threshold[c]! * unitOf(layer, c)), v_reset: spread(() => 0) });
    const metadata = (this.#nodes.get(name) as Group).create_group('metadata');
    const start = spread((c) => initialPotential[c]! * unitOf(layer, c));
    metadata.create_dataset({ name: 'initial_potential', data: start.data, shape: [...start.shape] });
    return name;
  }

  /** Pool, flattening and weights of a synapse, one of which carries the bias of the layer; the name of the last. */
  #synapse(layer: SumLayer, synapse: Synapse, name: string, carriesBias: boolean): string {
    const source = this.#names.get(synapse.source)!;
    const shape = this.#sourceShape(synapse.source);
    const pooled = pooledShape(shape, synapse);
    const flat = this.#isFlatSource(synapse.source);
    let from = source;
    if (synapse.pool) {
      const { kernel, stride } = synapse.pool;
      from = this.#chain(from, `${name}.pool`, 'AvgPool2d', { kernel_size: integers(kernel), stride: integers(stride), padding: integers([0, 0]) });
    }
    const bias = floats([layer.shape[0]!], Float32Array.from(layer.bias, (b, c) => (carriesBias ? b * unitOf(layer, c) : 0)));
    if (isFlat(layer)) {
      if (!flat) from = this.#chain(from, `${name}.flatten`, 'Flatten', { input_type: integers(pooled), start_dim: integers(0), end_dim: integers(-1) });
      return this.#chain(from, `${name}.weights`, 'Affine', { weight: matrix(this.model, layer, synapse, pooled), bias });
    }
    if (flat) throw new NoisefloorError('CONVERSION', `Cannot write layer "${layer.name}": it makes a map of a vector, which NIR has no node for.`);
    const scales = synapse.kind === 'identity' && !carriesBias && pooled.join() === layer.shape.join();
    if (scales) return this.#chain(from, `${name}.weights`, 'Scale', { scale: scaled(this.model, layer, synapse) });
    return this.#chain(from, `${name}.weights`, 'Conv2d', { ...convolution(this.model, layer, synapse, pooled), bias });
  }

  #chain(from: string, name: string, type: string, fields: Record<string, Values>): string {
    this.#add(name, type, fields);
    this.#edges.push(from, name);
    return name;
  }

  #add(name: string, type: string, fields: Record<string, Values>): string {
    const group = this.#nodes.create_group(name);
    group.create_dataset({ name: 'type', data: type });
    for (const [field, { data, shape }] of Object.entries(fields)) group.create_dataset({ name: field, data, shape: [...shape] });
    return name;
  }

  #sourceShape(source: string): Shape {
    return source === inputName ? this.model.input.shape : this.model.layers.find(({ name }) => name === source)!.shape;
  }

  #isFlatSource(source: string): boolean {
    return source !== inputName && isFlat(this.model.layers.find(({ name }) => name === source) as SumLayer);
  }

  /** A name without slashes, which part the groups of an HDF5 file. */
  #unique(name: string): string {
    const plain = name.replace(/^\/+/, '').replaceAll('/', '.') || 'layer';
    const taken = new Set([...this.#names.values(), 'output']);
    for (let i = 1; ; i++) {
      const candidate = i === 1 ? plain : `${plain}_${i}`;
      if (!taken.has(candidate)) return candidate;
    }
  }
}

interface Values {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}
interface Floats extends Values {
  readonly data: Float32Array;
}

function floats(shape: readonly number[], data: Float32Array): Floats {
  return { shape, data };
}

function integers(values: number | readonly number[]): Values {
  return typeof values === 'number' ? { shape: [], data: BigInt64Array.of(BigInt(values)) } : { shape: [values.length], data: BigInt64Array.from(values, BigInt) };
}

/** Layers of one position are vectors in the file. */
function isFlat({ shape }: SumLayer): boolean {
  return shape[1] === 1 && shape[2] === 1;
}

/**
 * Value of 1 of the integer potential. Neurons compare, so any unit does: a power of two keeps every integer of up to 24 bits as
 * it is in float32, and so the spikes. The read-out has the unit of the logits.
 */
function unitOf({ kind, unit }: SumLayer, channel: number): number {
  return kind === 'readout' ? unit[channel]! : 2 ** Math.round(Math.log2(unit[channel]!));
}

function pooledShape([channels, height, width]: Shape, { pool }: Synapse): [number, number, number] {
  if (!pool) return [channels!, height!, width!];
  return [channels!, windowOutput(height!, pool.kernel[0], pool.stride[0]), windowOutput(width!, pool.kernel[1], pool.stride[1])];
}

/** Real value that a weight of 1 has in output channel `o`: of a spike, of the average over a pool, or of the image. */
function scaleOf(model: SpikingModel, layer: SumLayer, { source, pool, multiplier, shift }: Synapse): (o: number) => number {
  const area = pool ? pool.kernel[0] * pool.kernel[1] : 1;
  const factor = (area * (source === inputName ? model.input.scale : 1)) / 2 ** shift;
  return (o) => multiplier[o]! * unitOf(layer, o) * factor;
}

/** The factor of an identity at every position. */
function scaled(model: SpikingModel, layer: SumLayer, synapse: IdentitySynapse): Values {
  const scale = scaleOf(model, layer, synapse);
  const area = layer.shape[1]! * layer.shape[2]!;
  return floats(layer.shape, Float32Array.from({ length: elementCount(layer.shape) }, (_, i) => scale(Math.floor(i / area))));
}

/** An identity is a convolution of one tap: not in groups, whose channels nir's check of types takes for those of the input. */
function asConvolution(synapse: Synapse, channels: number): Omit<ConvSynapse, 'weight'> & { readonly weight: ArrayLike<number> } {
  if (synapse.kind === 'conv2d') return synapse;
  const { source, pool, stride, multiplier, shift }: IdentitySynapse = synapse;
  return { kind: 'conv2d', source, ...(pool && { pool }), stride, multiplier, shift, kernel: [1, 1], padding: [0, 0, 0, 0], groups: 1, weight: unitMatrix(channels) };
}

function unitMatrix(size: number): Int8Array {
  return Int8Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
}

/** A Conv2d node pads alike on both sides: where it must not, the kernel gets zeros on the side that pads less. */
function convolution(model: SpikingModel, layer: SumLayer, synapse: Synapse, [channels, ...inputShape]: readonly [number, number, number]): Record<string, Values> {
  const { weight, kernel, padding, stride, groups } = asConvolution(synapse, channels);
  const scale = scaleOf(model, layer, synapse);
  const [top, left, bottom, right] = padding;
  const before = [Math.max(0, bottom - top), Math.max(0, right - left)] as const;
  const larger = [kernel[0] + Math.abs(bottom - top), kernel[1] + Math.abs(right - left)] as const;
  const perGroup = channels / groups;
  const data = new Float32Array(layer.shape[0]! * perGroup * larger[0] * larger[1]);
  const area = kernel[0] * kernel[1];
  for (let i = 0; i < weight.length; i++) {
    const [filter, y, x] = [Math.floor(i / area), Math.floor(i / kernel[1]) % kernel[0], i % kernel[1]];
    data[(filter * larger[0] + y + before[0]) * larger[1] + x + before[1]] = weight[i]! * scale(Math.floor(filter / perGroup));
  }
  return {
    input_shape: integers(inputShape),
    weight: floats([layer.shape[0]!, perGroup, ...larger], data),
    stride: integers(stride),
    padding: integers([Math.max(top, bottom), Math.max(left, right)]),
    dilation: integers([1, 1]),
    groups: integers(groups),
  };
}

/** The weights of a synapse onto one position, as a matrix over the flattened source. */
function matrix(model: SpikingModel, layer: SumLayer, synapse: Synapse, pooled: readonly [number, number, number]): Values {
  const [channels, height, width] = pooled;
  const { weight, kernel, padding, groups } = asConvolution(synapse, channels);
  const scale = scaleOf(model, layer, synapse);
  const outputs = layer.shape[0]!;
  const perGroup = channels / groups;
  const data = new Float32Array(outputs * channels * height * width);
  const area = kernel[0] * kernel[1];
  for (let i = 0; i < weight.length; i++) {
    const filter = Math.floor(i / area);
    const [o, from] = [Math.floor(filter / perGroup), filter % perGroup];
    const [y, x] = [(Math.floor(i / kernel[1]) % kernel[0]) - padding[0], (i % kernel[1]) - padding[1]];
    if (y < 0 || x < 0 || y >= height || x >= width) continue;
    const channel = Math.floor((o * groups) / outputs) * perGroup + from;
    data[((o * channels + channel) * height + y) * width + x] = weight[i]! * scale(o);
  }
  return floats([outputs, channels * height * width], data);
}
