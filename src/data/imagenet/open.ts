import { basename, dirname, join } from 'node:path';
import { NoisefloorError } from '../../errors.js';
import { readWholeFile } from '../../files.js';
import type { Shape } from '../../graph/graph.js';
import { checkPictureShape } from '../images.js';
import { checkPreprocessing, usualPreprocessing, type Preprocessing } from '../preprocessing.js';
import type { ImageSource } from '../source.js';
import { exists, listPictures, type Entry } from './entries.js';
import { PictureSource, type LabelledEntry } from './pictureSource.js';
import { imagenetSynsets, parseSynsets, type Synset } from './synsets.js';
import { readTruth } from './truth.js';

export type Part = 'train' | 'test';

/** What the pictures are made into; the preprocessing is the usual one unless given. */
export interface PictureInput {
  /** [C, H, W] */
  readonly shape: Shape;
  readonly preprocessing?: Preprocessing;
}

/** Where each part may lie in the folder, the first that exists counting. */
const places: Readonly<Record<Part, readonly string[]>> = {
  test: ['val', 'ILSVRC2012_img_val', 'ILSVRC2012_img_val.tar'],
  train: ['calibration', 'train', 'ILSVRC2012_img_train', 'ILSVRC2012_img_train.tar'],
};

/**
 * Opens one part of ImageNet, or of any pictures in a folder a class (docs/imagenet.md has the layouts).
 *
 * @param path a folder or a tar archive
 * @throws NoisefloorError `FILE_NOT_FOUND`, `IO`, `INVALID_DATA`, `INVALID_ARGUMENT`
 */
export async function openImagenet(spec: string, path: string, part: Part, input: PictureInput): Promise<ImageSource> {
  const { shape, preprocessing = usualPreprocessing(shape[1]!) } = input;
  checkPictureShape(shape);
  checkPreprocessing(preprocessing, shape);
  const place = await placeOf(path, part);
  const entries = await listPictures(place);
  const synsets = await synsetsOf([path, dirname(place)], entries);
  const labelled = await label(entries, synsets, [...new Set([path, dirname(place), place])]);
  return new PictureSource(inOrder(labelled), { spec, shape, preprocessing, classes: synsets.map(({ words }) => words) });
}

async function placeOf(path: string, part: Part): Promise<string> {
  if (path.endsWith('.tar')) return path;
  for (const name of places[part]) if (await exists(join(path, name))) return join(path, name);
  const other = places[part === 'test' ? 'train' : 'test'];
  for (const name of other) {
    if (await exists(join(path, name))) {
      throw new NoisefloorError('FILE_NOT_FOUND', `${path} has no ${part === 'test' ? 'test' : 'training'} pictures: there is ${name} but none of ${places[part].join(', ')}.`);
    }
  }
  return path;
}

/** By a list that lies there; else ImageNet's own where all folders are of it; else the folders in order of their names. */
async function synsetsOf(folders: readonly string[], entries: readonly Entry[]): Promise<readonly Synset[]> {
  for (const folder of folders) {
    const list = join(folder, 'synset_words.txt');
    if (await exists(list)) return parseSynsets((await readWholeFile(list, 'list of classes')).toString('utf8'));
  }
  const names = [...new Set(entries.map(({ path }) => folderOf(path)).filter((name) => name !== undefined))].sort();
  const known = new Set(imagenetSynsets.map(({ id }) => id));
  return names.every((name) => known.has(name)) ? imagenetSynsets : names.map((id) => ({ id, words: id }));
}

async function label(entries: readonly Entry[], synsets: readonly Synset[], folders: readonly string[]): Promise<LabelledEntry[]> {
  const indices = new Map(synsets.map(({ id }, index) => [id, index]));
  const flat = entries.some(({ path }) => folderOf(path) === undefined || !indices.has(folderOf(path)!));
  const truth = flat ? await readTruth(folders.filter((folder) => !folder.endsWith('.tar')), synsets) : undefined;
  return entries.map((entry) => {
    const index = indices.get(folderOf(entry.path) ?? '') ?? truth?.(entry.path);
    if (index === undefined) {
      throw new NoisefloorError('INVALID_DATA', `The class of ${entry.path} is unknown: it lies in no folder of a class, and the ground truth does not name it.`);
    }
    return { ...entry, label: index };
  });
}

/**
 * ILSVRC2012_val_00000001 and so on in the order of their numbers, as the archive has them; other pictures in turn from each
 * class, so that the first ones are of all classes.
 */
function inOrder(entries: LabelledEntry[]): LabelledEntry[] {
  if (entries.every(({ path }) => basename(path).startsWith('ILSVRC2012_val_'))) return sorted(entries, ({ path }) => basename(path));
  const taken = new Map<number, number>();
  const turns = entries.map((entry) => {
    const turn = taken.get(entry.label) ?? 0;
    taken.set(entry.label, turn + 1);
    return { entry, turn };
  });
  return turns.sort((a, b) => a.turn - b.turn || a.entry.label - b.entry.label).map(({ entry }) => entry);
}

function sorted<T>(values: readonly T[], key: (value: T) => string): T[] {
  return [...values].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function folderOf(path: string): string | undefined {
  return path.split('/').at(-2);
}
