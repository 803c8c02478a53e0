import { invalidArgument, refused, unknownName } from '../errors.js';

/** How sure a read-out is of its first class. */
export const confidenceMeasures = ['margin', 'softmax'] as const;
export type ConfidenceMeasure = (typeof confidenceMeasures)[number];

/** When an image is sure enough to leave before all time steps are done. */
export interface EarlyExitRule {
  /**
   * `margin` (default): by how much the largest logit exceeds the next one; `softmax`: the largest softmax probability of
   * the logits, not calibrated. Logits after t steps are the read-out's potentials times its unit / t.
   */
  readonly measure?: ConfidenceMeasure;
  /** An image leaves once its confidence is this or more: >= 0 for the margin, 0 to 1 for the softmax. */
  readonly threshold: number;
  /**
   * Numbers of time steps after each of which images may leave; they add up to `timeSteps`. Default 1, 1, 2, 4, 8 and so on,
   * the last one what is left. Many chunks find the exit early, few cost less: a step in a long chunk is cheaper.
   */
  readonly chunks?: readonly number[];
}

export interface EarlyExitOptions extends EarlyExitRule {
  /** Most time steps of an image, 1 to 1,024. */
  readonly timeSteps: number;
  readonly signal?: AbortSignal;
}

export interface EarlyExitResult {
  readonly count: number;
  readonly classes: number;
  /** Time steps that each image took, [count]. */
  readonly steps: Int32Array;
  /** Read-out of each image after its steps, [count, classes]: as `run` gives it for that step. */
  readonly potentials: Int32Array;
}

/** 1, 1, 2, 4, ... up to `timeSteps` in all. */
export function doublingChunks(timeSteps: number): number[] {
  const chunks: number[] = [];
  for (let done = 0; done < timeSteps; done += chunks.at(-1)!) chunks.push(Math.min(Math.max(1, done), timeSteps - done));
  return chunks;
}

/** The rule with its defaults. @throws NoisefloorError INVALID_ARGUMENT */
export function checkEarlyExit({ measure = 'margin', threshold, chunks }: EarlyExitRule, timeSteps: number): Required<EarlyExitRule> {
  if (!(confidenceMeasures as readonly string[]).includes(measure)) throw unknownName('confidence measure', String(measure), confidenceMeasures);
  checkThreshold(measure, threshold);
  if (chunks === undefined) return { measure, threshold, chunks: doublingChunks(timeSteps) };
  if (!isStepList(chunks)) throw invalidArgument('chunks', 'a list of positive whole numbers', chunks);
  const sum = chunks.reduce((total, steps) => total + steps, 0);
  if (sum !== timeSteps) {
    throw refused(`The chunks [${chunks.join(', ')}] are ${sum} time steps but timeSteps is ${timeSteps}: make them add up to it.`);
  }
  return { measure, threshold, chunks };
}

function isStepList(chunks: unknown): boolean {
  return Array.isArray(chunks) && chunks.every((steps) => Number.isInteger(steps) && steps > 0);
}

export function checkThreshold(measure: ConfidenceMeasure, threshold: number): void {
  const most = measure === 'softmax' ? 1 : Number.MAX_VALUE;
  if (typeof threshold === 'number' && threshold >= 0 && threshold <= most) return;
  throw invalidArgument('threshold', measure === 'softmax' ? 'number from 0 to 1, a probability,' : 'finite number >= 0, a difference of logits,', threshold);
}
