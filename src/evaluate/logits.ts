import { invalidArgument } from '../errors.js';
import type { EarlyExitResult } from '../snn/earlyExit.js';
import { readoutOf, type SpikingModel } from '../snn/model.js';
import type { RunResult } from '../snn/run.js';
import type { StreamResult } from '../snn/stream.js';

/**
 * Logits after `timeStep` steps: the mean current of the read-out in units of the trained network, so that they tend to
 * the dense network's logits as steps are added. Of a push to a stream: the mean since the read-out started.
 *
 * @returns [count, classes]
 */
export function logitsFromPotentials(result: RunResult | StreamResult, model: SpikingModel, timeStep: number): Float64Array {
  const { unit: [unit], start = 0 } = readoutOf(model);
  const steps = 'stepsBefore' in result ? result.stepsBefore + timeStep - result.waits : timeStep - start;
  return Float64Array.from(potentialsAt(result, timeStep), (potential) => (potential * unit!) / Math.max(1, steps));
}

/** The same of images that left early, each after its own steps, [count, classes]. */
export function logitsFromEarlyExit({ potentials, steps, classes }: EarlyExitResult, model: SpikingModel): Float64Array {
  const { unit: [unit], start = 0 } = readoutOf(model);
  return Float64Array.from(potentials, (potential, i) => (potential * unit!) / Math.max(1, steps[Math.floor(i / classes)]! - start));
}

/** Integer potentials of the read-out after `timeStep` steps, [count, classes]; a view. */
export function potentialsAt(result: RunResult, timeStep: number): Int32Array {
  if (!Number.isInteger(timeStep) || timeStep < 1 || timeStep > result.timeSteps) {
    throw invalidArgument('timeStep', `whole number from 1 to ${result.timeSteps}`, timeStep);
  }
  const size = result.count * result.classes;
  return result.potentials.subarray((timeStep - 1) * size, timeStep * size);
}

/**
 * The read-out over steps `delay` + 1 to `timeStep`, [count, classes]: early steps, in which deep layers have not had their
 * input yet, do not count (Inference-Scale Complexity in ANN-SNN Conversion, CVPR 2025). With a delay of 0, a view.
 */
export function potentialsAfter(result: RunResult, timeStep: number, delay: number): Int32Array {
  const late = potentialsAt(result, timeStep);
  if (delay === 0) return late;
  const early = potentialsAt(result, delay);
  return late.map((potential, i) => potential - early[i]!);
}

/**
 * How many classes come before `label`: those with a higher score, and of equal ones those with a lower index. 0 means
 * that the prediction is right; below k that it is within the top k.
 */
export function rankOf(scores: ArrayLike<number>, label: number): number {
  const own = scores[label]!;
  let rank = 0;
  for (let k = 0; k < scores.length; k++) {
    const score = scores[k]!;
    // A NaN ranks before everything: a broken network must not look right.
    if (score > own || (score === own && k < label) || Number.isNaN(score) || Number.isNaN(own)) rank++;
  }
  return rank;
}

/** Indices of the `k` highest scores, best first; of equal ones the lower index first. */
export function topClasses(scores: ArrayLike<number>, k: number): number[] {
  const order = Array.from({ length: scores.length }, (_, i) => i);
  return order.sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, k);
}

export interface ScoredClass {
  readonly label: string;
  readonly index: number;
  readonly logit: number;
  /** Softmax of the logits; not calibrated. */
  readonly probability: number;
}

/** The `k` best classes, best first. */
export function bestClasses(logits: ArrayLike<number>, classes: readonly string[], k: number): ScoredClass[] {
  const all = Array.from(logits);
  const largest = all.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const sum = all.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return topClasses(logits, k).map((index) => ({
    label: classes[index]!,
    index,
    logit: logits[index]!,
    probability: Math.exp(logits[index]! - largest) / sum,
  }));
}

/** Counts right answers, top-1 and top-5, over batches. */
export class AccuracyCounter {
  #images = 0;
  #first = 0;
  #five = 0;

  /** @param scores [labels.length, classes] */
  add(scores: Int32Array | Float32Array, labels: ArrayLike<number>): void {
    const classes = scores.length / labels.length;
    for (let i = 0; i < labels.length; i++) {
      const rank = rankOf(scores.subarray(i * classes, (i + 1) * classes), labels[i]!);
      if (rank === 0) this.#first++;
      if (rank < 5) this.#five++;
    }
    this.#images += labels.length;
  }

  /** Images whose first prediction is right. */
  get first(): number {
    return this.#first;
  }

  /** Images whose class is among the first five. */
  get five(): number {
    return this.#five;
  }

  /** Fraction of the images whose first prediction is right. */
  get top1(): number {
    return this.#first / this.#images;
  }

  /** Fraction of the images whose class is among the first five. */
  get top5(): number {
    return this.#five / this.#images;
  }
}
