import { normalizeImages } from '../data/batches.js';
import type { ImageSource } from '../data/source.js';
import { NoisefloorError } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import { accumulate } from '../snn/accumulate.js';
import { inputName, type MaxPoolLayer, type SpikingLayer, type SpikingModel, type Synapse } from '../snn/model.js';
import { quantizeImage } from '../snn/reference.js';
import { elementCount } from '../tensor.js';
import type { Simulator } from './simulator.js';

/** Membrane potentials of a layer after the last step, in units of its thresholds. */
export interface LayerPotentials {
  readonly name: string;
  readonly mean: number;
  readonly std: number;
  /** Neurons that spiked and are below 0: for current that was taken back later. Silent ones may rightly be there. */
  readonly below: number;
  /** Neurons at their threshold or above: current that came too late, or more than a spike a step can carry. */
  readonly above: number;
}

export interface PotentialsOptions {
  readonly timeSteps: number;
  /** From the first on. */
  readonly images: number;
  readonly signal?: AbortSignal;
}

/**
 * Potentials that are left over after the last step (residual membrane potentials, Hao et al., AAAI 2023): what a neuron's
 * current had not turned into spikes, or into too many. They follow exactly from the spike counts, since all currents are
 * sums: v(T) = v(0) + T (bias + analog current) + weights * counts of the sources - theta * own count, of a layer that starts
 * later with the steps and the counts from there on.
 *
 * @throws NoisefloorError `INVALID_DATA` no image was readable
 */
export async function finalPotentials(session: Simulator, source: ImageSource, { timeSteps, images, signal }: PotentialsOptions): Promise<LayerPotentials[]> {
  const { model } = session;
  const spiking = model.layers.filter((layer): layer is SpikingLayer => layer.kind === 'spiking');
  const sums = spiking.map(() => new PotentialSum());
  let found = 0;
  for await (const batch of source.batches({ batchSize: 1, end: Math.min(images, source.count) })) {
    if (batch.positions.length === 0) continue;
    found++;
    const image = normalizeImages(batch.images, model.input.normalization, model.input.shape);
    const countsAfter = async (steps: number): Promise<SpikeCounts> => {
      const { counts } = await session.run(image, { timeSteps: steps, counts: true, ...(signal && { signal }) });
      if (!counts) throw new NoisefloorError('ENGINE', 'The simulator gave no counts: run it with counts: true.');
      return counts;
    };
    const counts = await countsAfter(timeSteps);
    const before = new Map<number, SpikeCounts>();
    for (const start of startsWithin(spiking, timeSteps)) before.set(start, await countsAfter(start));
    potentialsOf(model, image, counts, timeSteps, before).forEach((values, i) => sums[i]!.add(values, counts[i]!));
  }
  if (found === 0) throw new NoisefloorError('INVALID_DATA', `None of the first ${images} images of ${source.spec} could be read.`);
  return spiking.map(({ name }, i) => ({ name, ...sums[i]!.result() }));
}

/** Per spiking layer: spikes of each neuron, [C, H, W]. */
type SpikeCounts = readonly ArrayLike<number>[];

/** The steps, fewer than `timeSteps`, at which layers start later than the first. */
function startsWithin(layers: readonly SpikingLayer[], timeSteps: number): Set<number> {
  return new Set(layers.flatMap(({ start = 0 }) => (start > 0 && start < timeSteps ? [start] : [])));
}

/**
 * Of one image, per spiking layer: v(T) / theta of each neuron, [C, H, W].
 *
 * @param before what each of the starts within T steps had counted before it
 */
