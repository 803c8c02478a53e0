import { parse } from 'node:path';
import { invalidArgument, NoisefloorError } from '../errors.js';
import { readWholeFile } from '../files.js';
import type { Padding, Pair } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { inferShapes } from '../graph/shapes.js';
import { classesOf, normalizationOf, type ReadOptions } from '../import/options.js';
import { close } from '../import/pointwise.js';
import { invalidFile, Refusal, unsupported, type Problem } from '../import/problems.js';
import { addBatchNorm, NetworkWriter } from '../import/writer.js';
import { elementCount } from '../tensor.js';
import { childGroup, numbersOf, readHdf5, textOf, textsOf, type Group, type NumberArray } from './hdf5.js';

/**
 * Reads a network of integrate-and-fire neurons from a NIR file, to convert it as one that was trained here: Input, Conv2d,
 * Linear, Affine, Scale, Flatten, AvgPool2d, SumPool2d, IF, Output. Of neurons, r and the threshold are taken, one a channel;
 * converted, they begin at half of it and subtract it when they fire, which a NIR file does not say.
 *
 * @throws NoisefloorError UNSUPPORTED_OPERATOR naming every node that cannot be read, why, and what to do; INVALID_FILE,
 *   FILE_NOT_FOUND, IO; INVALID_ARGUMENT for an option; MISSING_DEPENDENCY without h5wasm
 */
export async function readNir(path: string, options: ReadOptions = {}): Promise<TrainedNetwork> {
  const bytes = await readWholeFile(path, 'NIR file');
  const { name } = parse(path);
  try {
    return await readHdf5(bytes, path, (file) => new NirReader(file, name, options).read());
  } catch (error) {
    const damaged = error instanceof NoisefloorError && (error.code === 'INVALID_FILE' || error.code === 'INVALID_GRAPH');
    if (!damaged || error.message.startsWith(path)) throw error;
    throw new NoisefloorError('INVALID_FILE', `${path}: ${error.message}`, { cause: error });
  }
}

type Reader = (node: Group, name: string, input: string) => string;

class NirReader {
  readonly #nodes: Group;
  readonly #edges: readonly (readonly [from: string, to: string])[];
  readonly #writer: NetworkWriter;
  readonly #values = new Map<string, string>();
  readonly #input: string;

  constructor(
    file: Group,
    readonly name: string,
    readonly options: ReadOptions,
  ) {
    const graph = childGroup(file, 'node');
    const nodes = graph && textOf(graph, 'type') === 'NIRGraph' ? childGroup(graph, 'nodes') : undefined;
    if (!graph || !nodes) throw invalidFile('it holds no NIR graph');
    this.#nodes = nodes;
    const ends = textsOf(graph, 'edges');
    this.#edges = Array.from({ length: ends.length / 2 }, (_, i) => [ends[2 * i]!, ends[2 * i + 1]!] as const);
    this.#input = this.#only('Input');
    this.#writer = new NetworkWriter(this.#shapeOf(this.#input));
  }

