import type { DamagedImage } from '../data/source.js';
import { NoisefloorError } from '../errors.js';
import { readoutOf, type SpikingModel } from '../snn/model.js';
import type { DenseEvaluation } from './dense.js';
import { describeEvaluation, type Evaluation } from './evaluate.js';
import { StatisticsSum, type StepSums } from './statistics.js';

/** What the dense network gave on the images of a part. */
export interface DensePart {
  /** Right answers, first and among the first five. */
  readonly top1: number;
  readonly top5: number;
  readonly milliseconds: number;
}

/**
 * What positions `start` to `end` of a source gave, as plain JSON. All but the times are whole numbers: parts add up to the
 * same evaluation wherever and in whatever order they were made.
 */
export interface EvaluationPart extends StepSums {
  readonly start: number;
  readonly end: number;
  readonly damaged: readonly DamagedImage[];
  /** Right answers, first and among the first five, in the order of the time steps. */
  readonly top1: readonly number[];
  readonly top5: readonly number[];
  /** Of each image that was not damaged: position in the source, class, and answer after the most steps. */
  readonly answers: readonly (readonly [position: number, label: number, answer: number])[];
  /** Of each run of the engine. */
  readonly milliseconds: readonly number[];
  readonly dense?: DensePart;
}

/** Parts that follow one another as one. */
export function joinParts(parts: readonly [EvaluationPart, ...EvaluationPart[]]): EvaluationPart {
  const [first, ...others] = parts;
  return others.reduce(
    (all, part) => ({
      start: all.start,
      end: part.end,
      damaged: [...all.damaged, ...part.damaged],
      top1: addLists(all.top1, part.top1),
      top5: addLists(all.top5, part.top5),
      spikes: all.spikes.map((counts, i) => addLists(counts, part.spikes[i]!)),
      operations: all.operations.map((counts, i) => addLists(counts, part.operations[i]!)),
      answers: [...all.answers, ...part.answers],
      milliseconds: [...all.milliseconds, ...part.milliseconds],
      ...((all.dense ?? part.dense) && { dense: addDense(all.dense, part.dense) }),
    }),
    first,
  );
}

function addLists(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value + b[i]!);
}

function addDense(a: DensePart = noDense, b: DensePart = noDense): DensePart {
  return { top1: a.top1 + b.top1, top5: a.top5 + b.top5, milliseconds: a.milliseconds + b.milliseconds };
}

const noDense: DensePart = { top1: 0, top5: 0, milliseconds: 0 };

/** What parts of one evaluation have in common. */
export interface PartsOf {
  readonly model: SpikingModel;
  readonly timeSteps: readonly number[];
  readonly delay?: number;
  readonly batchSize: number;
  readonly threads: number;
  readonly isa: string;
}

/** Adds up the parts of an evaluation. */
export class EvaluationSum {
  readonly #of: PartsOf;
  readonly #statistics: StatisticsSum;
  readonly #top1: number[];
  readonly #top5: number[];
  readonly #damaged: DamagedImage[] = [];
  readonly #milliseconds: number[] = [];
  readonly answers: EvaluationPart['answers'][number][] = [];
  #dense: DensePart | undefined;

  constructor(of: PartsOf) {
    this.#of = of;
    this.#statistics = new StatisticsSum(of.model, of.timeSteps);
    this.#top1 = of.timeSteps.map(() => 0);
    this.#top5 = of.timeSteps.map(() => 0);
  }

  add(part: EvaluationPart): void {
    this.#statistics.add(part, part.answers.length);
    part.top1.forEach((count, k) => (this.#top1[k]! += count));
    part.top5.forEach((count, k) => (this.#top5[k]! += count));
    for (const one of part.damaged) this.#damaged.push(one);
    for (const one of part.milliseconds) this.#milliseconds.push(one);
    for (const one of part.answers) this.answers.push(one);
    if (part.dense) this.#dense = addDense(this.#dense, part.dense);
  }

  /** @throws NoisefloorError `INVALID_DATA` no image was readable */
  evaluation(): Evaluation {
    const { model, timeSteps, delay = 0, batchSize, threads, isa } = this.#of;
    const { start = 0 } = readoutOf(model);
    const images = this.answers.length;
    if (images === 0) {
      const first = this.#damaged[0];
      throw new NoisefloorError('INVALID_DATA', `No image could be read${first ? `; the first of ${this.#damaged.length} damaged ones: ${first.reason}` : '.'}`);
    }
    const milliseconds = this.#milliseconds.reduce((sum, one) => sum + one, 0);
    return {
      images,
      damaged: this.#damaged,
      timeSteps: [...timeSteps],
      ...(delay > 0 && { delay }),
      ...(start > 0 && { readoutStart: start }),
      top1: this.#top1.map((count) => count / images),
      top5: this.#top5.map((count) => count / images),
      ...describeEvaluation(model, this.#statistics, timeSteps),
      seconds: milliseconds / 1000,
      imagesPerSecond: (images * 1000) / milliseconds,
      latency: latencyOf(this.#milliseconds),
      batchSize,
      threads,
      isa,
    };
  }

  /** Undefined where no dense network ran beside. */
  dense(): DenseEvaluation | undefined {
    if (!this.#dense) return undefined;
    const { top1, top5, milliseconds } = this.#dense;
    const images = this.answers.length;
    const { batchSize, threads } = this.#of;
    return { images, top1: top1 / images, top5: top5 / images, seconds: milliseconds / 1000, imagesPerSecond: (images * 1000) / milliseconds, batchSize, threads };
  }
}

/** Milliseconds of a run of the engine, a batch each. */
export interface Latency {
  readonly runs: number;
  readonly median: number;
  readonly p95: number;
  readonly p99: number;
  /** Runs by time: from `from` on, each bin `width` wide. */
  readonly histogram: { readonly from: number; readonly width: number; readonly counts: readonly number[] };
}

const mostBins = 24;

function latencyOf(milliseconds: readonly number[]): Latency {
  const sorted = [...milliseconds].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
  const from = sorted[0]!;
  const bins = Math.min(mostBins, Math.ceil(2 * Math.sqrt(sorted.length)));
  // The slowest hundredth goes into the last bin: one stall must not press all others into the first.
  const width = Math.max((at(0.99) - from) / bins, 1e-6);
  const counts = new Array<number>(bins).fill(0);
  for (const one of sorted) counts[Math.min(bins - 1, Math.floor((one - from) / width))]!++;
  return { runs: sorted.length, median: at(0.5), p95: at(0.95), p99: at(0.99), histogram: { from, width, counts } };
}
