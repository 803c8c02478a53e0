import { diverged } from './diverged.js';

/** A batch as bytes, [count, C, H, W]. */
export interface PixelBatch {
  readonly pixels: Uint8Array;
  readonly labels: BigInt64Array;
  /** With Mixup or CutMix: the labels of what was mixed in, and the weight of `labels`. */
  readonly mixed?: { readonly labels: BigInt64Array; readonly weight: number };
}

export interface Batch {
  /** Normalised, [count, C, H, W]. */
  readonly images: Float32Array;
  readonly labels: BigInt64Array;
}

export interface BatchResult {
  /** Mean cross-entropy of the batch. */
  readonly loss: number;
  readonly correct: number;
  /** With clipping: norm of all gradients together, before it. */
  readonly gradientNorm?: number;
}

export interface StepSettings {
  readonly epoch: number;
  readonly step: number;
  /** From 1, over all epochs. */
  readonly globalStep: number;
  readonly learningRate: number;
  readonly sigma: Readonly<Record<string, number>>;
  /** For the message where training diverges. */
  readonly lastCheckpoint: string;
}

/** Results of steps, one a setting; `TRAINING_DIVERGED` where a loss is not finite. */
export function stepResults(
  losses: ArrayLike<number>,
  corrects: ArrayLike<number>,
  settings: readonly StepSettings[],
): BatchResult[] {
  return settings.map(({ epoch, step, learningRate, lastCheckpoint }, k) => {
    const [loss, correct] = [losses[k]!, corrects[k]!];
    if (Number.isFinite(loss)) return { loss, correct };
    const when = `in epoch ${epoch + 1}, step ${step + 1}, at learning rate ${learningRate.toPrecision(3)}`;
    throw diverged(`The loss became ${loss} ${when}`, lastCheckpoint);
  });
}
