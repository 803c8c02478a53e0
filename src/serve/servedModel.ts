import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { NoisefloorError } from '../errors.js';
import { readWholeFile } from '../files.js';
import { elementCount } from '../tensor.js';
import { Batcher } from './batcher.js';
import type { EngineShare } from './engineShare.js';
import type { BatchLimits } from './limits.js';
import type { EngineOptions, ModelSource, VersionFile } from './modelSource.js';
import type { Observer } from './observer.js';

export interface ModelHost {
  readonly share: EngineShare;
  readonly engine: EngineOptions;
  readonly limits: BatchLimits;
  readonly observe: (model: string) => Observer;
}

/** One loaded network. It is freed once it is retired and its last user is done. */
export class LoadedVersion {
  #users = 0;
  #retired: (() => void) | undefined;

  constructor(
    readonly version: string,
    /** Of the file's bytes: tells whether the file has changed. */
    readonly digest: string,
    readonly batcher: Batcher,
  ) {}

  async use<T>(work: (version: LoadedVersion) => Promise<T>): Promise<T> {
    this.#users++;
    try {
      return await work(this);
    } finally {
      if (--this.#users === 0) this.#retired?.();
    }
  }

  /** Settles once nobody uses the network and it is freed. */
  async retire(): Promise<void> {
    if (this.#users > 0) await new Promise<void>((resolve) => (this.#retired = resolve));
    this.batcher.close();
    await this.batcher.backend.dispose();
  }
}

/** A model by name, with the versions that are loaded. Loads of one model go one after another. */
export class ServedModel {
  #versions: readonly LoadedVersion[] = [];
  #lastNumber = 0;
  #queue: Promise<unknown> = Promise.resolve();
  readonly #retiring = new Set<Promise<void>>();
  /** Why the last load failed, if it did. */
  problem: string | undefined;

  constructor(
    readonly source: ModelSource,
    readonly host: ModelHost,
  ) {}

  get name(): string {
    return this.source.name;
  }

  /** Oldest first; none while unloaded. */
  get versions(): readonly LoadedVersion[] {
    return this.#versions;
  }

  /**
   * Reads the files again and swaps in what has changed, once all of it is loaded; requests under way end on the version that they
   * began with. After an error everything is as before.
   *
   * @returns whether something changed
   * @throws NoisefloorError FILE_NOT_FOUND, IO, INVALID_FILE and what else opening a model may meet
   */
  load(): Promise<boolean> {
    return this.#inTurn(async () => {
      try {
        const changed = await this.#load();
        this.problem = undefined;
        return changed;
      } catch (error) {
        this.problem = (error as Error).message;
        throw error;
      }
    });
  }

  /** Takes the model out of service; requests under way end well. */
  unload(): Promise<void> {
    return this.#inTurn(() => {
      this.#swap([]);
      return Promise.resolve();
    });
  }

  /** Settles once everything is freed. */
  async close(): Promise<void> {
    await this.unload();
    await Promise.all(this.#retiring);
  }

  async #load(): Promise<boolean> {
    const files = await this.source.files();
    const opened: LoadedVersion[] = [];
    try {
      const next: LoadedVersion[] = [];
      for (const file of files) {
        const bytes = await readWholeFile(file.path, 'model file');
        const digest = await sha256InTurns(bytes);
        const kept = this.#versions.find((one) => one.digest === digest && (file.version === undefined || one.version === String(file.version)));
        if (!kept) opened.push(await this.#open(bytes, digest, file));
        next.push(kept ?? opened.at(-1)!);
      }
      const changed = opened.length > 0 || next.length !== this.#versions.length;
      this.#swap(next);
      return changed;
    } catch (error) {
      await Promise.all(opened.map((version) => version.retire()));
      throw error;
    }
  }

  async #open(bytes: Buffer, digest: string, file: VersionFile): Promise<LoadedVersion> {
    const { share, engine, limits, observe } = this.host;
    const backend = await this.source.open(bytes, file, engine);
    try {
      // The first run of a session lays out memory: not at the cost of a request.
      await backend.run(new Float32Array(elementCount(backend.input.shape)), { timeSteps: 1 }, new AbortController().signal);
    } catch (error) {
      await backend.dispose();
      throw error;
    }
    const number = file.version ?? ++this.#lastNumber;
    return new LoadedVersion(String(number), digest, new Batcher(backend, share, limits, observe(this.name)));
  }

  #swap(next: readonly LoadedVersion[]): void {
    const left = this.#versions.filter((version) => !next.includes(version));
    this.#versions = next;
    for (const version of left) {
      const retiring: Promise<void> = version.retire().finally(() => this.#retiring.delete(retiring));
      this.#retiring.add(retiring);
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }
}

async function sha256InTurns(bytes: Uint8Array): Promise<string> {
  const hash = createHash('sha256');
  const slice = 2 ** 20; // Half a millisecond.
  for (let at = 0; at < bytes.length; at += slice) {
    hash.update(bytes.subarray(at, at + slice));
    await turn();
  }
  return hash.digest('hex');
}

/** The version that a request asks for; the newest without one. @throws NoisefloorError UNKNOWN_MODEL, UNAVAILABLE */
export function findVersion(model: ServedModel, version: string | undefined): LoadedVersion {
  const newest = model.versions.at(-1);
  if (!newest) throw new NoisefloorError('UNAVAILABLE', `The model "${model.name}" is not loaded.`);
  if (version === undefined) return newest;
  const found = model.versions.find((one) => one.version === version);
  if (found) return found;
  const known = model.versions.map((one) => one.version).join(', ');
  throw new NoisefloorError('UNKNOWN_MODEL', `The model "${model.name}" has no version ${JSON.stringify(version.slice(0, 20))}. Loaded: ${known}.`);
}
