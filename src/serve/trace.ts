import { elementCount } from '../tensor.js';
import type { Answers } from './backend.js';
import type { Batcher, SubmitOptions } from './batcher.js';

/** Neurons of a layer that the raster shows. */
const rasterNeurons = 64;

/** What happens to one image, step by step. */
export interface Trace {
  /** After each step, [timeSteps][classes]. */
  readonly logits: readonly (readonly number[])[];
  readonly layers: readonly LayerTrace[];
}

export interface LayerTrace {
  readonly name: string;
  readonly neurons: number;
  /** Of all neurons at each step. */
  readonly spikes: readonly number[];
  /** Of some neurons, evenly spaced: the steps, from 0, at which they spiked. */
  readonly raster: readonly (readonly number[])[];
}

/**
 * The engine counts spikes over all steps of a run; the spikes of step t are what a run of t steps has more than one of t - 1.
 * So this costs as much as timeSteps * (timeSteps + 1) / 2 steps.
 */
export async function traceImage(batcher: Batcher, image: Float32Array, timeSteps: number, options: SubmitOptions): Promise<Trace> {
  const lengths = Array.from({ length: timeSteps }, (_, t) => t + 1);
  const runs = await Promise.all(lengths.map((steps) => batcher.submit(image, { timeSteps: steps, counts: true }, options)));
  return {
    logits: runs.map(({ logits }) => [...logits]),
    layers: batcher.backend.layers.map(({ name, shape }, layer) => traceLayer(name, elementCount(shape), layer, runs)),
  };
}

function traceLayer(name: string, neurons: number, layer: number, runs: readonly Answers[]): LayerTrace {
  const counts = runs.map((run) => run.counts![layer]!);
  const totals = counts.map((count) => count.reduce((sum, n) => sum + n, 0));
  const shown = Math.min(rasterNeurons, neurons);
  return {
    name,
    neurons,
    spikes: totals.map((all, t) => all - (totals[t - 1] ?? 0)),
    raster: Array.from({ length: shown }, (_, i) => {
      const neuron = Math.floor((i * neurons) / shown);
      return counts.flatMap((count, t) => (count[neuron]! > (counts[t - 1]?.[neuron] ?? 0) ? [t] : []));
    }),
  };
}
