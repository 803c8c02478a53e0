import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { openDataset } from '../data/open.js';
import type { Dataset } from '../data/dataset.js';
import { invalidArgument, NoisefloorError, refused, type ErrorCode } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';
import { whole } from '../numbers.js';
import { checkpointPath, hasCheckpoint, readCheckpoint, type Checkpoint } from './checkpoint.js';
import { resolveLoaderThreads } from './loader.js';
import { checkSurrogate, resolveConfig, resolveGraph, type EpochLog, type TrainOptions, type TrainProgress } from './options.js';
import { resolveRuntime, type TrainingRuntime } from './parallel/runtime.js';
import { checkTeacher, freshStart, isFinished, resumedStart } from './start.js';

export interface TrainResult {
  /** Folder of the artifacts. */
  readonly directory: string;
  /** Epochs of this run, without those before a resume: none where the run to resume was finished. */
  readonly epochs: readonly EpochLog[];
  readonly network: TrainedNetwork;
}

/** What the worker is started with. */
export interface WorkerJob {
  readonly start: Checkpoint;
  readonly data: Dataset;
  readonly teachers: readonly TrainedNetwork[];
  readonly directory: string;
  readonly runtime: TrainingRuntime;
  readonly loaderThreads: number;
  /** Epochs; 0 keeps none but the last. */
  readonly keepEvery: number;
  /** Int32Array of one element; 1 asks the worker to save and stop. */
  readonly stop: SharedArrayBuffer;
}

export type WorkerMessage =
  | { readonly kind: 'progress'; readonly event: TrainProgress }
  | { readonly kind: 'done'; readonly network: TrainedNetwork }
  | { readonly kind: 'failed'; readonly code?: ErrorCode; readonly message: string; readonly stack?: string };

/**
 * Trains a quantised network with noise, for conversion, or with `timeSteps` its spiking network. Runs in a worker thread,
 * since ONNX Runtime blocks the thread it is called on. Writes the models of the training artifacts (docs/architecture.md),
 * `checkpoint.safetensors` (after every epoch, and when the signal fires) and `log.jsonl` into `options.out`.
 *
 * Errors: `INVALID_ARGUMENT`; `MISSING_DEPENDENCY` without onnxruntime-node; `CHECKPOINT_MISMATCH` where `resume` finds
 * another network or `initialFrom` one for other data; `TRAINING_DIVERGED`; `ABORTED` once the signal fired and the
 * checkpoint is saved.
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  checkOptions(options);
  const teacherFolders = foldersOf(options.teacher);
  const teachers = await Promise.all(teacherFolders.map((path) => readCheckpoint(path)));
  const config = resolveConfig(options, teachers);
  const loaderThreads = resolveLoaderThreads(options.loaderThreads);
  const keepEvery = whole('keepEvery', options.keepEvery ?? 0, 0);
  const runtime = resolveRuntime(options, config.batchSize);
  const data = typeof options.data === 'string' ? await openDataset(options.data) : options.data;
  const base = options.initialFrom === undefined ? undefined : await readCheckpoint(options.initialFrom);
  const graph = resolveGraph(options, data, base);
  checkSurrogate(options, graph);
  teachers.forEach((teacher, i) => checkTeacher(teacherFolders[i]!, teacher, config, data));
  const start = options.resume === true ? await resumedStart(options.out, graph, config, data, base) : freshStart(graph, config, data, base);
  if (options.resume !== true) await refuseExisting(options.out);
  if (isFinished(start)) return { directory: options.out, epochs: [], network: await readCheckpoint(options.out) };
  await makeDirectory(options.out);
  const job = { start, data, teachers, directory: options.out, runtime, loaderThreads, keepEvery, stop: new SharedArrayBuffer(4) };
  return runInWorker(job, options);
}

function checkOptions(options: Partial<TrainOptions> | undefined): void {
  if (typeof options !== 'object') throw invalidArgument('options', 'object with network, data and out', options);
  if (typeof options.out !== 'string' || options.out === '') throw invalidArgument('out', 'path of a folder', options.out);
  const { network, data, initialFrom } = options;
  if (!isNameOrObject(data)) throw invalidArgument('data', 'name or object', data);
  if (initialFrom === undefined) {
    if (!isNameOrObject(network) && typeof network !== 'function') throw invalidArgument('network', 'name, graph or function', network);
    return;
  }
  if (typeof initialFrom !== 'string') throw invalidArgument('initialFrom', 'path of a folder', initialFrom);
  for (const name of ['network', 'width', 'weightBits', 'activation', 'levels', 'initialThreshold', 'slope', 'fixedThreshold'] as const) {
    if (options[name] !== undefined) throw refused(`The network comes from initialFrom: leave out ${name}.`);
  }
}

function foldersOf(teacher: TrainOptions['teacher']): readonly string[] {
  if (teacher === undefined) return [];
  const folders: unknown = typeof teacher === 'string' ? [teacher] : teacher;
  if (!Array.isArray(folders) || folders.length === 0 || !folders.every((path) => typeof path === 'string')) {
    throw invalidArgument('teacher', 'path of a folder, or a list of them', teacher);
  }
  const twice = folders.find((path, i) => folders.indexOf(path) < i);
  if (twice !== undefined) throw refused(`The teacher ${twice} is given twice: give it once.`);
  return folders;
}

function isNameOrObject(value: unknown): boolean {
  return typeof value === 'string' || (typeof value === 'object' && value !== null);
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw new NoisefloorError('IO', `Could not make the folder ${path}: ${(error as Error).message}`, { cause: error });
  }
}

async function refuseExisting(directory: string): Promise<void> {
  if (await hasCheckpoint(directory)) {
    throw new NoisefloorError('INVALID_ARGUMENT', `${checkpointPath(directory)} exists already: go on with resume (--resume), or give another folder.`);
  }
}

/** How long the training thread may take to end by itself. */
const graceMilliseconds = 10_000;

function runInWorker(job: WorkerJob, { signal, onProgress, out }: TrainOptions): Promise<TrainResult> {
  if (signal?.aborted) return Promise.reject(new NoisefloorError('ABORTED', 'Training was aborted before it began.'));
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: job, name: 'noisefloor-train' });
  const stop = (): void => void Atomics.store(new Int32Array(job.stop), 0, 1);
  signal?.addEventListener('abort', stop, { once: true });
  const exited = once(worker, 'exit').catch(() => undefined);
  const epochs: EpochLog[] = [];
  return new Promise<TrainResult>((resolve, reject) => {
    worker.on('message', (message: WorkerMessage) => {
      switch (message.kind) {
        case 'progress':
          if (message.event.kind === 'epoch') epochs.push(epochLog(message.event));
          try {
            onProgress?.(message.event);
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
          break;
        case 'done':
          resolve({ directory: out, epochs, network: message.network });
          break;
        case 'failed':
          reject(restoreError(message));
          break;
      }
    });
    worker.on('error', reject);
    worker.on('exit', (code) => reject(new Error(`The training thread ended early with code ${code}.`)));
  }).finally(async () => {
    signal?.removeEventListener('abort', stop);
    stop();
    // A thread that is terminated while the runtime or its loader threads still end can take the process with it.
    await Promise.race([exited, delay(graceMilliseconds, undefined, { ref: false })]);
    await worker.terminate();
  });
}

function epochLog(event: Extract<TrainProgress, { kind: 'epoch' }>): EpochLog {
  const { kind: _, epochs: __, ...log } = event;
  return log;
}

function restoreError({ code, message, stack }: Extract<WorkerMessage, { kind: 'failed' }>): Error {
  const error = code === undefined ? new Error(message) : new NoisefloorError(code, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