export function potentialsOf(model: SpikingModel, image: Float32Array, counts: SpikeCounts, timeSteps: number, before: ReadonlyMap<number, SpikeCounts> = new Map()): Float64Array[] {
  const shapes = new Map<string, Shape>([[inputName, model.input.shape], ...model.layers.map(({ name, shape }) => [name, shape] as const)]);
  const pixels = quantizeImage(model.input, image);
  const all = givenBy(model, counts, shapes);
  const early = new Map([...before].map(([start, some]) => [start, givenBy(model, some, shapes)]));
  const spiking = model.layers.filter((layer): layer is SpikingLayer => layer.kind === 'spiking');
  return spiking.map((layer) => {
    const { start = 0 } = layer;
    const sinceStart = (source: string): Float64Array => {
      const until = early.get(start)?.get(source);
      return until ? all.get(source)!.map((count, i) => count - until[i]!) : all.get(source)!;
    };
    return layerPotentials(layer, all, (source) => (source === inputName ? pixels : sinceStart(source)), shapes, Math.max(0, timeSteps - start));
  });
}

/** Spikes of each layer that others read, those of max-pooling too. */
function givenBy(model: SpikingModel, counts: SpikeCounts, shapes: ReadonlyMap<string, Shape>): Map<string, Float64Array> {
  const given = new Map<string, Float64Array>();
  let next = 0;
  for (const layer of model.layers) {
    if (layer.kind === 'maxPool') given.set(layer.name, largestCounts(layer, given.get(layer.source)!, shapes.get(layer.source)!));
    if (layer.kind === 'spiking') given.set(layer.name, Float64Array.from(counts[next++]!));
  }
  return given;
}

/** @param steps that the layer took part in */
function layerPotentials(
  layer: SpikingLayer,
  counts: ReadonlyMap<string, Float64Array>,
  given: (source: string) => Float64Array,
  shapes: ReadonlyMap<string, Shape>,
  steps: number,
): Float64Array {
  const area = elementCount(layer.shape.slice(1));
  const potential = counts.get(layer.name)!.map((count, i) => {
    const c = Math.floor(i / area);
    return layer.initialPotential[c]! + steps * layer.bias[c]! - layer.threshold[c]! * count;
  });
  for (const synapse of steps > 0 ? layer.synapses : []) {
    const sums = accumulate(synapse, given(synapse.source), shapes.get(synapse.source)!, layer.shape);
    for (let i = 0; i < potential.length; i++) potential[i]! += currentOf(synapse, sums[i]!, Math.floor(i / area), steps);
  }
  return potential.map((value, i) => value / layer.threshold[Math.floor(i / area)]!);
}

/** Over all steps; that of the analog input is the same in each. */
function currentOf(synapse: Synapse, sum: number, channel: number, timeSteps: number): number {
  const { multiplier, shift, source } = synapse;
  if (source !== inputName) return sum * multiplier[channel]!;
  const half = shift > 0 ? 2 ** (shift - 1) : 0;
  return timeSteps * Math.floor((sum * multiplier[channel]! + half) / 2 ** shift);
}

/** An output has given as many spikes as the position of its window that has given most. */
function largestCounts({ shape, kernel, stride, padding }: MaxPoolLayer, counts: Float64Array, [, height, width]: Shape): Float64Array {
  const [channels, outHeight, outWidth] = shape as readonly [number, number, number];
  const largest = new Float64Array(channels * outHeight * outWidth);
  let out = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++, out++) {
        const [top, left] = [y * stride[0] - padding[0], x * stride[1] - padding[1]];
        for (let row = Math.max(0, top); row < Math.min(height!, top + kernel[0]); row++) {
          for (let column = Math.max(0, left); column < Math.min(width!, left + kernel[1]); column++) {
            largest[out] = Math.max(largest[out]!, counts[(c * height! + row) * width! + column]!);
          }
        }
      }
    }
  }
  return largest;
}

class PotentialSum {
  #n = 0;
  #sum = 0;
  #squares = 0;
  #below = 0;
  #above = 0;

  add(values: Float64Array, counts: ArrayLike<number>): void {
    this.#n += values.length;
    values.forEach((value, i) => {
      this.#sum += value;
      this.#squares += value * value;
      if (value < 0 && counts[i]! > 0) this.#below++;
      if (value >= 1) this.#above++;
    });
  }

  result(): Omit<LayerPotentials, 'name'> {
    const mean = this.#sum / this.#n;
    return { mean, std: Math.sqrt(Math.max(0, this.#squares / this.#n - mean ** 2)), below: this.#below / this.#n, above: this.#above / this.#n };
  }
}
