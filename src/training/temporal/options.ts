import { invalidArgument, refused } from '../../errors.js';
import type { SurrogateKind } from '../layers/surrogate.js';
import type { MethodOptions } from '../method.js';
import { share } from '../numbers.js';

/** Each step costs as much memory and time as a dense training step of the whole batch. */
export const maxFineTuneSteps = 8;

/** Options of fine-tuning the spiking network by backpropagation through time; see `TrainOptions`. */
export interface TemporalOptions {
  /**
   * Trains the spiking network itself, unrolled over this many time steps, 1 to 8, instead of the quantised one. Batch
   * normalisation keeps its running statistics, so it needs a trained network: `initialFrom`. Without: dense training.
   */
  readonly timeSteps?: number;
  /** Keep the gradient from going back through the reset. Default true: through it, training diverged. */
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
    const lost = (['detachReset', 'lossPerStep'] as const).find((name) => options[name] !== undefined);
    if (lost !== undefined) throw refused(`${lost} is for training over time: give timeSteps too, 1 to ${maxFineTuneSteps}.`);
    return undefined;
  }
  if (!Number.isInteger(timeSteps) || timeSteps < 1 || timeSteps > maxFineTuneSteps) {
    throw invalidArgument('timeSteps', `whole number from 1 to ${maxFineTuneSteps}`, timeSteps);
  }
  share('lossPerStep', lossPerStep);
  if (noise !== 'none') throw refused(`Training over time runs the spiking network itself, without noise: leave out noise "${noise}".`);
  if (options.penalty === 'hoyer' || options.spikeBudget !== undefined) throw refused('Training over time has the activity penalty l1 without a budget.');
  if (initialFrom === undefined) throw refused('Training over time needs a trained network: give the folder that "train" wrote as initialFrom.');
  return { timeSteps, surrogate, detachReset, lossPerStep, trainThresholds };
}
