import { NoisefloorError, invalidArgument } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import { elementCount } from '../tensor.js';
import { accumulate } from './accumulate.js';
import { poolSpikes, poolState, type PoolState } from './maxPool.js';
import { largestTimeSteps } from './bounds.js';
import { checkModel } from './check.js';
import { inputName, startOf, type SnnLayer, type SpikingInput, type SpikingModel, type SumLayer, type Synapse } from './model.js';
import type { RunOptions, RunResult } from './run.js';

/**
 * Runs a spiking model in plain loops over integers. This is what the native engine must compute, bit for bit; it is
 * written to be read, and about a hundred times slower.
 *
 * For each image: the analog synapses give a constant current, once. Then at each time step, layers in order: the
 * current of a layer is its bias + its constant current + the currents of its spiking synapses, from the spikes of the
 * same step; a neuron adds its current to its potential and, if that reaches the threshold, spikes and subtracts it. A
 * layer that has not started does nothing.
 *
 * @param images normalised images [count, C, H, W].
 * @throws NoisefloorError INVALID_ARGUMENT for a model that `checkModel` refuses, a length or time steps that do not
 *   fit; INVALID_DATA for a pixel that is not a number.
 */
export function simulate(model: SpikingModel, images: Float32Array, count: number, options: RunOptions): RunResult {
  checkModel(model);
  const { timeSteps } = options;
  const limit = largestTimeSteps(model);
  if (!Number.isInteger(timeSteps) || timeSteps < 1 || timeSteps > limit) {
    throw invalidArgument('timeSteps', `whole number from 1 to ${limit}, the most this model can run`, timeSteps);
  }
  const pixels = elementCount(model.input.shape);
  if (!Number.isInteger(count) || count < 1) throw invalidArgument('count', 'positive whole number', count);
  if (images.length !== count * pixels) {
    throw invalidArgument('images.length', `${count} x ${pixels} pixels [${count}, ${model.input.shape.join(', ')}]`, images.length);
  }
  const result = emptyResult(model, count, timeSteps, options);
  for (let n = 0; n < count; n++) {
    const image = quantizeImage(model.input, images.subarray(n * pixels, (n + 1) * pixels));
    simulateImage(model, image, n, result);
  }
  return result;
}

/**
 * The same for one input that changes: each frame is shown for some time steps, and membranes go on from frame to frame.
 *
 * @param frames normalised [count, C, H, W].
 * @param timeSteps of each frame.
 * @returns the read-out after each step, [count * timeSteps, classes].
 * @throws NoisefloorError as `simulate`; ENGINE where a potential leaves int32, which no number of steps in advance rules out.
 */
export function simulateStream(model: SpikingModel, frames: Float32Array, timeSteps: number): Int32Array {
  checkModel(model);
  if (!Number.isInteger(timeSteps) || timeSteps < 1) throw invalidArgument('timeSteps', 'positive whole number', timeSteps);
  const pixels = elementCount(model.input.shape);
  if (frames.length % pixels !== 0) throw invalidArgument('frames.length', `multiple of ${pixels}`, frames.length);
  const count = frames.length / pixels;
  const classes = model.classes.length;
  const potentials = new Int32Array(count * timeSteps * classes);
  const shapes = shapesOf(model);
  const states = model.layers.map((layer) => initialState(layer, shapes));
  for (let step = 0; step < count * timeSteps; step++) {
    const frame = Math.floor(step / timeSteps);
    if (step % timeSteps === 0) show(quantizeImage(model.input, frames.subarray(frame * pixels, (frame + 1) * pixels)), states, shapes);
    advance(states, shapes, step);
    potentials.set((states.at(-1) as LayerState).potential, step * classes);
  }
  return potentials;
}

