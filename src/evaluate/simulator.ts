import { invalidArgument, NoisefloorError } from '../errors.js';
import type { Dataset, Split } from '../data/dataset.js';
import { firstImages } from '../data/split.js';
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

/** The images asked for, checked against the model: the test split of a data set, or a split as it is. */
export function imagesFor(model: SpikingModel, data: Dataset | Split, limit?: number): Split {
  if ('test' in data) checkDataset(model, data);
  const split = firstImages('test' in data ? data.test : data, limit);
  const size = elementCount(model.input.shape);
  if (split.count === 0 || split.images.length !== split.count * size || split.labels.length !== split.count) {
    throw new NoisefloorError(
      'INVALID_DATA',
      `Expected at least one image of [${model.input.shape.join(', ')}] with its label but received ${split.count} ` +
        `images, ${split.images.length} pixels and ${split.labels.length} labels.`,
    );
  }
  const wrong = split.labels.findIndex((label) => label >= model.classes.length);
  if (wrong >= 0) {
    throw new NoisefloorError(
      'INVALID_DATA',
      `Label ${split.labels[wrong]} of image ${wrong} is not one of the ${model.classes.length} classes of ${model.name}.`,
    );
  }
  return split;
}

export function checkTimeSteps(timeSteps: readonly number[]): void {
  if (!Array.isArray(timeSteps) || timeSteps.length === 0) throw invalidArgument('timeSteps', 'a list of at least one number of time steps', timeSteps);
  for (const steps of timeSteps) {
    if (!Number.isInteger(steps) || steps < 1 || steps > maxTimeSteps) {
      throw invalidArgument('timeSteps', `whole numbers from 1 to ${maxTimeSteps}`, steps);
    }
  }
}

export function throwIfAborted(signal?: AbortSignal): void {
  if (signal?.aborted) throw new NoisefloorError('ABORTED', 'Stopped on request.', { cause: signal.reason });
}

function checkDataset(model: SpikingModel, data: Dataset): void {
  const wanted = model.input.shape.join(', ');
  if (data.shape.join(', ') !== wanted) {
    throw new NoisefloorError(
      'INVALID_DATA',
      `${model.name} takes images of [${wanted}] but those of ${data.spec} are [${data.shape.join(', ')}]: ` +
        'evaluate it on the data set that it was trained on.',
    );
  }
  if (data.classes.length !== model.classes.length) {
    throw new NoisefloorError(
      'INVALID_DATA',
      `${model.name} has ${model.classes.length} classes but ${data.spec} has ${data.classes.length}: ` +
        'evaluate it on the data set that it was trained on.',
    );
  }
}
