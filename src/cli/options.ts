import { InvalidArgumentError, Option } from 'commander';
import { refused } from '../errors.js';
import { checkEarlyExit, confidenceMeasures, type ConfidenceMeasure, type EarlyExitRule } from '../snn/earlyExit.js';
import { maxTimeSteps } from '../snn/model.js';

/** Parser of a whole number from `minimum` to `maximum`. */
export function whole(minimum: number, maximum = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^-?\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= minimum && value <= maximum) return value;
    const range = maximum === Number.MAX_SAFE_INTEGER ? `>= ${minimum}` : `from ${minimum} to ${maximum}`;
    throw new InvalidArgumentError(`Expected a whole number ${range}.`);
  };
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value > 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('Expected a number > 0.');
}

export function numberFrom0(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('Expected a number >= 0.');
}

/** `crop,flip`: names of a known list, each once; an unknown one is answered with the list. */
export function nameList<Name extends string>(known: readonly Name[]): (text: string) => Name[] {
  return (text) => {
    const names = text.split(',').map((name) => name.trim());
    const unknown = names.find((name) => !(known as readonly string[]).includes(name));
    if (unknown !== undefined) throw new InvalidArgumentError(`Unknown name "${unknown}". Allowed, with commas between: ${known.join(', ')}.`);
    if (new Set(names).size !== names.length) throw new InvalidArgumentError('Expected each name once.');
    return names as Name[];
  };
}

/** `0.5,1,2`: numbers from 0, each once. */
export function thresholdList(text: string): number[] {
  const thresholds = text.split(',').map(numberFrom0);
  if (new Set(thresholds).size !== thresholds.length) throw new InvalidArgumentError('Expected each threshold once.');
  return thresholds;
}

/** Early exit at each threshold, from the options of the command line, checked; none without thresholds. */
export function exitRules(
  thresholds: readonly number[] | undefined,
  { exitMeasure, exitChunks }: { readonly exitMeasure?: ConfidenceMeasure; readonly exitChunks?: readonly number[] },
  timeSteps: number,
): Required<EarlyExitRule>[] {
  if (thresholds === undefined && (exitMeasure !== undefined || exitChunks !== undefined)) {
    throw refused('--exit-measure and --exit-chunks say how images leave: add --early-exit, or leave them out.');
  }
  const rule = { ...(exitMeasure && { measure: exitMeasure }), ...(exitChunks && { chunks: exitChunks }) };
  return (thresholds ?? []).map((threshold) => checkEarlyExit({ threshold, ...rule }, timeSteps));
}

/** `1,1,2,4`: whole numbers from 1, as often as wanted. */
export function chunkList(text: string): number[] {
  return text.split(',').map(whole(1, maxTimeSteps));
}

/** `1,2,4,8`: whole numbers from 1 to 1,024, each once. */
export function timeStepList(text: string): number[] {
  const steps = text.split(',').map((part) => {
    try {
      return whole(1, maxTimeSteps)(part);
    } catch {
      throw new InvalidArgumentError(`Expected whole numbers from 1 to ${maxTimeSteps}, with commas between.`);
    }
  });
  if (new Set(steps).size !== steps.length) throw new InvalidArgumentError('Expected each number of steps once.');
  return steps;
}

/** `0,1`: numbers of CUDA devices. */
export function deviceList(text: string): number[] {
  return text.split(',').map(whole(0));
}

export function fractionTo1(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('Expected a number from 0 to 1.');
}

/** `2/8`: part 2 of 8. */
export function shardOption(text: string): { readonly index: number; readonly of: number } {
  const [, index, of] = (/^(\d+)\/(\d+)$/.exec(text.trim()) ?? []).map(Number);
  if (index !== undefined && of !== undefined && index >= 1 && index <= of) return { index, of };
  throw new InvalidArgumentError('Expected i/n, such as 1/8 to 8/8.');
}

export function htmlPath(text: string): string {
  if (text.endsWith('.html')) return text;
  throw new InvalidArgumentError('Expected a path that ends in .html.');
}

/** The options that several commands share, worded once. */
export const shared = {
  json: () => new Option('--json', 'print one JSON document on stdout').default(false),
  threads: (what = 'threads') => new Option('--threads <n>', `${what} (default: all cores)`).argParser(whole(1, 1024)),
  limit: () => new Option('--limit <n>', 'only the first n images (default: all)').argParser(whole(1)),
  seed: (help = 'decides everything that is drawn') => new Option('--seed <s>', help).argParser(whole(0)).default(0),
  timeSteps: (preset: readonly number[]) =>
    new Option('--time-steps <list>', `numbers of time steps, 1 to ${maxTimeSteps}`)
      .argParser(timeStepList)
      .default([...preset], preset.join(',')),
  oneTimeStep: (preset: number) =>
    new Option('--time-steps <t>', `time steps, 1 to ${maxTimeSteps}`).argParser(whole(1, maxTimeSteps)).default(preset),
  exitMeasure: () =>
    new Option('--exit-measure <name>', 'of early exit: lead of the first logit, or its softmax (default: margin)').choices(confidenceMeasures),
  exitChunks: () => new Option('--exit-chunks <list>', 'time steps between exits (default: 1,1,2,4,8,...)').argParser(chunkList),
  batchSize: (preset: number) => new Option('--batch-size <b>', 'images a run').argParser(whole(1)).default(preset),
} as const;