/** clamp(roundHalfEven(x * scale), -32768, 32767) of each pixel. */
export function quantizeImage(input: SpikingInput, image: Float32Array): Float64Array {
  return Float64Array.from(image, (x, i) => {
    if (Number.isNaN(x)) {
      throw new NoisefloorError('INVALID_DATA', `Pixel ${i} of an image is NaN: check how the images are normalised.`);
    }
    return Math.min(32767, Math.max(-32768, roundHalfEven(x * input.scale)));
  });
}

function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

function emptyResult(model: SpikingModel, count: number, timeSteps: number, options: RunOptions): RunResult {
  const classes = model.classes.length;
  const spiking = model.layers.filter((layer) => layer.kind === 'spiking');
  const synapses = model.layers.flatMap((layer) => layer.synapses);
  return {
    count,
    timeSteps,
    classes,
    potentials: new Int32Array(timeSteps * count * classes),
    ...(options.statistics && {
      statistics: {
        spikes: spiking.map(() => new Float64Array(timeSteps)),
        synapticOperations: synapses.map((synapse) => new Float64Array(synapse.source === inputName ? 1 : timeSteps)),
      },
    }),
    ...(options.counts && { counts: spiking.map((layer) => new Uint16Array(count * elementCount(layer.shape))) }),
  };
}

interface LayerState {
  readonly kind: 'neurons';
  readonly layer: SumLayer;
  /** Bias and analog synapses, the same at each step of an image. */
  constantCurrent: Int32Array;
  readonly potential: Int32Array;
}
type State = LayerState | PoolState;

function simulateImage(model: SpikingModel, image: Float64Array, n: number, result: RunResult): void {
  const shapes = shapesOf(model);
  const states = model.layers.map((layer) => initialState(layer, shapes));
  show(image, states, shapes);
  if (result.statistics) countAnalogOperations(model, image, result.statistics.synapticOperations);
  for (let t = 0; t < result.timeSteps; t++) {
    const spikes = advance(states, shapes, t);
    result.potentials.set((states.at(-1) as LayerState).potential, (t * result.count + n) * result.classes);
    record(model, spikes, shapes, n, t, result);
  }
}

function shapesOf(model: SpikingModel): Map<string, Shape> {
  const shapes = new Map<string, Shape>([[inputName, model.input.shape]]);
  for (const layer of model.layers) shapes.set(layer.name, layer.shape);
  return shapes;
}

function initialState(layer: SnnLayer, shapes: ReadonlyMap<string, Shape>): State {
  if (layer.kind === 'maxPool') return poolState(layer, shapes.get(layer.source)!);
  const start = layer.kind === 'spiking' ? layer.initialPotential : new Int32Array(layer.shape[0]!);
  return { kind: 'neurons', layer, constantCurrent: perNeuron(layer.shape, layer.bias), potential: perNeuron(layer.shape, start) };
}

function show(image: Float64Array, states: readonly State[], shapes: Map<string, Shape>): void {
  for (const state of states) {
    if (state.kind === 'maxPool') continue;
    const { layer } = state;
    state.constantCurrent = perNeuron(layer.shape, layer.bias);
    for (const synapse of layer.synapses) {
      if (synapse.source === inputName) addCurrent(synapse, image, shapes.get(inputName)!, layer.shape, state.constantCurrent);
    }
  }
}

/** Time step `t`, from 0; returns the spikes of each layer. */
function advance(states: readonly State[], shapes: Map<string, Shape>, t: number): Map<string, Float64Array> {
  const spikes = new Map<string, Float64Array>();
  for (const state of states) {
    if (state.kind === 'maxPool') {
      spikes.set(state.layer.name, poolSpikes(state, spikes.get(state.layer.source)!, shapes.get(state.layer.source)!));
      continue;
    }
    if (t < startOf(state.layer)) {
      spikes.set(state.layer.name, new Float64Array(state.potential.length));
      continue;
    }
    addCurrents(state, spikes, shapes);
    if (state.layer.kind === 'spiking') spikes.set(state.layer.name, fire(state));
  }
  return spikes;
}

function perNeuron([, height, width]: Shape, perChannel: Int32Array): Int32Array {
  const area = height! * width!;
  return Int32Array.from({ length: perChannel.length * area }, (_, i) => perChannel[Math.floor(i / area)]!);
}

