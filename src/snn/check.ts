import { setImmediate as turn } from 'node:timers/promises';
import { NoisefloorError, describeValue, shortened } from '../errors.js';
import { interpolations, type Preprocessing } from '../data/preprocessing.js';
import type { Shape } from '../graph/graph.js';
import { elementCount } from '../tensor.js';
import { channelTimeSteps } from './bounds.js';
import { poolArea, pooledShape, synapseOutput } from './geometry.js';
import { inputName, maxTimeSteps, type ConvSynapse, type MaxPoolLayer, type SnnLayer, type SpikingInput, type SpikingModel, type SumLayer, type Synapse } from './model.js';

/** Neurons of a layer, pixels of an image: their number must fit the engine's int32 indices. */
const maxElements = 2 ** 31 - 1;
/** So that the sum of a window of pixels fits int32. */
const maxPoolArea = 32767;
const maxShift = 30;

/** Milliseconds of checking between two turns of the event loop. */
const turnTime = 2;

/**
 * Checks everything the engine and the reference rely on: names, order, shapes, array types and lengths, positive
 * thresholds and multipliers, and that no sum can leave int32 in one time step (see `largestTimeSteps` for more steps).
 *
 * @returns `largestTimeSteps` of the model
 * @throws NoisefloorError INVALID_ARGUMENT that names the layer and the field; INVALID_FILE if the model comes from the
 *   file `path`.
 */
export function checkModel(model: SpikingModel, path?: string): number {
  const check = new ModelCheck(path);
  const steps = check.model(model);
  while (steps.next().done !== true);
  return check.timeSteps;
}

/** {@link checkModel} that lets the event loop turn every few milliseconds: all weights are summed up. */
export async function checkModelInTurns(model: SpikingModel, path?: string): Promise<number> {
  const check = new ModelCheck(path);
  const steps = check.model(model);
  for (let began = performance.now(); steps.next().done !== true; ) {
    if (performance.now() - began < turnTime) continue;
    await turn();
    began = performance.now();
  }
  return check.timeSteps;
}

/** A check in steps of at most one channel. */
class ModelCheck {
  readonly #shapes = new Map<string, Shape>();
  /** Of what has been checked so far. */
  timeSteps = maxTimeSteps;

  constructor(readonly path: string | undefined) {}

  *model(model: SpikingModel): Generator<void> {
    this.#require(isName(model.name), 'name', 'a non-empty string', model.name);
    this.#input(model.input);
    const { layers, classes } = model;
    this.#require(Array.isArray(layers) && layers.length > 0, 'layers', 'at least one layer', layers);
    this.#require(isArrayOf(classes, (c) => typeof c === 'string'), 'classes', 'a list of strings', classes);
    for (const [i, layer] of layers.entries()) yield* this.#layer(layer, i === layers.length - 1);
    const readout = layers[layers.length - 1]!;
    const expected = `${readout.shape[0]} names, one for each channel of the read-out "${readout.name}"`;
    this.#require(classes.length === readout.shape[0], 'classes', expected, classes.length);
  }

