import type { Answers } from './backend.js';

/** The logits of image `n`; a view. */
export function logitsOf({ logits, count }: Answers, n: number): Float32Array {
  const classes = logits.length / count;
  return logits.subarray(n * classes, (n + 1) * classes);
}
