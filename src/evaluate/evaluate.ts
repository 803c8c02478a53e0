import type { Dataset, Split } from '../data/dataset.js';
import { batchRanges, normalizeRange } from '../data/batches.js';
import type { Shape } from '../graph/graph.js';
import type { SpikingModel } from '../snn/model.js';
import { footprintBytes, synapseCosts } from './costs.js';
import { modelledEnergy, type ModelledEnergy } from './energy.js';
import { AccuracyCounter, potentialsAt } from './logits.js';
import { checkTimeSteps, imagesFor, throwIfAborted, type Simulator } from './simulator.js';
import { StatisticsSum } from './statistics.js';

export interface EvaluateOptions {
  /** Numbers of time steps to report, each 1 to 1,024. One pass with the largest gives all of them. */
  readonly timeSteps: readonly number[];
  /** Evaluates only the first images. Default: all. */
  readonly limit?: number;
  /** Images a run. Default 64. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

/** Operations of one image, means over the images, in the order of the time steps. */
export interface SynapticOperations {
  /** Additions: pairs of a spike and a non-zero weight. */
  readonly effectiveACs: readonly number[];
  /** Multiply-accumulates: pairs of a non-zero pixel and a non-zero weight, done once and not at each step. */
  readonly effectiveMACs: readonly number[];
  /** What both would be with every neuron firing at every step and no weight or pixel zero. */
  readonly dense: readonly number[];
}

export interface LayerEvaluation {
  readonly name: string;
  readonly kind: 'spiking' | 'readout';
  readonly shape: Shape;
  readonly neurons: number;
  /** Mean spikes of a neuron in one inference, in the order of the time steps; 0 for the read-out, which has none. */
  readonly spikesPerNeuron: readonly number[];
  /** Operations on the way into the layer. */
  readonly synapticOperations: SynapticOperations;
  /** Additions of residual (identity) connections, which carry no weights and so are not synaptic operations. */
  readonly residualAdditions: readonly number[];
  readonly connectionSparsity: number;
}

/**
 * Arrays are in the order of `timeSteps`; accuracies are fractions. Synaptic operations, sparsities and footprint follow
 * the definitions of NeuroBench, with two remarks: the analog first layer is counted once an image, because its
 * current is computed once; and a spike in front of an average pool counts as the additions that it really causes.
 */
export interface Evaluation {
  readonly images: number;
  readonly timeSteps: readonly number[];
  readonly top1: readonly number[];
  readonly top5: readonly number[];
  /** Mean number of spikes of a neuron in one inference. */
  readonly spikesPerNeuron: readonly number[];
  readonly synapticOperations: SynapticOperations;
  readonly residualAdditions: readonly number[];
  /** Zero weights / weights. */
  readonly connectionSparsity: number;
  /** Silent neuron-steps / neuron-steps. */
  readonly activationSparsity: readonly number[];
  readonly footprintBytes: number;
  /** Multiply-accumulates an image of the dense network of the same layers. */
  readonly denseMacs: number;
  readonly layers: readonly LayerEvaluation[];
  readonly energy: ModelledEnergy;
  /** Time inside `run` of all images at the largest number of steps, statistics included. */
  readonly seconds: number;
  readonly imagesPerSecond: number;
  readonly batchSize: number;
  readonly threads: number;
  readonly isa: string;
}

/**
 * Evaluates a spiking network at several numbers of time steps in one pass.
 *
 * @param data a data set, of which the test split is taken, or a split
 * @throws NoisefloorError `INVALID_ARGUMENT`, `INVALID_DATA` images or labels do not fit the model, `ABORTED`
 */
export async function evaluate(session: Simulator, data: Dataset | Split, options: EvaluateOptions): Promise<Evaluation> {
  const { timeSteps, limit, batchSize = 64, signal, onProgress } = options;
  checkTimeSteps(timeSteps);
  const { model } = session;
  const split = imagesFor(model, data, limit);
  const counters = timeSteps.map(() => new AccuracyCounter());
  const sum = new StatisticsSum(model, Math.max(...timeSteps));
  let milliseconds = 0;
  for (const [start, end] of batchRanges(split.count, batchSize)) {
    throwIfAborted(signal);
    const images = normalizeRange(split, start, end, model.input.normalization, model.input.shape);
    const began = performance.now();
    const result = await session.run(images, {
      timeSteps: sum.timeSteps,
      statistics: true,
      ...(signal === undefined ? {} : { signal }),
    });
    milliseconds += performance.now() - began;
    const labels = split.labels.subarray(start, end);
    timeSteps.forEach((steps, k) => counters[k]!.add(potentialsAt(result, steps), labels));
    sum.add(result);
    onProgress?.({ done: end, total: split.count });
  }
  return {
    images: split.count,
    timeSteps: [...timeSteps],
    top1: counters.map((counter) => counter.top1),
    top5: counters.map((counter) => counter.top5),
    ...activity(model, sum, timeSteps),
    seconds: milliseconds / 1000,
    imagesPerSecond: (split.count * 1000) / milliseconds,
    batchSize,
    threads: session.threads,
    isa: session.isa,
  };
}

type Activity = Pick<
  Evaluation,
  | 'spikesPerNeuron'
  | 'synapticOperations'
  | 'residualAdditions'
  | 'connectionSparsity'
  | 'activationSparsity'
  | 'footprintBytes'
  | 'denseMacs'
  | 'layers'
  | 'energy'
>;

function activity(model: SpikingModel, sum: StatisticsSum, timeSteps: readonly number[]): Activity {
  const costs = synapseCosts(model);
  const layers = sum.layers(timeSteps);
  const total = (pick: (layer: LayerEvaluation) => readonly number[]): number[] =>
    timeSteps.map((_, k) => layers.reduce((all, layer) => all + pick(layer)[k]!, 0));
  const neurons = layers.reduce((all, layer) => all + (layer.kind === 'spiking' ? layer.neurons : 0), 0);
  const spikes = total((layer) => layer.spikesPerNeuron.map((mean) => mean * layer.neurons));
  const synapticOperations = {
    effectiveACs: total((layer) => layer.synapticOperations.effectiveACs),
    effectiveMACs: total((layer) => layer.synapticOperations.effectiveMACs),
    dense: total((layer) => layer.synapticOperations.dense),
  };
  const residualAdditions = total((layer) => layer.residualAdditions);
  const denseMacs = costs.reduce((all, cost) => all + cost.denseMacs, 0);
  const operations = timeSteps.map((_, k) => ({
    accumulates: synapticOperations.effectiveACs[k]! + residualAdditions[k]!,
    multiplyAccumulates: synapticOperations.effectiveMACs[k]!,
  }));
  return {
    spikesPerNeuron: spikes.map((count) => count / neurons),
    synapticOperations,
    residualAdditions,
    connectionSparsity: sum.connectionSparsity(costs),
    activationSparsity: spikes.map((count, k) => 1 - count / (neurons * timeSteps[k]!)),
    footprintBytes: footprintBytes(model),
    denseMacs,
    layers,
    energy: modelledEnergy(operations, denseMacs),
  };
}
