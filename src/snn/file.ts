import type { Interpolation, Preprocessing } from '../data/preprocessing.js';
import { NoisefloorError, shortened } from '../errors.js';
import { readWholeFile, writeFileAtomic } from '../files.js';
import type { Pair, Padding } from '../graph/graph.js';
import { decodeSafetensors, encodeSafetensors, type SafeTensor, type SafeTensorData, type SafeTensorsFile } from '../safetensors.js';
import { checkModel, checkModelInTurns } from './check.js';
import { startOf, type SnnLayer, type SpikingInput, type SpikingModel, type Synapse } from './model.js';

const format = 'noisefloor-spiking-model';
/** Each with what it added: 2, max-pooling; 3, layers that start later. A file says the lowest that it needs. */
const versions = ['1', '2', '3'];
/** Of provenance, so that it can be written and printed without running out of stack. */
const maxLevels = 100;

/**
 * The bytes of a spiking model file (docs/format.md), in chunks for `writeFileAtomic`.
 *
 * @throws NoisefloorError INVALID_ARGUMENT for a model that `checkModel` refuses.
 */
export function encodeSpikingModel(model: SpikingModel): Uint8Array[] {
  checkModel(model);
  const tensors = new Map<string, SafeTensor>();
  for (const layer of model.layers) {
    if (layer.kind === 'maxPool') continue;
    const add = (suffix: string, data: SafeTensorData, shape: readonly number[] = [data.length]) =>
      tensors.set(`${layer.name}.${suffix}`, { shape, data });
    layer.synapses.forEach((synapse, i) => {
      if (synapse.kind === 'conv2d') add(`${i}.weight`, synapse.weight, weightShape(synapse.weight, synapse.kernel, layer));
      add(`${i}.multiplier`, synapse.multiplier);
    });
    add('bias', layer.bias);
    add('unit', layer.unit);
    if (layer.kind !== 'spiking') continue;
    add('threshold', layer.threshold);
    add('initial_potential', layer.initialPotential);
  }
  const { name, input, classes, provenance } = model;
  const version = versionOf(model);
  const description = { name, input, layers: model.layers.map(describeLayer), classes, provenance };
  return encodeSafetensors({ tensors, metadata: { format, version, model: JSON.stringify(description) } });
}

function versionOf({ layers }: SpikingModel): string {
  if (layers.some((layer) => startOf(layer) > 0)) return '3';
  return layers.some(({ kind }) => kind === 'maxPool') ? '2' : '1';
}

function weightShape(weight: Int8Array | Int16Array, kernel: Pair, layer: SnnLayer): number[] {
  const channels = layer.shape[0]!;
  return [channels, weight.length / channels / (kernel[0] * kernel[1]), ...kernel];
}

function describeLayer(layer: SnnLayer): object {
  const { kind, name, shape, synapses } = layer;
  if (kind === 'maxPool') {
    const { source, kernel, stride, padding } = layer;
    return { kind, name, shape, source, kernel, stride, padding };
  }
  const start = startOf(layer);
  return { kind, name, shape, ...(start > 0 && { start }), synapses: synapses.map(describeSynapse) };
}

function describeSynapse(synapse: Synapse): object {
  const { kind, source, pool, stride, shift } = synapse;
  const base = { kind, source, ...(pool && { pool }), stride, shift };
  if (synapse.kind === 'identity') return base;
  const { kernel, padding, groups } = synapse;
  return { ...base, kernel, padding, groups };
}

/**
 * Reads the bytes of a spiking model file; what it returns has passed `checkModel`.
 *
 * @param path named in errors.
 * @throws NoisefloorError INVALID_FILE on any violation of docs/format.md.
 */
export function decodeSpikingModel(bytes: Uint8Array, path: string): SpikingModel {
  const reader = new ModelReader(path, decodeSafetensors(bytes, path));
  checkModel(reader.model, path);
  reader.checkAllUsed();
  return reader.model;
}

/** A model that has passed `checkModel`, and what that returned. */
export interface CheckedModel {
  readonly model: SpikingModel;
  readonly largestTimeSteps: number;
}

/**
 * {@link decodeSpikingModel} that lets the event loop turn meanwhile.
 *
 * @param owned whether the model may keep `bytes` as its memory, which nobody writes to any more
 */
export async function decodeInTurns(bytes: Uint8Array, path: string, owned: boolean): Promise<CheckedModel> {
  const reader = new ModelReader(path, decodeSafetensors(bytes, path, owned));
  const largestTimeSteps = await checkModelInTurns(reader.model, path);
  reader.checkAllUsed();
  return { model: reader.model, largestTimeSteps };
}

/** Reads a spiking model file. @throws NoisefloorError FILE_NOT_FOUND, IO, or as {@link decodeSpikingModel}. */
export async function readSpikingModel(path: string): Promise<SpikingModel> {
  return (await readInTurns(path)).model;
}

/** {@link readSpikingModel}, and what the check returned. */
export async function readInTurns(path: string): Promise<CheckedModel> {
  return decodeInTurns(await readWholeFile(path, 'spiking model'), path, true);
}

