import { invalidArgument, NoisefloorError } from '../errors.js';
import type { Dataset, Split } from '../data/dataset.js';
import { firstOf, type ImageBatch, type ImageSource } from '../data/source.js';
import { SplitSource } from '../data/splitSource.js';
import { maxTimeSteps, type SpikingModel } from '../snn/model.js';
import type { RunOptions, RunResult } from '../snn/run.js';
import { elementCount } from '../tensor.js';

/** What evaluation needs of a spiking network that runs: `SpikingSession` is one. */
export interface Simulator {
  readonly model: SpikingModel;
  /** Instruction set of the kernels in use. */
  readonly isa: string;
  readonly threads: number;
  /** @param images normalised, [N, C, H, W] */
  run(images: Float32Array, options: RunOptions & { readonly signal?: AbortSignal }): Promise<RunResult>;
}

/** Images to evaluate on: the test split of a data set, a split as it is, or a source. */
export type Images = Dataset | Split | ImageSource;

/**
 * The images asked for, checked against the model.
 *
 * @throws NoisefloorError `INVALID_DATA`
 */
export function sourceFor(model: SpikingModel, data: Images, limit?: number): ImageSource {
  return firstOf(wholeSource(model, data), limit);
}

function wholeSource(model: SpikingModel, data: Images): ImageSource {
  if ('batches' in data) {
    checkFits(model, data);
    return data;
  }
  if (!('test' in data)) return splitSource(model, data, 'a split');
  checkFits(model, data);
  return splitSource(model, data.test, data.spec, data.classes);
}

function splitSource(model: SpikingModel, split: Split, spec: string, classes?: readonly string[]): ImageSource {
  const size = elementCount(model.input.shape);
  if (split.count === 0 || split.images.length !== split.count * size || split.labels.length !== split.count) {
    throw new NoisefloorError(
      'INVALID_DATA',
      `Expected at least one image of [${model.input.shape.join(', ')}] with its label but received ${split.count} ` +
        `images, ${split.images.length} pixels and ${split.labels.length} labels.`,
    );
  }
  return new SplitSource(split, model.input.shape, spec, classes);
}

/** @throws NoisefloorError `INVALID_DATA` a label is no class of the model */
export function checkLabels(model: SpikingModel, { labels, positions }: ImageBatch): void {
  const wrong = labels.findIndex((label) => label >= model.classes.length);
  if (wrong < 0) return;
  throw new NoisefloorError(
    'INVALID_DATA',
    `Label ${labels[wrong]} of image ${positions[wrong]} is not one of the ${model.classes.length} classes of ${model.name}.`,
  );
}

export function checkTimeSteps(timeSteps: readonly number[]): void {
  if (!Array.isArray(timeSteps) || timeSteps.length === 0) throw invalidArgument('timeSteps', 'a list of at least one number of time steps', timeSteps);
  for (const steps of timeSteps) {
    if (!Number.isInteger(steps) || steps < 1 || steps > maxTimeSteps) {
      throw invalidArgument('timeSteps', `whole numbers from 1 to ${maxTimeSteps}`, steps);
    }
  }
}

export function checkDelay(delay: number, timeSteps: readonly number[]): void {
  const least = Math.min(...timeSteps);
  if (Number.isInteger(delay) && delay >= 0 && delay < least) return;
  throw invalidArgument('delay', `whole number from 0 to ${least - 1}, less than every number of time steps,`, delay);
}

export function throwIfAborted(signal?: AbortSignal): void {
  if (signal?.aborted) throw new NoisefloorError('ABORTED', 'Stopped on request.', { cause: signal.reason });
}

function checkFits(model: SpikingModel, data: Pick<ImageSource, 'spec' | 'shape' | 'classes'>): void {
  const wanted = model.input.shape.join(', ');
  if (data.shape.join(', ') !== wanted) {
    throw new NoisefloorError(
      'INVALID_DATA',
      `${model.name} takes images of [${wanted}] but those of ${data.spec} are [${data.shape.join(', ')}]: ` +
        'evaluate it on the data set that it was trained on.',
    );
  }
  if (data.classes && data.classes.length !== model.classes.length) {
    throw new NoisefloorError(
      'INVALID_DATA',
      `${model.name} has ${model.classes.length} classes but ${data.spec} has ${data.classes.length}: ` +
        'evaluate it on the data set that it was trained on.',
    );
  }
}
