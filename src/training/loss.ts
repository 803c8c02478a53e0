import { mixes, type MixingOptions } from '../data/augment/mixing.js';
import type { OnnxBuilder } from '../onnx/builder.js';
import type { Distillation } from './distillation.js';

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

/** Those of Mixup and CutMix, by the names under which a training graph has them. */
export const mixedLabels: MixedLabels = { labels: 'mixed_labels', weight: 'mixed_weight' };

/** What of the training options decides the loss. */
export interface LossOptions extends Partial<MixingOptions> {
  readonly labelSmoothing: number;
  /** How much of it the teacher has, where there is one. */
  readonly distillation?: Pick<Distillation, 'weight' | 'temperature'>;
}

/** What a loss is of: logits [N, classes] against int64 labels [N], and the logits [N, classes] of a teacher. */
export interface LossInputs {
  readonly logits: string;
  readonly labels: string;
  readonly mixed: MixedLabels;
  readonly teacher?: string | undefined;
  readonly classes: number;
  /** N as a float32 scalar. */
  readonly batchSize: string;
}

/** {@link crossEntropy}, where batches are mixed against the second labels too, and with a teacher {@link distilled}. */
export function trainingLoss(onnx: OnnxBuilder, inputs: LossInputs, { labelSmoothing, distillation, ...mixing }: LossOptions): Loss {
  const { logits, labels, mixed, teacher, classes, batchSize } = inputs;
  const hard = crossEntropy(onnx, logits, labels, classes, batchSize, labelSmoothing, mixes(mixing) ? mixed : undefined);
  if (teacher === undefined || distillation === undefined) return hard;
  return distilled(onnx, hard, { logits, teacher, batchSize }, distillation);
}

/** (1 - w) hard + w tau^2 KL(softmax(teacher / tau) || softmax(logits / tau)), the second averaged over the batch. */
function distilled(
  onnx: OnnxBuilder,
  hard: Loss,
  { logits, teacher, batchSize }: Pick<LossInputs, 'logits' | 'batchSize'> & { readonly teacher: string },
  { weight, temperature }: NonNullable<LossOptions['distillation']>,
): Loss {
  const times = (value: string, factor: number): string => onnx.node('Mul', [value, onnx.floats(factor)]);
  const softened = (value: string): string => onnx.node('LogSoftmax', [times(onnx.widen(value), 1 / temperature)], { axis: -1 });
  const [student, target] = [softened(logits), softened(teacher)];
  const wanted = onnx.node('Exp', [target]);
  const apart = onnx.node('ReduceSum', [onnx.node('Mul', [wanted, onnx.node('Sub', [target, student])])], { keepdims: 0 });
  return {
    value: onnx.node('Add', [times(hard.value, 1 - weight), times(onnx.node('Div', [apart, batchSize]), weight * temperature ** 2)]),
    correct: hard.correct,
    gradient: () => {
      const towards = onnx.node('Div', [onnx.node('Sub', [onnx.node('Exp', [student]), wanted]), batchSize]);
      return onnx.node('Add', [times(hard.gradient(), 1 - weight), times(towards, weight * temperature)]);
    },
  };
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
