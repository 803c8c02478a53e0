import { createHash } from 'node:crypto';
import { mkdir, open, readFile, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ImageSource } from '../data/source.js';
import { NoisefloorError } from '../errors.js';
import type { EvaluationPart } from './parts.js';

/** All that decides the numbers of an evaluation: parts of equal plans add up. */
export interface EvaluationPlan {
  /** SHA-256 of the model file. */
  readonly model: string;
  /** Fingerprint of the images, of which there are `count`. */
  readonly images: string;
  readonly count: number;
  readonly timeSteps: readonly number[];
  /** Of the read-out, where it is not 0. */
  readonly delay?: number;
  /** SHA-256 of the dense network that runs beside. */
  readonly dense?: string;
}

/** What of the plan a journal or a worker does, and where the numbers come from. */
export interface JournalHeader {
  readonly plan: EvaluationPlan;
  readonly start: number;
  readonly end: number;
  readonly spec: string;
  readonly batchSize: number;
  readonly threads: number;
  readonly isa: string;
}

export interface Journal {
  readonly header: JournalHeader;
  readonly parts: readonly EvaluationPart[];
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function planOf(
  model: Uint8Array,
  source: ImageSource,
  { timeSteps, delay = 0 }: Pick<EvaluationPlan, 'timeSteps' | 'delay'>,
  dense?: Uint8Array,
): EvaluationPlan {
  const rest = { ...(delay > 0 && { delay }), ...(dense && { dense: sha256(dense) }) };
  return { model: sha256(model), images: source.fingerprint(), count: source.count, timeSteps, ...rest };
}

/** Positions of part `index` of `of`, counted from 1: the whole without gap or overlap, parts differing by one image at most. */
export function shardRange(count: number, index: number, of: number): [start: number, end: number] {
  return [Math.floor((count * (index - 1)) / of), Math.floor((count * index) / of)];
}

/** Names the first field in which two plans differ; undefined where they are the same. */
export function planDifference(a: EvaluationPlan, b: EvaluationPlan): string | undefined {
  const names = { model: 'the model', images: 'the images', count: 'the number of images', timeSteps: 'the time steps', delay: 'the delay of the read-out', dense: 'the dense network' };
  const key = (Object.keys(names) as (keyof typeof names)[]).find((one) => JSON.stringify(a[one]) !== JSON.stringify(b[one]));
  return key && names[key];
}

const format = 'noisefloor-evaluation';

/**
 * The results of an evaluation, line by line on the disk as they come: a header, then a part a line, each flushed before the
 * next batch begins. A kill loses at most the batch in progress; half a line at the end is cut off when it goes on.
 */
export class JournalWriter {
  readonly #file: FileHandle;

  private constructor(
    file: FileHandle,
    /** What earlier runs have done, in order without a gap from the start on. */
    readonly parts: readonly EvaluationPart[],
  ) {
    this.#file = file;
  }