function addCurrents(state: LayerState, spikes: Map<string, Float64Array>, shapes: Map<string, Shape>): void {
  const { layer, potential } = state;
  const current = Int32Array.from(state.constantCurrent);
  for (const synapse of layer.synapses) {
    const source = spikes.get(synapse.source);
    if (source) addCurrent(synapse, source, shapes.get(synapse.source)!, layer.shape, current);
  }
  for (let i = 0; i < potential.length; i++) potential[i] = int32(potential[i]! + current[i]!);
}

function addCurrent(synapse: Synapse, source: Float64Array, sourceShape: Shape, target: Shape, current: Int32Array): void {
  const sums = accumulate(synapse, source, sourceShape, target);
  const area = target[1]! * target[2]!;
  const half = synapse.shift > 0 ? 2 ** (synapse.shift - 1) : 0;
  for (let i = 0; i < current.length; i++) {
    const product = int32(sums[i]! * synapse.multiplier[Math.floor(i / area)]! + half);
    current[i] = int32(current[i]! + (product >> synapse.shift));
  }
}

/** `checkModel` and `largestTimeSteps` prove that this never throws; a hole in the proof must not wrap in silence. */
function int32(value: number): number {
  if (value !== (value | 0)) throw new NoisefloorError('ENGINE', `${value} does not fit int32: report this as a bug.`);
  return value;
}

function fire({ layer, potential }: LayerState): Float64Array {
  const spikes = new Float64Array(potential.length);
  if (layer.kind !== 'spiking') return spikes;
  const threshold = perNeuron(layer.shape, layer.threshold);
  for (let i = 0; i < potential.length; i++) {
    if (potential[i]! >= threshold[i]!) {
      potential[i]! -= threshold[i]!;
      spikes[i] = 1;
    }
  }
  return spikes;
}

function record(
  model: SpikingModel,
  spikes: Map<string, Float64Array>,
  shapes: Map<string, Shape>,
  n: number,
  t: number,
  { statistics, counts }: RunResult,
): void {
  const spiking = model.layers.filter((layer) => layer.kind === 'spiking');
  spiking.map(({ name }) => spikes.get(name)!).forEach((fired, l) => {
    if (statistics) statistics.spikes[l]![t]! += sum(fired);
    fired.forEach((spike, i) => {
      if (counts) counts[l]![n * fired.length + i]! += spike;
    });
  });
  if (!statistics) return;
  forEachSynapse(model, (synapse, layer, index) => {
    const source = spikes.get(synapse.source);
    if (!source || t < startOf(layer)) return;
    statistics.synapticOperations[index]![t]! += countPairs(synapse, source, shapes.get(synapse.source)!, layer.shape);
  });
}

function countAnalogOperations(model: SpikingModel, image: Float64Array, operations: readonly Float64Array[]): void {
  const nonZero = image.map((x) => (x === 0 ? 0 : 1));
  forEachSynapse(model, (synapse, layer, index) => {
    if (synapse.source !== inputName) return;
    operations[index]![0]! += countPairs(synapse, nonZero, model.input.shape, layer.shape);
  });
}

/** Pairs of a 1 in the source with a non-zero weight: the synapse with its weights made 0 or 1, summed up. */
function countPairs(synapse: Synapse, source: Float64Array, sourceShape: Shape, target: Shape): number {
  if (synapse.kind === 'identity') return sum(accumulate(synapse, source, sourceShape, target));
  const weight = Array.from(synapse.weight, (w) => (w === 0 ? 0 : 1));
  return sum(accumulate({ ...synapse, weight }, source, sourceShape, target));
}

function forEachSynapse(model: SpikingModel, visit: (synapse: Synapse, layer: SnnLayer, index: number) => void): void {
  let index = 0;
  for (const layer of model.layers) for (const synapse of layer.synapses) visit(synapse, layer, index++);
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}
