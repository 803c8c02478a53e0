import { availableParallelism } from 'node:os';
import { errorCodes, invalidArgument, NoisefloorError, type ErrorCode } from '../errors.js';
import { binding, type Isa, type NativeLayer, type NativeModel, type NativeResult, type NativeSession, type NativeSynapse } from '../native.js';
import { elementCount } from '../tensor.js';
import { largestTimeSteps } from './bounds.js';
import { checkModel } from './check.js';
import { decodeSpikingModel, readSpikingModel } from './file.js';
import { inputName, type SpikingModel, type Synapse } from './model.js';
import type { RunOptions, RunResult } from './run.js';

export interface SessionOptions {
  /** Threads that compute, 1 to 1024. Default: as many as the machine has processors for this process. */
  readonly threads?: number;
  /**
   * Instruction set of the kernels. All give the same result. Default: the fastest that this processor has, or the one
   * that the environment variable NOISEFLOOR_ISA names.
   */
  readonly isa?: Isa;
}

/** The instruction set that a new session uses: the fastest of this processor, or the one NOISEFLOOR_ISA names. */
export function activeIsa(): string {
  return native(() => binding().activeIsa());
}

/**
 * A spiking model laid out in the native engine, with threads of its own. Runs are queued and go one after another;
 * the event loop stays free. Any number of sessions may exist, in any number of worker threads.
 *
 * Ends with `dispose` (or `await using`). A session that is only forgotten is collected, and one with no run in
 * progress does not keep the process alive.
 */
export class SpikingSession {
  readonly #native: NativeSession;
  readonly #largestTimeSteps: number;
  #runs = 0;
  #disposed: Promise<void> | undefined;

  private constructor(
    readonly model: SpikingModel,
    /** Threads that compute. */
    readonly threads: number,
    native: NativeSession,
  ) {
    this.#native = native;
    this.#largestTimeSteps = largestTimeSteps(model);
  }

  /** Instruction set of the kernels in use: scalar, avx2, avx512 or neon. */
  get isa(): string {
    return this.#native.isa;
  }

  /**
   * @param model a model, the path of a model file, or the bytes of one.
   * @throws NoisefloorError INVALID_ARGUMENT (options, model, NOISEFLOOR_ISA), FILE_NOT_FOUND, IO or INVALID_FILE
   *   (model file), NATIVE_LOAD (no addon for this machine).
   */
  static async create(model: SpikingModel | string | Uint8Array, options: SessionOptions = {}): Promise<SpikingSession> {
    const threads = options.threads ?? availableParallelism();
    if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
      throw invalidArgument('threads', 'whole number from 1 to 1024', threads);
    }
    const checked = await resolveModel(model);
    const description = describe(checked);
    const session = native(() => new (binding().Session)(description, { threads, isa: options.isa }));
    await nativePromise(new Error(), session.ready());
    return new SpikingSession(checked, threads, session);
  }

  /**
   * @param images normalised images [N, C, H, W], copied before the call returns; N may be 0.
   * @param options `timeSteps`: 1 to 64, or less where the sums of the model could leave int32 (`largestTimeSteps`);
   *   `statistics` and `counts` (default false) cost time and memory; `signal` aborts the run.
   * @throws NoisefloorError INVALID_ARGUMENT (options, length of images), INVALID_DATA (a pixel is NaN; names its
   *   image), ABORTED (by the signal), DISPOSED (before or during the run), ENGINE (out of memory).
   */
  async run(images: Float32Array, options: RunOptions & { readonly signal?: AbortSignal }): Promise<RunResult> {
    this.#checkOpen();
    const { timeSteps, statistics = false, counts = false, signal } = options;
    this.#checkRun(images, timeSteps);
    if (signal?.aborted) throw aborted(signal);
    const id = this.#nextId();
    const cancel = () => this.#native.cancel(id);
    const called = new Error();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      const started = native(() => this.#native.run(id, unshared(images), { timeSteps, statistics, counts }));
      return this.#result(await nativePromise(called, started), images, timeSteps);
    } catch (error) {
      throw signal?.aborted && (error as NoisefloorError).code === 'ABORTED' ? aborted(signal, called) : error;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /**
   * The same on the calling thread, which blocks: for scripts and worker threads where latency is all. At batch 1 it saves
   * the two thread switches of `run`. Waits for the run in progress; goes before those that are queued.
   *
   * @throws NoisefloorError INVALID_ARGUMENT, INVALID_DATA, DISPOSED, ENGINE as `run` does.
   */
  runSync(images: Float32Array, options: RunOptions): RunResult {
    this.#checkOpen();
    const { timeSteps, statistics = false, counts = false } = options;
    this.#checkRun(images, timeSteps);
    const result = native(() => this.#native.runSync(unshared(images), { timeSteps, statistics, counts }));
    return this.#result(result, images, timeSteps);
  }

  /** Frees the threads and the memory. Runs that are not done are rejected with DISPOSED. May be called again. */
  dispose(): Promise<void> {
    this.#disposed ??= nativePromise(new Error(), this.#native.dispose());
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #checkOpen(): void {
    if (this.#disposed) throw new NoisefloorError('DISPOSED', 'The session is disposed: create a new one.');
  }

  #checkRun(images: Float32Array, timeSteps: number): void {
    if (!Number.isInteger(timeSteps) || timeSteps < 1 || timeSteps > this.#largestTimeSteps) {
      const expected = `whole number from 1 to ${this.#largestTimeSteps}, the most this model can run`;
      throw invalidArgument('timeSteps', expected, timeSteps);
    }
    if (!(images instanceof Float32Array)) throw invalidArgument('images', 'Float32Array', images);
    const { shape } = this.model.input;
    if (images.length % elementCount(shape) !== 0) {
      throw invalidArgument('images.length', `multiple of ${elementCount(shape)}, images of [${shape.join(', ')}]`, images.length);
    }
  }

  #nextId(): number {
    this.#runs = (this.#runs + 1) % 2 ** 31;
    return this.#runs;
  }

  #result(result: NativeResult, images: Float32Array, timeSteps: number): RunResult {
    const { potentials, spikes, synapticOperations, counts } = result;
    return {
      count: images.length / elementCount(this.model.input.shape),
      timeSteps,
      classes: this.model.classes.length,
      potentials,
      ...(spikes && synapticOperations && { statistics: { spikes, synapticOperations } }),
      ...(counts && { counts }),
    };
  }
}

