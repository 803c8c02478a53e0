import { topClasses } from '../evaluate/logits.js';
import type { Answers } from './backend.js';

export interface ScoredClass {
  readonly label: string;
  readonly index: number;
  readonly logit: number;
  /** Softmax of the logits; not calibrated. */
  readonly probability: number;
}

/** The logits of image `n`; a view. */
export function logitsOf({ logits, count }: Answers, n: number): Float32Array {
  const classes = logits.length / count;
  return logits.subarray(n * classes, (n + 1) * classes);
}

/** The `k` best classes, best first. */
export function bestClasses(logits: Float32Array, classes: readonly string[], k: number): ScoredClass[] {
  const largest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const sum = logits.reduce((all, logit) => all + Math.exp(logit - largest), 0);
  return topClasses(logits, k).map((index) => ({
    label: classes[index]!,
    index,
    logit: logits[index]!,
    probability: Math.exp(logits[index]! - largest) / sum,
  }));
}
