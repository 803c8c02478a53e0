import { statSync } from 'node:fs';
import { NoisefloorError, refused } from '../errors.js';
import { readSpikingModel } from '../snn/file.js';
import { smallestTimeSteps, type SpikingModel } from '../snn/model.js';
import { zooModelPath, zooNames } from '../zoo/zoo.js';
import type { Io } from './io.js';
import { withProgress } from './progress.js';

/** What `<model>` of a command may be. */
export const modelArgument = 'spiking model: a file, or a name that `noisefloor models` lists';

/** Reads a model file, or the model of that name; a file of that name wins. */
export async function readModel(model: string, io: Io): Promise<SpikingModel> {
  return readSpikingModel(await modelPath(model, io));
}

/** The path of a model file, or of the model of that name, which is fetched where the package does not hold it. */
export async function modelPath(model: string, io: Io): Promise<string> {
  if (statSync(model, { throwIfNoEntry: false })?.isFile()) return model;
  const names = zooNames();
  if (names.includes(model)) return fetchModel(model, io);
  if (/[./\\]/.test(model)) return model;
  throw new NoisefloorError('FILE_NOT_FOUND', `No spiking model at ${model}, nor one of that name. Give a path, or one of: ${names.join(', ')}.`);
}

/** @throws NoisefloorError INVALID_ARGUMENT where nothing is read out in so few steps */
export function checkReadout(model: SpikingModel, timeSteps: number): void {
  const least = smallestTimeSteps(model);
  if (timeSteps < least) throw refused(`The read-out of ${model.name} starts after step ${least - 1}: give --time-steps of at least ${least}.`);
}

/** As `zooModelPath`, with a bar. */
export function fetchModel(name: string, io: Io): Promise<string> {
  return withProgress(io, `Fetching ${name}`, (progress) =>
    zooModelPath(name, { signal: io.signal, onProgress: (done, total) => progress.update(done, total) }),
  );
}