async function resolveModel(model: SpikingModel | string | Uint8Array): Promise<SpikingModel> {
  if (typeof model === 'string') return readSpikingModel(model);
  if (model instanceof Uint8Array) return decodeSpikingModel(model, 'The model file');
  if (typeof model !== 'object' || model === null) throw invalidArgument('model', 'a spiking model, a path or the bytes of a file', model);
  checkModel(model);
  return model;
}

function describe(model: SpikingModel): NativeModel {
  const index = new Map([[inputName, -1]]);
  model.layers.forEach((layer, i) => index.set(layer.name, i));
  return {
    inputShape: model.input.shape,
    inputScale: model.input.scale,
    layers: model.layers.map((layer): NativeLayer => ({
      ...layer,
      synapses: layer.synapses.map((synapse) => describeSynapse(synapse, index.get(synapse.source)!)),
    })),
  };
}

function describeSynapse(synapse: Synapse, source: number): NativeSynapse {
  return { ...synapse, source, poolKernel: synapse.pool?.kernel ?? [1, 1], poolStride: synapse.pool?.stride ?? [1, 1] };
}

/** Memory that other threads may write to is copied here: the addon reads plain memory only. */
function unshared(images: Float32Array): Float32Array {
  return images.buffer instanceof SharedArrayBuffer ? new Float32Array(images) : images;
}

function aborted(signal: AbortSignal, called?: Error): NoisefloorError {
  const error = new NoisefloorError('ABORTED', 'The run was aborted by its signal.', { cause: signal.reason });
  return called ? withStack(error, called) : error;
}

function native<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw typed(error as Error);
  }
}

/** An error that native code made has no useful stack: `called` was made where the user called. */
async function nativePromise<T>(called: Error, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw withStack(typed(error as Error), called);
  }
}

function typed(error: Error & { code?: string }): NoisefloorError {
  if (error instanceof NoisefloorError) return error;
  const known = errorCodes.includes(error.code as ErrorCode);
  return new NoisefloorError(known ? (error.code as ErrorCode) : 'ENGINE', error.message, { cause: error });
}

function withStack(error: NoisefloorError, called: Error): NoisefloorError {
  const frames = called.stack?.split('\n').slice(1).join('\n') ?? '';
  error.stack = `${error.name}: ${error.message}\n${frames}`;
  return error;
}
