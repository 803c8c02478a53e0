import type { OnnxBuilder } from '../onnx/builder.js';

/** Cross-entropy of logits [N, classes] against int64 labels [N], averaged over the batch, and its gradient. */
export interface Loss {
  /** Scalar. */
  readonly value: string;
  /** Images whose label has the largest logit: a float32 scalar. */
  readonly correct: string;
  /** d value / d logits, [N, classes]. */
  gradient(): string;
}

/** Size of the batch as a float32 scalar. */
export function emitBatchSize(onnx: OnnxBuilder, labels: string): string {
  const size = onnx.node('Cast', [onnx.node('Shape', [labels])], { to: 1 });
  return onnx.node('Squeeze', [size], {}, 'batchSize');
}

/** @param smoothing part of each target that is spread evenly over all classes (label smoothing), 0 to 1 */
export function crossEntropy(onnx: OnnxBuilder, logits: string, labels: string, classes: number, batchSize: string, smoothing = 0): Loss {
  const even = smoothing / classes;
  const targets = onnx.node('OneHot', [labels, onnx.ints([classes], true), onnx.floats([even, 1 - smoothing + even])]);
  const logProbability = onnx.node('LogSoftmax', [logits], { axis: -1 });
  const picked = onnx.node('ReduceSum', [onnx.node('Mul', [targets, logProbability])], { keepdims: 0 });
  const hits = onnx.node('Equal', [onnx.node('ArgMax', [logits], { axis: 1, keepdims: 0 }), labels]);
  return {
    value: onnx.node('Neg', [onnx.node('Div', [picked, batchSize])], {}, 'loss'),
    correct: onnx.node('ReduceSum', [onnx.node('Cast', [hits], { to: 1 })], { keepdims: 0 }),
    gradient: () => onnx.node('Div', [onnx.node('Sub', [onnx.node('Exp', [logProbability]), targets]), batchSize]),
  };
}
