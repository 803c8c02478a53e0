import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Normalization } from '../data/dataset.js';
import { checkPreprocessing, interpolations, usualPreprocessing, type Interpolation, type Preprocessing } from '../data/preprocessing.js';
import { refused } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import { whole } from './options.js';

export interface PreprocessingCommandOptions {
  mean?: number[];
  std?: number[];
  resize?: number;
  crop?: number;
  interpolation?: Interpolation;
}

/** The options that say how a picture becomes the input of a network. */
export function addPreprocessing(command: Command): Command {
  return command
    .addOption(new Option('--mean <r,g,b>', 'of each channel, subtracted from pixels in [0, 1]').argParser(numberList))
    .addOption(new Option('--std <r,g,b>', 'of each channel, divided by').argParser(numberList))
    .addOption(new Option('--resize <pixels>', 'short side of a picture after scaling (default: 8/7 of the crop)').argParser(whole(1)))
    .addOption(new Option('--crop <pixels>', 'square at its centre (default: the input)').argParser(whole(1)))
    .addOption(new Option('--interpolation <kind>', 'antialiased (default: bilinear)').choices([...interpolations]));
}

/** `--mean` and `--std`, one number a channel each; undefined where neither is given. */
export function normalizationOption({ mean, std }: PreprocessingCommandOptions, shape: Shape): Normalization | undefined {
  if (mean === undefined && std === undefined) return undefined;
  if (mean === undefined || std === undefined) throw refused('--mean and --std belong together: give both.');
  for (const [name, values] of [['--mean', mean], ['--std', std]] as const) {
    if (values.length !== shape[0]) throw refused(`${name} has ${values.length} numbers, the input of the network ${shape[0]} channels: give one a channel.`);
  }
  if (!std.every((value) => value > 0)) throw refused('--std must be above 0 for every channel.');
  return { mean, std };
}

/** `--resize`, `--crop` and `--interpolation`, and what is usual for those that are not given; undefined where no picture fits the input. */
export function preprocessingOption({ resize, crop, interpolation }: PreprocessingCommandOptions, shape: Shape): Preprocessing | undefined {
  const [channels, height, width] = shape;
  const asked = resize !== undefined || crop !== undefined || interpolation !== undefined;
  if (!asked && (height !== width || (channels !== 1 && channels !== 3))) return undefined;
  const usual = usualPreprocessing(crop ?? height!);
  const chosen = { ...usual, ...(resize !== undefined && { resize }), ...(interpolation !== undefined && { interpolation }) };
  checkPreprocessing(chosen, shape);
  return chosen;
}

function numberList(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (!values.every(Number.isFinite)) throw new InvalidArgumentError('Expected numbers with commas between.');
  return values;
}
