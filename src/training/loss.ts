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

/** Second labels of a batch: int64 [N], and the weight of the first ones, a float32 scalar in [0, 1]. */
export interface MixedLabels {
  readonly labels: string;
  readonly weight: string;
}

/** Those of Mixup, by the names under which a training graph has them. */
export const mixedLabels: MixedLabels = { labels: 'mixed_labels', weight: 'mixed_weight' };

/** What of the training options decides the loss. */
export interface LossOptions {
  readonly labelSmoothing: number;
  /** Alpha of Mixup: above 0 the graph has {@link mixedLabels} besides. Default 0. */
  readonly mixup?: number;
}

/** {@link crossEntropy} against `labels`, and with Mixup {@link mixedLabels}. */
export function trainingLoss(onnx: OnnxBuilder, logits: string, classes: number, batchSize: string, options: LossOptions): Loss {
  const { labelSmoothing, mixup = 0 } = options;
  return crossEntropy(onnx, logits, 'labels', classes, batchSize, labelSmoothing, mixup > 0 ? mixedLabels : undefined);
}

/**
 * @param smoothing part of each target that is spread evenly over all classes (label smoothing), 0 to 1
 * @param mixed with it, targets and hits are weight times those of `labels` plus the rest of those of the second labels
 */
export function crossEntropy(
  onnx: OnnxBuilder,
  logits: string,
  labels: string,
  classes: number,
  batchSize: string,
  smoothing = 0,
  mixed?: MixedLabels,
): Loss {
  const even = smoothing / classes;
  const weigh = (of: (labels: string) => string): string => (mixed ? mix(onnx, of(labels), of(mixed.labels), mixed.weight) : of(labels));
  const targets = weigh((of) => onnx.node('OneHot', [of, onnx.ints([classes], true), onnx.floats([even, 1 - smoothing + even])]));
  const logProbability = onnx.node('LogSoftmax', [logits], { axis: -1 });
  const picked = onnx.node('ReduceSum', [onnx.node('Mul', [targets, logProbability])], { keepdims: 0 });
  const guess = onnx.node('ArgMax', [logits], { axis: 1, keepdims: 0 });
  const hits = weigh((of) => onnx.node('Cast', [onnx.node('Equal', [guess, of])], { to: 1 }));
  return {
    value: onnx.node('Neg', [onnx.node('Div', [picked, batchSize])], {}, 'loss'),
    correct: onnx.node('ReduceSum', [hits], { keepdims: 0 }),
    gradient: () => onnx.node('Div', [onnx.node('Sub', [onnx.node('Exp', [logProbability]), targets]), batchSize]),
  };
}

/** second + weight (first - second) */
function mix(onnx: OnnxBuilder, first: string, second: string, weight: string): string {
  return onnx.node('Add', [second, onnx.node('Mul', [weight, onnx.node('Sub', [first, second])])]);
}
