import { Option } from 'commander';
import { checkPreprocessing, interpolations, usualPreprocessing, type Interpolation, type Preprocessing } from '../data/preprocessing.js';
import type { Shape } from '../graph/graph.js';
import { whole } from './options.js';

export interface PreprocessingCommandOptions {
  resize?: number;
  crop?: number;
  interpolation?: Interpolation;
}

/** The options that say how a picture becomes the input of a network. */
export function preprocessingOptions(): Option[] {
  return [
    new Option('--resize <pixels>', 'short side of a picture after scaling (default: 8/7 of the crop)').argParser(whole(1)),
    new Option('--crop <pixels>', 'square at its centre (default: the input)').argParser(whole(1)),
    new Option('--interpolation <kind>', 'antialiased (default: bilinear)').choices([...interpolations]),
  ];
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
