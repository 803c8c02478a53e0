import { readFileSync } from 'node:fs';
import type { WeightType } from '../convert/quantize.js';
import { unknownName } from '../errors.js';

/** A trained spiking model that has a name; what it says was measured on all test images, integer weights, in the engine. */
export interface ZooModel {
  readonly name: string;
  readonly network: string;
  /** What it classifies. */
  readonly data: string;
  readonly weights: WeightType;
  /** Of the file. */
  readonly bytes: number;
  /** Of the file, in hexadecimal. */
  readonly sha256: string;
  /** In the package; else it is fetched on first use. */
  readonly included: boolean;
  readonly timeSteps: readonly number[];
  /** A fraction for each of `timeSteps`. */
  readonly top1: readonly number[];
  readonly testImages: number;
  /** The commands that trained and converted it. */
  readonly training: readonly string[];
}

/** The folder of the catalogue and of the models in the package. */
export const zooFolder = new URL('../../zoo/', import.meta.url);

/** All models that have a name, those in the package and those to fetch. */
export function zooModels(): readonly ZooModel[] {
  return JSON.parse(readFileSync(new URL('catalogue.json', zooFolder), 'utf8')) as ZooModel[];
}

/** @throws NoisefloorError INVALID_ARGUMENT that lists the names there are. */
export function findZooModel(name: string, models = zooModels()): ZooModel {
  const found = models.find((model) => model.name === name);
  if (!found) throw unknownName('model', name, models.map((model) => model.name));
  return found;
}
