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
 * sums: v(T) = v(0) + T (bias + analog current) + weights * counts of the sources - theta * own count.
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
    const { counts } = await session.run(image, { timeSteps, counts: true, ...(signal && { signal }) });
    if (!counts) throw new NoisefloorError('ENGINE', 'The simulator gave no counts: run it with counts: true.');
    potentialsOf(model, image, counts, timeSteps).forEach((values, i) => sums[i]!.add(values, counts[i]!));
  }
  if (found === 0) throw new NoisefloorError('INVALID_DATA', `None of the first ${images} images of ${source.spec} could be read.`);
  return spiking.map(({ name }, i) => ({ name, ...sums[i]!.result() }));
}

/** Of one image, per spiking layer: v(T) / theta of each neuron, [C, H, W]. */
export function potentialsOf(model: SpikingModel, image: Float32Array, counts: readonly ArrayLike<number>[], timeSteps: number): Float64Array[] {
  const sources = new Map([[inputName, quantizeImage(model.input, image)]]);
  const shapes = new Map<string, Shape>([[inputName, model.input.shape]]);
  const potentials: Float64Array[] = [];
  for (const layer of model.layers) {
    shapes.set(layer.name, layer.shape);
    if (layer.kind === 'maxPool') sources.set(layer.name, largestCounts(layer, sources.get(layer.source)!, shapes.get(layer.source)!));
    if (layer.kind !== 'spiking') continue;
    const own = Float64Array.from(counts[potentials.length]!);
    potentials.push(layerPotentials(layer, own, sources, shapes, timeSteps));
    sources.set(layer.name, own);
  }
  return potentials;
}

function layerPotentials(layer: SpikingLayer, own: Float64Array, sources: ReadonlyMap<string, Float64Array>, shapes: ReadonlyMap<string, Shape>, timeSteps: number): Float64Array {
  const area = elementCount(layer.shape.slice(1));
  const potential = own.map((count, i) => {
    const c = Math.floor(i / area);
    return layer.initialPotential[c]! + timeSteps * layer.bias[c]! - layer.threshold[c]! * count;
  });
  for (const synapse of layer.synapses) {
    const sums = accumulate(synapse, sources.get(synapse.source)!, shapes.get(synapse.source)!, layer.shape);
    for (let i = 0; i < potential.length; i++) potential[i]! += currentOf(synapse, sums[i]!, Math.floor(i / area), timeSteps);
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
