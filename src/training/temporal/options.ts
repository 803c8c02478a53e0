import { invalidArgument, refused, unknownName } from '../../errors.js';
import type { SurrogateKind } from '../layers/surrogate.js';
import type { MethodOptions } from '../method.js';
import { share } from '../../numbers.js';

/** Through time each step costs as much memory and time as a dense training step of the whole batch. */
const maxStepsThroughTime = 8;
/** By rates a step costs a forward pass and no memory. */
export const maxFineTuneSteps = 32;

export const gradientKinds = ['through-time', 'rate'] as const;
/** See `TemporalOptions.gradient`. */
export type GradientKind = (typeof gradientKinds)[number];

/** Options of fine-tuning the spiking network by backpropagation through time; see `TrainOptions`. */
export interface TemporalOptions {
  /**
   * Trains the spiking network itself, unrolled over this many time steps, 1 to 8 (with gradient `rate` 32), instead of the quantised one. Batch
   * normalisation keeps its running statistics (but see `batchStatistics`), so it needs a trained network: `initialFrom`. Without: dense training.
   */
  readonly timeSteps?: number;
  /**
   * `through-time` (default): backpropagation through time, with a surrogate of each spike. `rate`: rate-based backpropagation
   * (Yu et al., NeurIPS 2024), once through the means over time; up to 32 steps.
   */
  readonly gradient?: GradientKind;
  /**
   * Batch normalisation by the statistics of each batch, as in dense training, whose rates it takes: `through-time` over images and
   * steps (Zheng et al., AAAI 2021), by `rate` those of the mean current. What came of it: docs/results.md. Default false.
   */
  readonly batchStatistics?: boolean;
  /**
   * With `through-time`: keep the gradient from going back through the reset. Default true; false makes the gradients of deep
   * networks a tenth as long (docs/results.md).
   */
  readonly detachReset?: boolean;
  /**
   * Part of the loss that is the mean cross-entropy of every step's own logits (TET, Deng et al., ICLR 2022), 0 to 1;
   * the rest is that of the mean logits, which the network is read out by. Default 0.
   */
  readonly lossPerStep?: number;
}

/** Resolved: plain data, stored in the checkpoint. */
export interface TemporalConfig {
  readonly timeSteps: number;
  /** Absent: through time. */
  readonly gradient?: 'rate';
  readonly batchStatistics?: true;
  readonly surrogate: SurrogateKind;
  readonly detachReset: boolean;
  readonly lossPerStep: number;
  /** False leaves out the gradients of the thresholds. */
  readonly trainThresholds: boolean;
}

interface Needed extends TemporalOptions, Partial<MethodOptions> {
  readonly initialFrom?: string;
}

/** Undefined for dense training, which none of the options is for. */
export function resolveTemporal(options: Needed, trainThresholds: boolean): TemporalConfig | undefined {
  const { timeSteps, surrogate = 'rectangle', detachReset = true, lossPerStep = 0, noise = 'none', initialFrom } = options;
  if (timeSteps === undefined) {
    const lost = (['gradient', 'batchStatistics', 'detachReset', 'lossPerStep'] as const).find((name) => options[name] !== undefined);
    if (lost !== undefined) throw refused(`${lost} is for training over time: give timeSteps too.`);
    return undefined;
  }
  share('lossPerStep', lossPerStep);
  const chosen = resolveGradient(options, timeSteps);
  if (noise !== 'none') throw refused(`Training over time runs the spiking network itself, without noise: leave out noise "${noise}".`);
  if (options.penalty === 'hoyer' || options.spikeBudget !== undefined) throw refused('Training over time has the activity penalty l1 without a budget.');
  if (initialFrom === undefined) throw refused('Training over time needs a trained network: give the folder that "train" wrote as initialFrom.');
  return { timeSteps, ...chosen, surrogate, detachReset, lossPerStep, trainThresholds };
}

function resolveGradient(options: Needed, timeSteps: number): Pick<TemporalConfig, 'gradient' | 'batchStatistics'> {
  const { gradient = 'through-time', batchStatistics = false } = options;
  if (!gradientKinds.includes(gradient)) throw unknownName('gradient', String(gradient), gradientKinds);
  const most = gradient === 'rate' ? maxFineTuneSteps : maxStepsThroughTime;
  if (!Number.isInteger(timeSteps) || timeSteps < 1 || timeSteps > most) {
    throw invalidArgument(`timeSteps with gradient "${gradient}"`, `whole number from 1 to ${most}`, timeSteps);
  }
  const statistics = batchStatistics ? { batchStatistics } : {};
  if (gradient === 'through-time') return statistics;
  const { surrogate, detachReset = true, lossPerStep = 0 } = options;
  if (surrogate !== undefined || !detachReset || lossPerStep > 0) {
    throw refused('Gradient "rate" has no surrogate, no reset and no loss of a step of its own: leave out surrogate, detachReset and lossPerStep.');
  }
  return { gradient, ...statistics };
}
