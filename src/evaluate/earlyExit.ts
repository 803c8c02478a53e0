import { normalizeImages } from '../data/batches.js';
import { invalidArgument } from '../errors.js';
import { checkEarlyExit, type ConfidenceMeasure, type EarlyExitRule } from '../snn/earlyExit.js';
import type { SpikingSession } from '../snn/session.js';
import { AccuracyCounter, potentialsAt } from './logits.js';
import { checkLabels, sourceFor, throwIfAborted, type Images } from './simulator.js';

export interface EvaluateEarlyExitOptions extends Omit<EarlyExitRule, 'threshold'> {
  /** Most time steps of an image, 1 to 1,024. */
  readonly timeSteps: number;
  /** One point of the curve each, in any order. */
  readonly thresholds: readonly number[];
  /** Evaluates only the first images. Default: all. */
  readonly limit?: number;
  /** Images a run. Default 64. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

export interface EarlyExitPoint {
  readonly threshold: number;
  /** Fractions of the images. */
  readonly top1: number;
  readonly top5: number;
  /** Time steps of an image, on average. */
  readonly meanSteps: number;
  /** Images that left after each chunk; the last number is of those that took all steps. */
  readonly exits: readonly number[];
  readonly imagesPerSecond: number;
}

export interface EarlyExitEvaluation {
  readonly images: number;
  readonly timeSteps: number;
  readonly measure: ConfidenceMeasure;
  readonly chunks: readonly number[];
  /** All images with all time steps, in turn with the others. */
  readonly full: Pick<EarlyExitPoint, 'top1' | 'top5' | 'imagesPerSecond'>;
  readonly curve: readonly EarlyExitPoint[];
  readonly batchSize: number;
  readonly threads: number;
  readonly isa: string;
}

/**
 * Accuracy, steps and speed of early exit at several thresholds, each really run, batch by batch in turn.
 *
 * @param data a data set, of which the test split is taken, a split, or a source
 * @throws NoisefloorError `INVALID_ARGUMENT`, `INVALID_DATA` images or labels do not fit the model, `ABORTED`
 */
export async function evaluateEarlyExit(
  session: Pick<SpikingSession, 'model' | 'isa' | 'threads' | 'run' | 'runEarlyExit'>,
  data: Images,
  options: EvaluateEarlyExitOptions,
): Promise<EarlyExitEvaluation> {
  const { timeSteps, thresholds, limit, batchSize = 64, signal, onProgress } = options;
  if (!Array.isArray(thresholds) || thresholds.length === 0) throw invalidArgument('thresholds', 'a list of at least one threshold', thresholds);
  const rules = thresholds.map((threshold: number) => checkEarlyExit({ ...options, threshold }, timeSteps));
  const { measure, chunks } = rules[0]!;
  const { model } = session;
  const source = sourceFor(model, data, limit);
  let count = 0;
  const full = new Timed();
  const points = rules.map(({ threshold }) => new Point(threshold, chunks));
  for await (const batch of source.batches({ batchSize })) {
    throwIfAborted(signal);
    if (batch.positions.length === 0) continue;
    checkLabels(model, batch);
    const { labels } = batch;
    count += labels.length;
    const images = normalizeImages(batch.images, model.input.normalization, model.input.shape);
    const shared = { timeSteps, ...(signal === undefined ? {} : { signal }) };
    const result = await full.time(() => session.run(images, shared));
    full.accuracy.add(potentialsAt(result, timeSteps), labels);
    for (const [k, rule] of rules.entries()) {
      const { steps, potentials } = await points[k]!.time(() => session.runEarlyExit(images, { ...shared, ...rule }));
      points[k]!.accuracy.add(potentials, labels);
      points[k]!.addSteps(steps);
    }
    onProgress?.({ done: batch.end, total: source.count });
  }
  return {
    images: count,
    timeSteps,
    measure,
    chunks,
    full: full.result(count),
    curve: points.map((point) => point.result(count)),
    batchSize,
    threads: session.threads,
    isa: session.isa,
  };
}

class Timed {
  readonly accuracy = new AccuracyCounter();
  #milliseconds = 0;

  async time<T>(run: () => Promise<T>): Promise<T> {
    const began = performance.now();
    const result = await run();
    this.#milliseconds += performance.now() - began;
    return result;
  }

  result(images: number): EarlyExitEvaluation['full'] {
    const { top1, top5 } = this.accuracy;
    return { top1, top5, imagesPerSecond: (images * 1000) / this.#milliseconds };
  }
}

class Point extends Timed {
  readonly #threshold: number;
  /** Images by the number of steps that they took. */
  readonly #exits: Map<number, number>;

  constructor(threshold: number, chunks: readonly number[]) {
    super();
    this.#threshold = threshold;
    let done = 0;
    this.#exits = new Map(chunks.map((steps) => [(done += steps), 0]));
  }

  addSteps(steps: Int32Array): void {
    for (const taken of steps) this.#exits.set(taken, this.#exits.get(taken)! + 1);
  }

  override result(images: number): EarlyExitPoint {
    const sum = [...this.#exits].reduce((total, [steps, count]) => total + steps * count, 0);
    return { threshold: this.#threshold, ...super.result(images), meanSteps: sum / images, exits: [...this.#exits.values()] };
  }
}
