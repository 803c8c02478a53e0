import { normalizeImages } from '../data/batches.js';
import type { BatchOptions, DamagedImage, ImageBatch, ImageSource } from '../data/source.js';
import type { Shape } from '../graph/graph.js';
import type { SpikingModel } from '../snn/model.js';
import { footprintBytes, synapseCosts } from './costs.js';
import { yieldToEvents, type DenseSession } from './dense.js';
import { modelledEnergy, type ModelledEnergy } from './energy.js';
import { AccuracyCounter, potentialsAfter } from './logits.js';
import { EvaluationSum, type DensePart, type EvaluationPart, type Latency } from './parts.js';
import { checkLabels, checkDelay, checkTimeSteps, sourceFor, throwIfAborted, type Images, type Simulator } from './simulator.js';
import { stepSums, type StatisticsSum } from './statistics.js';

export interface EvaluateOptions {
  /** Numbers of time steps to report, each 1 to 1,024. One pass with the largest gives all of them. */
  readonly timeSteps: readonly number[];
  /** The read-out begins after so many steps, fewer than any of `timeSteps`. Default 0: all steps count. */
  readonly delay?: number;
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
  /** Damaged ones not counted. */
  readonly images: number;
  /** Images that could not be decoded. */
  readonly damaged: readonly DamagedImage[];
  readonly timeSteps: readonly number[];
  /** Steps before the read-out began, where it was delayed: not a plain evaluation. */
  readonly delay?: number;
  /** Of the model: steps that pass, and count, before its read-out takes part, where there are any. */
  readonly readoutStart?: number;
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
  readonly latency: Latency;
  readonly batchSize: number;
  readonly threads: number;
  readonly isa: string;
}

/**
 * Evaluates a spiking network at several numbers of time steps in one pass. Damaged images are left out and named.
 *
 * @param data a data set, of which the test split is taken; a split; or a source, which may be larger than memory
 * @throws NoisefloorError `INVALID_ARGUMENT`, `INVALID_DATA` images or labels do not fit the model, `ABORTED`
 */
export async function evaluate(session: Simulator, data: Images, options: EvaluateOptions): Promise<Evaluation> {
  const { timeSteps, delay = 0, limit, batchSize = 64, signal, onProgress } = options;
  const source = sourceFor(session.model, data, limit);
  const { model, threads, isa } = session;
  const sum = new EvaluationSum({ model, timeSteps, delay, batchSize, threads, isa });
  for await (const part of evaluateParts(session, source, { timeSteps, delay, batchSize, ...(signal && { signal }) })) {
    sum.add(part);
    onProgress?.({ done: part.end, total: source.count });
  }
  return sum.evaluation();
}

export interface EvaluatePartsOptions extends BatchOptions {
  readonly timeSteps: readonly number[];
  /** See {@link EvaluateOptions}. */
  readonly delay?: number;
  /** Runs on the same images, in turn with the spiking network. */
  readonly dense?: DenseSession;
  readonly signal?: AbortSignal;
}

/** {@link evaluate} batch by batch, of any stretch of a source. */
export async function* evaluateParts(session: Simulator, source: ImageSource, options: EvaluatePartsOptions): AsyncGenerator<EvaluationPart> {
  const { timeSteps, delay = 0, dense, signal } = options;
  checkTimeSteps(timeSteps);
  checkDelay(delay, timeSteps);
  const { model } = session;
  for await (const batch of source.batches(options)) {
    throwIfAborted(signal);
    checkLabels(model, batch);
    if (batch.positions.length === 0) {
      yield emptyPart(model, batch, timeSteps);
      continue;
    }
    const images = normalizeImages(batch.images, model.input.normalization, model.input.shape);
    const began = performance.now();
    const result = await session.run(images, { timeSteps: Math.max(...timeSteps), statistics: true, ...(signal && { signal }) });
    const milliseconds = performance.now() - began;
    const { labels } = batch;
    const accuracies = timeSteps.map((steps) => accuracyOf(potentialsAfter(result, steps, delay), labels));
    const last = potentialsAfter(result, Math.max(...timeSteps), delay);
    yield {
      ...boundsOf(batch),
      top1: accuracies.map(({ first }) => first),
      top5: accuracies.map(({ five }) => five),
      ...stepSums(model, result, timeSteps),
      answers: batch.positions.map((position, i) => [position, labels[i]!, best(last.subarray(i * result.classes, (i + 1) * result.classes))] as const),
      milliseconds: [milliseconds],
      ...(dense && { dense: await densePart(dense, images, model, labels) }),
    };
  }
}

function boundsOf({ start, end, damaged }: ImageBatch): Pick<EvaluationPart, 'start' | 'end' | 'damaged'> {
  return { start, end, damaged };
}

/** Of a batch without a readable image. */
function emptyPart(model: SpikingModel, batch: ImageBatch, timeSteps: readonly number[]): EvaluationPart {
  const zeros = timeSteps.map(() => 0);
  const spiking = model.layers.filter((layer) => layer.kind === 'spiking');
  const operations = model.layers.flatMap((layer) => layer.synapses.map(() => zeros));
  return { ...boundsOf(batch), top1: zeros, top5: zeros, spikes: spiking.map(() => zeros), operations, answers: [], milliseconds: [] };
}

async function densePart(dense: DenseSession, images: Float32Array, model: SpikingModel, labels: ArrayLike<number>): Promise<DensePart> {
  const began = performance.now();
  const logits = (await dense.run(images, model.input.shape)).get(dense.logitsName)!;
  const milliseconds = performance.now() - began;
  await yieldToEvents();
  const { first, five } = accuracyOf(logits, labels);
  return { top1: first, top5: five, milliseconds };
}

function accuracyOf(scores: Int32Array | Float32Array, labels: ArrayLike<number>): { first: number; five: number } {
  const counter = new AccuracyCounter();
  counter.add(scores, labels);
  return { first: counter.first, five: counter.five };
}

/** Of equal scores the first class. */
function best(scores: Int32Array): number {
  return scores.indexOf(scores.reduce((most, score) => Math.max(most, score), -Infinity));
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

/** All of an evaluation that follows from the statistics. */
export function describeEvaluation(model: SpikingModel, sum: StatisticsSum, timeSteps: readonly number[]): Activity {
  const costs = synapseCosts(model);
  const layers = sum.layers();
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