/** Writes a spiking model file, whole or not at all. @throws NoisefloorError IO, or as {@link encodeSpikingModel}. */
export async function writeSpikingModel(path: string, model: SpikingModel): Promise<void> {
  await writeFileAtomic(path, encodeSpikingModel(model));
}

type Fields = Readonly<Record<string, unknown>>;

/** Gives the JSON and the tensors their types; whether they make sense together is for `checkModel`. */
class ModelReader {
  readonly #used = new Set<string>();
  readonly model: SpikingModel;
  readonly #tensors: ReadonlyMap<string, SafeTensor>;
  #kinds: readonly string[] = [];
  #mayStartLater = false;

  constructor(
    readonly path: string,
    { tensors, metadata }: SafeTensorsFile,
  ) {
    this.#tensors = tensors;
    this.model = this.#read(metadata);
  }

  #read(metadata: Readonly<Record<string, string>>): SpikingModel {
    if (metadata['format'] === 'noisefloor-checkpoint') {
      throw new NoisefloorError('INVALID_FILE', `${this.path} is a training checkpoint: convert its folder first (noisefloor convert DIR --out FILE).`);
    }
    if (metadata['format'] !== format) this.#fail(`metadata "format" is not "${format}"`);
    const version = versions.indexOf(metadata['version'] ?? '');
    if (version < 0) {
      this.#fail(`its version is ${JSON.stringify(metadata['version'])}, this release reads ${versions.map((v) => `"${v}"`).join(', ')}`);
    }
    this.#kinds = version === 0 ? ['spiking', 'readout'] : ['spiking', 'readout', 'maxPool'];
    this.#mayStartLater = version >= 2;
    const model = this.#fields(this.#parse(metadata['model']), 'model');
    return {
      name: this.#string(model['name'], 'name'),
      input: this.#input(this.#fields(model['input'], 'input')),
      layers: this.#list(model['layers'], 'layers').map((layer, i) => this.#layer(this.#fields(layer, `layers[${i}]`))),
      classes: this.#list(model['classes'], 'classes').map((name, i) => this.#string(name, `classes[${i}]`)),
      provenance: this.#provenance(model['provenance']),
    };
  }

  checkAllUsed(): void {
    for (const name of this.#tensors.keys()) {
      if (!this.#used.has(name)) this.#fail(`the tensor ${JSON.stringify(name)} belongs to no layer`);
    }
  }

  #parse(text: string | undefined): unknown {
    if (text === undefined) return this.#fail('metadata "model" is missing');
    try {
      return JSON.parse(text);
    } catch (error) {
      return this.#fail(`metadata "model" is not JSON (${(error as Error).message})`, error);
    }
  }

  #input(input: Fields): SpikingInput {
    const normalization = this.#fields(input['normalization'], 'input.normalization');
    return {
      shape: this.#numbers(input['shape'], 'input.shape'),
      normalization: {
        mean: this.#numbers(normalization['mean'], 'input.normalization.mean'),
        std: this.#numbers(normalization['std'], 'input.normalization.std'),
      },
      scale: this.#number(input['scale'], 'input.scale'),
      ...(input['preprocessing'] !== undefined && { preprocessing: this.#preprocessing(this.#fields(input['preprocessing'], 'input.preprocessing')) }),
    };
  }

  #preprocessing({ resize, crop, interpolation }: Fields): Preprocessing {
    return {
      resize: this.#number(resize, 'input.preprocessing.resize'),
      crop: this.#number(crop, 'input.preprocessing.crop'),
      interpolation: this.#string(interpolation, 'input.preprocessing.interpolation') as Interpolation,
    };
  }

  #layer(layer: Fields): SnnLayer {
    const name = this.#string(layer['name'], 'layer name');
    const kind = this.#string(layer['kind'], `${name}.kind`);
    if (!this.#kinds.includes(kind)) this.#fail(`${name}.kind is "${kind}", not one of ${this.#kinds.join(', ')}`);
    const shape = this.#numbers(layer['shape'], `${name}.shape`);
    if (kind === 'maxPool') return this.#maxPool(layer, name, shape);
    const synapses = this.#list(layer['synapses'], `${name}.synapses`).map((synapse, i) =>
      this.#synapse(this.#fields(synapse, `${name}.synapses[${i}]`), `${name}.${i}`, shape),
    );
    const bias = this.#tensor(`${name}.bias`, [Int32Array], [shape[0]!]);
    const unit = this.#tensor(`${name}.unit`, [Float64Array], [shape[0]!]);
    const base = { name, shape, synapses, bias, unit, ...this.#start(layer, name) };
    if (kind === 'readout') return { kind, ...base };
    const threshold = this.#tensor(`${name}.threshold`, [Int32Array], [shape[0]!]);
    const initialPotential = this.#tensor(`${name}.initial_potential`, [Int32Array], [shape[0]!]);
    return { kind: 'spiking', ...base, threshold, initialPotential };
  }

  #start({ start }: Fields, name: string): { start?: number } {
    if (start === undefined) return {};
    if (!this.#mayStartLater) this.#fail(`${name} has a start, which is of version "3"`);
    return { start: this.#number(start, `${name}.start`) };
  }

  #maxPool(layer: Fields, name: string, shape: readonly number[]): SnnLayer {
    return {
      kind: 'maxPool',
      name,
      shape,
      source: this.#string(layer['source'], `${name}.source`),
      kernel: this.#pair(layer['kernel'], `${name}.kernel`),
      stride: this.#pair(layer['stride'], `${name}.stride`),
      padding: this.#padding(layer['padding'], `${name}.padding`),
      synapses: [],
    };
  }

  #synapse(synapse: Fields, name: string, target: readonly number[]): Synapse {
    const kind = this.#string(synapse['kind'], `${name}.kind`);
    const pool = synapse['pool'] === undefined ? undefined : this.#fields(synapse['pool'], `${name}.pool`);
    const base = {
      source: this.#string(synapse['source'], `${name}.source`),
      ...(pool && {
        pool: { kernel: this.#pair(pool['kernel'], `${name}.pool.kernel`), stride: this.#pair(pool['stride'], `${name}.pool.stride`) },
      }),
      stride: this.#pair(synapse['stride'], `${name}.stride`),
      shift: this.#number(synapse['shift'], `${name}.shift`),
      multiplier: this.#tensor(`${name}.multiplier`, [Int32Array], [target[0]!]),
    };
    if (kind === 'identity') return { ...base, kind };
    if (kind !== 'conv2d') this.#fail(`${name}.kind is "${kind}", not "conv2d" or "identity"`);
    const kernel = this.#pair(synapse['kernel'], `${name}.kernel`);
    return {
      ...base,
      kind,
      kernel,
      padding: this.#padding(synapse['padding'], `${name}.padding`),
      groups: this.#number(synapse['groups'], `${name}.groups`),
      weight: this.#tensor<Int8Array | Int16Array>(`${name}.weight`, [Int8Array, Int16Array], [target[0]!, undefined, ...kernel]),
    };
  }

  #provenance(value: unknown): Fields {
    const provenance = this.#fields(value, 'provenance');
    if (isDeeper(provenance, maxLevels)) this.#fail(`provenance has more than ${maxLevels} levels`);
    return provenance;
  }

  /** `undefined` in `shape` stands for any size; the number of elements is for `checkModel`. */
  #tensor<T extends SafeTensorData>(
    name: string,
    types: readonly (new (length: number) => T)[],
    shape: readonly (number | undefined)[],
  ): T {
    const tensor = this.#tensors.get(name);
    if (!tensor) return this.#fail(`the tensor ${JSON.stringify(name)} is missing`);
    this.#used.add(name);
    if (!types.some((type) => tensor.data instanceof type)) {
      this.#fail(`the tensor ${JSON.stringify(name)} is ${tensor.data.constructor.name}, not ${types.map((t) => t.name).join(' or ')}`);
    }
    const fits = tensor.shape.length === shape.length && shape.every((n, i) => n === undefined || n === tensor.shape[i]);
    if (!fits) {
      const expected = shape.map((n) => n ?? '*').join(', ');
      this.#fail(`the tensor ${JSON.stringify(name)} has shape [${tensor.shape.join(', ')}], not [${expected}]`);
    }
    return tensor.data as T;
  }

  #fields(value: unknown, name: string): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.#fail(`${name} is not an object`);
    return value as Fields;
  }

  #list(value: unknown, name: string): unknown[] {
    return Array.isArray(value) ? value : this.#fail(`${name} is not a list`);
  }

  #numbers(value: unknown, name: string): number[] {
    return this.#list(value, name).map((n) => this.#number(n, name));
  }

  #pair(value: unknown, name: string): Pair {
    const numbers = this.#numbers(value, name);
    if (numbers.length !== 2) this.#fail(`${name} is not two numbers`);
    return numbers as unknown as Pair;
  }

  #padding(value: unknown, name: string): Padding {
    const numbers = this.#numbers(value, name);
    if (numbers.length !== 4) this.#fail(`${name} is not four numbers`);
    return numbers as unknown as Padding;
  }

  #number(value: unknown, name: string): number {
    return typeof value === 'number' ? value : this.#fail(`${name} is not a number`);
  }

  #string(value: unknown, name: string): string {
    return typeof value === 'string' ? value : this.#fail(`${name} is not a string`);
  }

  #fail(problem: string, cause?: unknown): never {
    const message = `${this.path} is not a spiking model: ${shortened(problem, 500)}. Convert the network again.`;
    throw new NoisefloorError('INVALID_FILE', message, { cause });
  }
}

function isDeeper(value: unknown, levels: number): boolean {
  let level = [value];
  for (let i = 0; i < levels && level.length > 0; i++) {
    level = level.flatMap((one): unknown[] => (typeof one === 'object' && one !== null ? Object.values(one) : []));
  }
  return level.some((one) => typeof one === 'object' && one !== null);
}
