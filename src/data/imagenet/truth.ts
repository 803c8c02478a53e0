import { createReadStream } from 'node:fs';
import { basename, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { createGunzip } from 'node:zlib';
import { NoisefloorError } from '../../errors.js';
import { readWholeFile } from '../../files.js';
import { readDevkitSynsets } from './devkit.js';
import { exists } from './entries.js';
import type { Synset } from './synsets.js';
import { listTarBuffer } from './tar.js';

/** Class index of a picture by its file name; undefined where the ground truth does not name it. */
export type Truth = (fileName: string) => number | undefined;

const devkit = 'ILSVRC2012_devkit_t12';
const devkitTruth = 'ILSVRC2012_validation_ground_truth.txt';
/** Where the labels of a flat folder may stand, the first that exists counting. */
export const truthFiles = [
  'val.txt',
  'LOC_val_solution.csv',
  'labels.csv',
  'imagenet_2012_validation_synset_labels.txt',
  `${devkit}.tar.gz`,
  `${devkit}/data/${devkitTruth}`,
  devkitTruth,
] as const;

/**
 * The labels of pictures that lie in no folder of their class, from one of {@link truthFiles} in one of `folders`.
 *
 * @throws NoisefloorError `FILE_NOT_FOUND` none of them is there, `INVALID_DATA`
 */
export async function readTruth(folders: readonly string[], synsets: readonly Synset[]): Promise<Truth> {
  for (const folder of folders) {
    for (const name of truthFiles) {
      const path = join(folder, name);
      if (await exists(path)) return new TruthReader(path, synsets).read();
    }
  }
  throw new NoisefloorError(
    'FILE_NOT_FOUND',
    `The pictures lie in no folder of their class, and there is no ground truth in ${folders.join(' or ')}: put one of ${truthFiles.join(', ')} there.`,
  );
}

class TruthReader {
  readonly #indices: ReadonlyMap<string, number>;

  constructor(
    readonly path: string,
    synsets: readonly Synset[],
  ) {
    this.#indices = new Map(synsets.map(({ id }, index) => [id, index]));
  }

  async read(): Promise<Truth> {
    if (this.path.endsWith('.tar.gz')) return this.#fromDevkit(await this.#unpack());
    const bytes = await readWholeFile(this.path, 'ground truth');
    if (basename(this.path) !== devkitTruth) return this.#fromLines(bytes.toString('utf8'));
    return this.#fromDevkit({ truth: bytes, meta: await readWholeFile(join(this.path, '..', 'meta.mat'), 'meta.mat of the devkit') });
  }

  async #unpack(): Promise<{ truth: Buffer; meta: Buffer }> {
    const tar = await buffer(createReadStream(this.path).pipe(createGunzip())).catch((error: unknown) => {
      throw this.#error(`it cannot be unpacked: ${(error as Error).message}`, error);
    });
    const members = listTarBuffer(tar, this.path);
    const member = (name: string): Buffer => {
      const found = members.find(({ path }) => path.endsWith(`data/${name}`));
      if (!found) throw this.#error(`data/${name} is not in it`);
      return tar.subarray(found.offset, found.offset + found.size);
    };
    return { truth: member(devkitTruth), meta: member('meta.mat') };
  }

  /** A number a line, in the devkit's own order of the classes, for picture 1, 2, ... */
  #fromDevkit({ truth, meta }: { truth: Buffer; meta: Buffer }): Truth {
    const synsets = readDevkitSynsets(meta, `${this.path}: meta.mat`);
    return this.#byNumber(linesOf(truth.toString('utf8')).map((line) => this.#index(synsets.get(Number(line)) ?? `ILSVRC2012_ID ${line}`)));
  }

  /** `name label` or `name,label ...` a line, or only the label: then the line is the number of the picture. */
  #fromLines(text: string): Truth {
    const rows = linesOf(text).map((line) => line.split(/[\s,]+/));
    const named = rows.filter((row) => row.length > 1);
    if (named.length === 0) return this.#byNumber(rows.map(([label]) => this.#index(label!)));
    const byName = new Map<string, number>();
    const labelled = /^(ImageId|file)$/.test(named[0]![0]!) ? named.slice(1) : named;
    for (const [name, label] of labelled) byName.set(stem(name!), this.#index(label!));
    return (fileName) => byName.get(stem(fileName));
  }

  #byNumber(indices: readonly number[]): Truth {
    return (fileName) => {
      const number = /(\d+)$/.exec(stem(fileName))?.[1];
      return number === undefined ? undefined : indices[Number(number) - 1];
    };
  }

  #index(label: string): number {
    const index = /^\d+$/.test(label) ? Number(label) : this.#indices.get(label);
    if (index === undefined || index >= this.#indices.size) {
      throw this.#error(`"${label}" is neither a synset such as n01440764 nor a class index below ${this.#indices.size}`);
    }
    return index;
  }

  #error(problem: string, cause?: unknown): NoisefloorError {
    return new NoisefloorError('INVALID_DATA', `The ground truth ${this.path} cannot be used: ${problem}.`, { cause });
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').map((line) => line.trim()).filter((line) => line !== '');
}

/** File name without folders and ending. */
function stem(path: string): string {
  return basename(path).replace(/\.[^.]*$/, '');
}