  read(): TrainedNetwork {
    this.#values.set(this.#input, this.#writer.input);
    const output = this.#only('Output');
    const problems: Problem[] = [];
    for (const name of this.#order()) if (name !== this.#input) this.#node(name, output, problems);
    const logits = this.#values.get(output);
    if (logits === undefined) throw unsupported(this.name, problems);
    const graph = { name: this.name, input: { name: this.#writer.input, shape: this.#shapeOf(this.#input) }, nodes: this.#writer.nodes, output: logits };
    inferShapes(graph);
    const notes = ['Its neurons begin at half of their threshold and subtract it when they fire; NIR says neither.'];
    return {
      graph,
      parameters: this.#writer.parameters,
      classes: classesOf(this.options.classes, this.#writer.shape(logits)[0]!),
      normalization: normalizationOf(this.options.normalization, graph.input.shape[0]!),
      provenance: { imported: { file: this.name, producer: 'nir', notes } },
    };
  }

  #only(type: string): string {
    const names = this.#nodes.keys().filter((name) => this.#typeOf(name) === type);
    if (names.length === 1) return names[0]!;
    throw invalidFile(`it has ${names.length} nodes of the type ${type} instead of one`);
  }

  #typeOf(name: string): string {
    const node = childGroup(this.#nodes, name);
    return (node && textOf(node, 'type')) ?? '';
  }

  #shapeOf(name: string): readonly number[] {
    const shape = numbersOf(childGroup(this.#nodes, name)!, 'shape');
    const sizes = Array.from(shape?.data ?? []);
    if (sizes.length === 1 || sizes.length === 3) return sizes;
    throw invalidFile(`node "${name}" has the shape [${sizes.join(', ')}]: images are [C, H, W], vectors [F]`);
  }

  /** The nodes, each after those that lead to it. */
  #order(): string[] {
    const left = new Map(this.#nodes.keys().map((name) => [name, this.#sourcesOf(name).length]));
    const ready = [...left].filter(([, count]) => count === 0).map(([name]) => name);
    for (const name of ready) {
      for (const [from, to] of this.#edges) {
        if (from !== name || !left.has(to)) continue;
        left.set(to, left.get(to)! - 1);
        if (left.get(to) === 0) ready.push(to);
      }
    }
    if (ready.length === left.size) return ready;
    throw new NoisefloorError('UNSUPPORTED_OPERATOR', `${this.name} cannot be read: its nodes lead back to themselves. Only feed-forward networks are read.`);
  }

  #sourcesOf(name: string): string[] {
    return this.#edges.filter(([, to]) => to === name).map(([from]) => from);
  }

  #node(name: string, output: string, problems: Problem[]): void {
    const sources = this.#sourcesOf(name).map((source) => this.#values.get(source));
    if (sources.length === 0) throw invalidFile(`nothing leads to node "${name}"`);
    if (sources.includes(undefined)) return;
    try {
      const input = (sources as string[]).reduce((sum, source) => this.#writer.add(`${name}.sum`, { op: 'add', inputs: [sum, source] }));
      this.#values.set(name, name === output ? this.#vector(input) : this.#reader(name)(childGroup(this.#nodes, name)!, name, input));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      problems.push({ operator: this.#typeOf(name), node: name, why: error.why, remedy: error.remedy });
    }
  }

  #reader(name: string): Reader {
    const type = this.#typeOf(name);
    if (Object.hasOwn(this.#readers, type)) return this.#readers[type]!;
    const leaky = ['LIF', 'CubaLIF', 'LI', 'CubaLI'].includes(type);
    if (leaky) throw new Refusal('its potential leaks', 'Only integrate-and-fire neurons (IF) are run here.');
    throw new Refusal('this node is not read', `Replace it by one of: ${Object.keys(this.#readers).join(', ')}.`);
  }

  readonly #readers: Readonly<Record<string, Reader>> = {
    Conv2d: (node, name, input) => this.#conv(node, name, input),
    Affine: (node, name, input) => this.#linear(node, name, input),
    Linear: (node, name, input) => this.#linear(node, name, input),
    Scale: (node, name, input) => this.#scaled(input, name, this.#perChannel(node, 'scale', name, input)),
    Flatten: (node, _, input) => {
      const start = numbersOf(node, 'start_dim')?.data[0] ?? 1;
      if (start !== 0 && this.#writer.shape(input).length > 1) throw new Refusal(`it flattens from dimension ${start} on`, 'Flatten the whole map (start_dim 0): shapes in NIR have no batch.');
      return this.#vector(input);
    },
    AvgPool2d: (node, name, input) => this.#pool(node, name, input),
    SumPool2d: (node, name, input) => {
      const pool = this.#pool(node, name, input);
      const area = this.#pair(node, 'kernel_size', name).reduce((a, b) => a * b);
      return this.#scaled(pool, `${name}.sum`, new Float64Array(this.#writer.shape(input)[0]!).fill(area));
    },
    IF: (node, name, input) => this.#neurons(node, name, input),
  };

  #conv(node: Group, name: string, input: string): string {
    const weight = this.#array(node, 'weight', name);
    const [outChannels, , height, width] = weight.shape as [number, number, number, number];
    if (weight.shape.length !== 4 || this.#writer.shape(input).length !== 3) throw invalidFile(`node "${name}" convolves no map`);
    const dilation = this.#pair(node, 'dilation', name);
    if (dilation.some((n) => n !== 1)) throw new Refusal('it is dilated', 'Write its kernel with the zeros between the taps.');
    const stride = this.#pair(node, 'stride', name);
    const groups = numbersOf(node, 'groups')?.data[0] ?? 1;
    const padding = this.#padding(node, name, [height, width], stride);
    const written = this.#writer.add(name, { op: 'conv2d', input, outChannels, kernel: [height, width], stride, padding, groups, bias: true });
    this.#writer.parameter(written, 'weight', weight.shape, weight.data);
    this.#writer.parameter(written, 'bias', [outChannels], this.#array(node, 'bias', name).data);
    return written;
  }

  #padding(node: Group, name: string, kernel: Pair, stride: Pair): Padding {
    const mode = textOf(node, 'padding');
    if (mode === 'valid') return [0, 0, 0, 0];
    if (mode === 'same') {
      if (stride.some((n) => n !== 1)) throw new Refusal('it pads "same" with a stride', 'Write the padding as numbers.');
      const [down, right] = [kernel[0] - 1, kernel[1] - 1];
      return [Math.floor(down / 2), Math.floor(right / 2), Math.ceil(down / 2), Math.ceil(right / 2)];
    }
    const [vertical, horizontal] = this.#pair(node, 'padding', name);
    return [vertical, horizontal, vertical, horizontal];
  }

  #linear(node: Group, name: string, input: string): string {
    const weight = this.#array(node, 'weight', name);
    if (weight.shape.length !== 2) throw new Refusal(`its weight is [${weight.shape.join(', ')}]`, 'Take a matrix.');
    if (this.#writer.shape(input).join() !== String(weight.shape[1])) {
      throw invalidFile(`node "${name}" takes ${weight.shape[1]} features of [${this.#writer.shape(input).join(', ')}]`);
    }
    const bias = numbersOf(node, 'bias');
    const written = this.#writer.add(name, { op: 'linear', input, outFeatures: weight.shape[0]!, bias: bias !== undefined });
    this.#writer.parameter(written, 'weight', weight.shape, weight.data);
    if (bias) this.#writer.parameter(written, 'bias', [weight.shape[0]!], bias.data);
    return written;
  }

  #pool(node: Group, name: string, input: string): string {
    if (this.#pair(node, 'padding', name).some((n) => n !== 0)) throw new Refusal('it pads', 'Pool without padding.');
    return this.#writer.add(name, { op: 'avgPool', input, kernel: this.#pair(node, 'kernel_size', name), stride: this.#pair(node, 'stride', name) });
  }

  /** Spikes of 1 of neurons that add r times their current: those of a threshold of 1 that add r / threshold times it. */
  #neurons(node: Group, name: string, input: string): string {
    const threshold = this.#perChannel(node, 'v_threshold', name, input);
    const resistance = this.#perChannel(node, 'r', name, input);
    if (!threshold.every((value) => value > 0)) throw new Refusal('a threshold is not above 0', 'Give every neuron a positive threshold.');
    if (numbersOf(node, 'v_reset')?.data.some((value) => value !== 0)) throw new Refusal('its neurons reset to another potential than 0', 'Neurons here subtract their threshold.');
    const scaled = this.#scaled(input, `${name}.scale`, resistance.map((r, c) => r / threshold[c]!));
    const activation = { kind: 'tcl', initialThreshold: 1 } as const;
    const written = this.#writer.add(name, { op: 'activation', input: scaled, activation });
    this.#writer.parameter(written, 'threshold', [], [1]);
    return written;
  }

  #scaled(input: string, name: string, gain: Float64Array): string {
    return gain.every((g) => g === 1) ? input : addBatchNorm(this.#writer, input, name, { gain, offset: new Float64Array(gain.length) });
  }

  #vector(input: string): string {
    return this.#writer.shape(input).length === 1 ? input : this.#writer.add(`${input}.flat`, { op: 'flatten', input });
  }