  /**
   * @param resume goes on with the file that is there; without it there must be none
   * @throws NoisefloorError `INVALID_ARGUMENT` there is one, or it is of another evaluation; `INVALID_FILE`, `IO`
   */
  static async open(path: string, header: JournalHeader, resume: boolean): Promise<JournalWriter> {
    const text = await readIfThere(path);
    if (text !== undefined && !resume) {
      throw new NoisefloorError('INVALID_ARGUMENT', `${path} is there already: add --resume to go on with it, or name another journal.`);
    }
    const whole = text?.slice(0, text.lastIndexOf('\n') + 1) ?? '';
    const found = whole === '' ? undefined : parse(whole, path);
    if (found) checkSame(found.header, header, path);
    try {
      await mkdir(dirname(path), { recursive: true });
      const file = await open(path, 'a');
      await file.truncate(Buffer.byteLength(whole));
      const writer = new JournalWriter(file, found?.parts ?? []);
      if (!found) await writer.#line({ format, version: 1, ...header });
      return writer;
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  async add(part: EvaluationPart): Promise<void> {
    await this.#line(part);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #line(value: object): Promise<void> {
    try {
      await this.#file.appendFile(`${JSON.stringify(value)}\n`);
      await this.#file.datasync();
    } catch (error) {
      throw cannotWrite('the journal', error);
    }
  }
}

/** @throws NoisefloorError `FILE_NOT_FOUND`, `IO`, `INVALID_FILE` */
export async function readJournal(path: string): Promise<Journal> {
  const text = await readIfThere(path);
  if (text === undefined) throw new NoisefloorError('FILE_NOT_FOUND', `No journal of an evaluation at ${path}: check the path.`);
  return parse(text.slice(0, text.lastIndexOf('\n') + 1), path);
}

/**
 * The parts of journals of one evaluation in the order of the images.
 *
 * @throws NoisefloorError `INVALID_DATA` of different evaluations, an image missing, or counted twice
 */
export function mergeJournals(journals: readonly (Journal & { readonly path: string })[]): { header: JournalHeader; parts: EvaluationPart[] } {
  const [first] = journals;
  if (!first) throw new NoisefloorError('INVALID_ARGUMENT', 'There is nothing to merge: name the journals of all shards.');
  for (const { path, header } of journals) {
    const difference = planDifference(header.plan, first.header.plan);
    if (difference) throw new NoisefloorError('INVALID_DATA', `${first.path} and ${path} are of different evaluations: ${difference} differ.`);
  }
  const parts = journals.flatMap(({ path, parts: own }) => own.map((part) => ({ path, part })));
  parts.sort((a, b) => a.part.start - b.part.start || a.part.end - b.part.end);
  let done = 0;
  for (const { path, part } of parts) {
    if (part.start < done) throw new NoisefloorError('INVALID_DATA', `${path} counts images ${part.start} to ${done - 1} a second time: name each shard once.`);
    if (part.start > done) throw missing(done, part.start);
    done = part.end;
  }
  if (done < first.header.plan.count) throw missing(done, first.header.plan.count);
  return { header: first.header, parts: parts.map(({ part }) => part) };
}

function missing(from: number, to: number): NoisefloorError {
  return new NoisefloorError('INVALID_DATA', `Images ${from} to ${to - 1} are missing: finish the shard that they belong to (eval with --resume), and name its journal.`);
}

function checkSame(found: JournalHeader, wanted: JournalHeader, path: string): void {
  const range = found.start !== wanted.start || found.end !== wanted.end;
  const difference = planDifference(found.plan, wanted.plan) ?? (range ? 'the shard' : found.batchSize === wanted.batchSize ? undefined : 'the batch size');
  if (difference) {
    throw new NoisefloorError('INVALID_ARGUMENT', `${path} is of another evaluation: ${difference} differ. Give the options that it was begun with, or name another journal.`);
  }
}

function parse(text: string, path: string): Journal {
  const [header, ...parts] = text.split('\n').slice(0, -1).map((line, i) => parseLine(line, i, path));
  const { format: found, version, ...rest } = (header ?? {}) as { format?: string; version?: number } & JournalHeader;
  if (found !== format || version !== 1) throw damaged(path, 'it does not begin as one');
  let done = rest.start;
  for (const part of parts as EvaluationPart[]) {
    if (part.start !== done) throw damaged(path, `image ${done} is followed by image ${part.start}`);
    done = part.end;
  }
  if (done > rest.end) throw damaged(path, 'it goes beyond its end');
  return { header: rest, parts: parts as EvaluationPart[] };
}

function parseLine(line: string, index: number, path: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw damaged(path, `line ${index + 1} is not JSON`, error);
  }
}

function damaged(path: string, problem: string, cause?: unknown): NoisefloorError {
  return new NoisefloorError('INVALID_FILE', `${path} is not the journal of an evaluation: ${problem}. Begin again with another journal.`, { cause });
}

function cannotWrite(path: string, error: unknown): NoisefloorError {
  return new NoisefloorError('IO', `Could not write ${path}: ${(error as Error).message}`, { cause: error });
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new NoisefloorError('IO', `Could not read ${path}: ${(error as Error).message}`, { cause: error });
  }
}