  #input({ shape, scale, normalization, preprocessing }: SpikingInput): void {
    this.#require(isMapShape(shape), 'input.shape', '[C, H, W], positive integers', shape);
    this.#require(isPowerOfTwo(scale), 'input.scale', 'a power of two', scale);
    const { mean, std } = normalization;
    const perChannel = (values: readonly number[], ok: (v: number) => boolean) =>
      isArrayOf(values, (v) => Number.isFinite(v) && ok(v as number)) && values.length === shape[0];
    this.#require(perChannel(mean, () => true), 'input.normalization.mean', `${shape[0]} numbers, one a channel`, mean);
    this.#require(perChannel(std, (v) => v > 0), 'input.normalization.std', `${shape[0]} positive numbers`, std);
    if (preprocessing) this.#preprocessing(preprocessing, shape);
    this.#shapes.set(inputName, shape);
  }

  #preprocessing({ resize, crop, interpolation }: Preprocessing, [, height, width]: Shape): void {
    this.#require(crop === height && crop === width, 'input.preprocessing.crop', `height and width of the input, ${height} and ${width}`, crop);
    this.#require(Number.isInteger(resize) && resize >= crop, 'input.preprocessing.resize', `a whole number from ${crop}`, resize);
    this.#require(interpolations.includes(interpolation), 'input.preprocessing.interpolation', interpolations.join(' or '), interpolation);
  }

  *#layer(layer: SnnLayer, last: boolean): Generator<void> {
    const { name, kind, shape } = layer;
    this.#require(isName(name), 'layer name', 'a non-empty string', name);
    this.#require(!this.#shapes.has(name), 'layer name', `a name other than "${inputName}" and those before it`, name);
    const expected = last ? '"readout": it is the last layer' : '"spiking" or "maxPool": only the last layer is the read-out';
    this.#require(last ? kind === 'readout' : kind === 'spiking' || kind === 'maxPool', `${name}.kind`, expected, kind);
    this.#require(isMapShape(shape), `${name}.shape`, '[C, H, W], positive integers', shape);
    if (last) this.#require(shape[1] === 1 && shape[2] === 1, `${name}.shape`, '[classes, 1, 1]', shape);
    if (layer.kind === 'maxPool') {
      this.#maxPool(layer);
      this.#shapes.set(name, shape);
      return;
    }
    const { synapses } = layer;
    this.#require(Array.isArray(synapses) && synapses.length > 0, `${name}.synapses`, 'at least one synapse', synapses);
    synapses.forEach((synapse, i) => this.#synapse(synapse, layer, `${name}.${i}`));
    this.#channels(layer);
    yield* this.#overflow(layer);
    this.#shapes.set(name, shape);
  }

  #maxPool({ name, shape, source, kernel, stride, padding, synapses }: MaxPoolLayer): void {
    this.#require(Array.isArray(synapses) && synapses.length === 0, `${name}.synapses`, 'none, in max-pooling', synapses);
    const sourceShape = source === inputName ? undefined : this.#shapes.get(source);
    if (!sourceShape) throw this.#error(`${name}.source`, 'the name of an earlier layer', source);
    this.#require(sourceShape[0] === shape[0], `${name}.source`, `a source of ${shape[0]} channels`, source);
    this.#require(isPair(kernel) && kernel[0] * kernel[1] <= maxPoolArea, `${name}.kernel`, `two positive integers, area at most ${maxPoolArea}`, kernel);
    this.#require(isPair(stride), `${name}.stride`, 'two positive integers', stride);
    const paddingOk = isArrayOf(padding, (n) => isSize(n, 0)) && padding.length === 4 && padding.every((n, i) => n < kernel[i % 2]!);
    this.#require(paddingOk, `${name}.padding`, '[top, left, bottom, right], integers from 0, less than the kernel', padding);
    const [height, width] = synapseOutput({ kind: 'conv2d', kernel, stride, padding, groups: 1 }, sourceShape);
    const fits = height === shape[1] && width === shape[2];
    this.#require(fits, name, `a map of ${shape[1]} x ${shape[2]} by its windows`, `${height} x ${width}`);
  }

  #channels(layer: SumLayer): void {
    const { name, bias, unit, start = 0 } = layer;
    this.#require(Number.isInteger(start) && start >= 0 && start < maxTimeSteps, `${name}.start`, `a whole number from 0 to ${maxTimeSteps - 1}`, start);
    const channels = layer.shape[0]!;
    this.#array(bias, Int32Array, channels, `${name}.bias`);
    this.#array(unit, Float64Array, channels, `${name}.unit`);
    const positive = unit.every((u) => u > 0 && Number.isFinite(u));
    this.#require(positive, `${name}.unit`, 'positive, finite numbers', firstNot(unit, (u) => u > 0 && Number.isFinite(u)));
    if (layer.kind === 'readout') {
      const shared = unit.every((u) => u === unit[0]);
      this.#require(shared, `${name}.unit`, 'one unit for all classes', firstNot(unit, (u) => u === unit[0]));
      return;
    }
    this.#array(layer.threshold, Int32Array, channels, `${name}.threshold`);
    this.#array(layer.initialPotential, Int32Array, channels, `${name}.initialPotential`);
    const above = layer.threshold.every((theta) => theta > 0);
    this.#require(above, `${name}.threshold`, 'positive integers', firstNot(layer.threshold, (theta) => theta > 0));
  }

  #synapse(synapse: Synapse, layer: SnnLayer, name: string): void {
    const { kind, source, shift, stride, pool, multiplier } = synapse;
    this.#require(kind === 'conv2d' || kind === 'identity', `${name}.kind`, '"conv2d" or "identity"', kind);
    const sourceShape = this.#shapes.get(source);
    if (!sourceShape) throw this.#error(`${name}.source`, `"${inputName}" or the name of an earlier layer`, source);
    this.#require(isPair(stride), `${name}.stride`, '[vertical, horizontal], positive integers', stride);
    if (pool !== undefined) {
      this.#require(isPair(pool.kernel) && poolArea(synapse) <= maxPoolArea, `${name}.pool.kernel`, `two positive integers, area at most ${maxPoolArea}`, pool.kernel);
      this.#require(isPair(pool.stride), `${name}.pool.stride`, 'two positive integers', pool.stride);
      const pooled = pooledShape(pool, sourceShape);
      this.#require(isMapShape(pooled), `${name}.pool`, `windows inside [${sourceShape.join(', ')}]`, pool.kernel);
    }
    const shiftOk = Number.isInteger(shift) && shift >= 0 && shift <= (source === inputName ? maxShift : 0);
    this.#require(shiftOk, `${name}.shift`, `0, or up to ${maxShift} behind the analog input`, shift);
    this.#array(multiplier, Int32Array, layer.shape[0]!, `${name}.multiplier`);
    const positive = multiplier.every((m) => m > 0);
    this.#require(positive, `${name}.multiplier`, 'positive integers', firstNot(multiplier, (m) => m > 0));
    if (synapse.kind === 'conv2d') this.#convolution(synapse, sourceShape, layer.shape, name);
    else this.#require(sourceShape[0] === layer.shape[0], `${name}.source`, `a source of ${layer.shape[0]} channels`, source);
    const [height, width] = synapseOutput(synapse, sourceShape);
    const fits = height === layer.shape[1] && width === layer.shape[2];
    this.#require(fits, `${name}`, `a map of ${layer.shape[1]} x ${layer.shape[2]} by its windows`, `${height} x ${width}`);
  }

  #convolution({ kernel, padding, groups, weight }: ConvSynapse, source: Shape, target: Shape, name: string): void {
    this.#require(isPair(kernel), `${name}.kernel`, '[height, width], positive integers', kernel);
    const paddingOk = isArrayOf(padding, (n) => isSize(n, 0)) && padding.length === 4;
    this.#require(paddingOk, `${name}.padding`, '[top, left, bottom, right], integers >= 0', padding);
    const divides = isSize(groups, 1) && source[0]! % groups === 0 && target[0]! % groups === 0;
    this.#require(divides, `${name}.groups`, `a divisor of ${source[0]} and of ${target[0]} channels`, groups);
    const isInteger = weight instanceof Int8Array || weight instanceof Int16Array;
    this.#require(isInteger, `${name}.weight`, 'Int8Array or Int16Array', weight);
    const length = target[0]! * (source[0]! / groups) * kernel[0] * kernel[1];
    this.#require(weight.length === length, `${name}.weight`, `${length} elements`, weight.length);
  }

  *#overflow(layer: SnnLayer): Generator<void> {
    for (let c = 0; c < layer.shape[0]!; c++) {
      this.timeSteps = Math.min(this.timeSteps, channelTimeSteps(layer, c));
      if (this.timeSteps < 1) throw this.#error(layer.name, 'weights, multipliers and bias whose sums fit int32', `an overflow in channel ${c}`);
      yield;
    }
  }

  #array(actual: unknown, type: typeof Int32Array | typeof Float64Array, length: number, name: string): void {
    if (!(actual instanceof type)) throw this.#error(name, type.name, actual);
    this.#require(actual.length === length, name, `${length} elements, one a channel`, actual.length);
  }

  #require(ok: boolean, field: string, expected: string, actual: unknown): void {
    if (!ok) throw this.#error(field, expected, actual);
  }

  #error(field: string, expected: string, actual: unknown): NoisefloorError {
    const problem = shortened(`expected ${expected} for ${field} but received ${describe(actual)}`, 500);
    if (this.path === undefined) return new NoisefloorError('INVALID_ARGUMENT', `Invalid spiking model: ${problem}.`);
    const message = `${this.path} is not a valid spiking model: ${problem}. Convert the network again.`;
    return new NoisefloorError('INVALID_FILE', message);
  }
}

function describe(value: unknown): string {
  if (ArrayBuffer.isView(value)) return value.constructor.name;
  if (value === '') return '""';
  return Array.isArray(value) ? describeValue(value) : shortened(String(value), 100);
}

function firstNot(values: Int32Array | Float64Array, ok: (value: number) => boolean): string {
  const channel = Array.from(values).findIndex((value) => !ok(value));
  return `${values[channel]} in channel ${channel}`;
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function isArrayOf(value: unknown, ok: (element: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(ok);
}

function isSize(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= maxElements;
}

function isPair(value: unknown): boolean {
  return isArrayOf(value, (n) => isSize(n, 1)) && (value as unknown[]).length === 2;
}

function isMapShape(value: unknown): boolean {
  const ok = isArrayOf(value, (n) => isSize(n, 1)) && (value as unknown[]).length === 3;
  return ok && elementCount(value as number[]) <= maxElements;
}

function isPowerOfTwo(value: unknown): boolean {
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) return false;
  return 2 ** Math.round(Math.log2(value)) === value;
}
