import { Option, type Command } from 'commander';
import { invalidArgument } from '../errors.js';
import { decayScopes, optimizerKinds, type DecayScope, type OptimizerKind, type OptimizerOptions } from '../training/optimizers.js';
import { scheduleKinds, type ScheduleKind } from '../training/schedule.js';
import { numberFrom0, positiveNumber } from './options.js';

/** What `train` is given about optimiser, schedule and weights. */
export interface RecipeOptions {
  learningRate: number;
  schedule: ScheduleKind;
  warmupEpochs: number;
  labelSmoothing: number;
  optimizer: OptimizerKind;
  momentum?: number;
  nesterov: boolean;
  weightDecay?: number;
  decay: DecayScope;
  ema: number;
  clipNorm: number;
}

export function addRecipe(command: Command): Command {
  return command
    .addOption(new Option('--learning-rate <x>', 'the highest of the schedule').argParser(positiveNumber).default(0.05))
    .addOption(new Option('--schedule <kind>', 'of the learning rate').choices([...scheduleKinds]).default('cosine'))
    .addOption(new Option('--warmup-epochs <n>', 'linear rise of the rate first').argParser(numberFrom0).default(0))
    .addOption(new Option('--label-smoothing <x>', 'part of each target spread over all classes').argParser(numberFrom0).default(0))
    .addOption(new Option('--optimizer <kind>', 'update rule').choices([...optimizerKinds]).default('sgd'))
    .addOption(new Option('--momentum <x>', 'of sgd (default: 0.9)').argParser(numberFrom0))
    .option('--nesterov', 'let sgd look ahead along its momentum', false)
    .addOption(new Option('--weight-decay <x>', '(default: 5e-4, with adamw 0.01)').argParser(numberFrom0))
    .addOption(new Option('--decay <scope>', 'what decays: all, or no thresholds, biases and batch norm').choices([...decayScopes]).default('all'))
    .addOption(new Option('--ema <decay>', 'keep and evaluate a moving average of the weights, such as 0.999').argParser(numberFrom0).default(0, 'none'))
    .addOption(new Option('--clip-norm <x>', 'largest norm of all gradients together').argParser(positiveNumber).default(0, 'any'));
}

/** Only what was asked for, so that the library's defaults hold and a run can be resumed from either. */
export function optimizerOf({ optimizer, momentum, nesterov, weightDecay, decay }: RecipeOptions): OptimizerOptions {
  const shared = { ...(weightDecay === undefined ? {} : { weightDecay }), ...(decay === 'all' ? {} : { decay }) };
  if (optimizer === 'sgd') {
    return { kind: 'sgd', ...shared, ...(momentum === undefined ? {} : { momentum }), ...(nesterov ? { nesterov } : {}) };
  }
  if (momentum !== undefined) throw invalidArgument('--momentum', 'nothing with --optimizer adamw', momentum);
  if (nesterov) throw invalidArgument('--nesterov', 'nothing with --optimizer adamw', nesterov);
  return { kind: 'adamw', ...shared };
}