  /** An array of the shape of the value, or one number, as one number for each channel. */
  #perChannel(node: Group, field: string, name: string, input: string): Float64Array {
    const { data } = this.#array(node, field, name);
    const shape = this.#writer.shape(input);
    const [channels, count] = [shape[0]!, elementCount(shape)];
    if (data.length === 1) return new Float64Array(channels).fill(data[0]!);
    if (data.length !== count) throw invalidFile(`node "${name}" has ${data.length} numbers for ${field} of [${shape.join(', ')}]`);
    const area = count / channels;
    if (data.some((value, i) => !close(value, data[Math.floor(i / area) * area]!))) {
      throw new Refusal(`its ${field} differs within a channel`, 'Neurons of a channel share their threshold here.');
    }
    return Float64Array.from({ length: channels }, (_, c) => data[c * area]!);
  }

  #array(node: Group, field: string, name: string): NumberArray {
    const array = numbersOf(node, field);
    if (array) return array;
    throw invalidFile(`node "${name}" lacks the numbers "${field}"`);
  }

  #pair(node: Group, field: string, name: string): Pair {
    const { data } = this.#array(node, field, name);
    if (data.length === 1) return [data[0]!, data[0]!];
    if (data.length === 2) return [data[0]!, data[1]!];
    throw invalidArgument(`${field} of node "${name}"`, 'one number or two', Array.from(data));
  }
}
