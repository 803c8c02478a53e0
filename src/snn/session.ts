import { availableParallelism } from 'node:os';
import { invalidArgument, NoisefloorError } from '../errors.js';
import { binding, type Isa, type NativeResult, type NativeSession } from '../native.js';
import { elementCount } from '../tensor.js';
import { checkModelInTurns } from './check.js';
import { describeLayers } from './describe.js';
import { checkEarlyExit, type EarlyExitOptions, type EarlyExitResult } from './earlyExit.js';
import { decodeInTurns, readInTurns, type CheckedModel } from './file.js';
import { readoutOf, type SpikingModel } from './model.js';
import { aborted, native, nativePromise, unshared } from './nativeCalls.js';
import type { RunOptions, RunResult } from './run.js';
import { SpikingStream } from './stream.js';

export interface SessionOptions {
  /** Threads that compute, 1 to 1024. Default: as many as the machine has processors for this process. */
  readonly threads?: number;
  /**
   * Instruction set of the kernels. All give the same result. Default: the fastest that this processor has, or the one
   * that the environment variable NOISEFLOOR_ISA names.
   */
  readonly isa?: Isa;
  /**
   * By how much the threads that compute give way to others, such as that of the event loop: the nice value of each, 0 (default)
   * to 19. Linux only.
   */
  readonly niceness?: number;
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
  #runs = 0;
  #disposed: Promise<void> | undefined;

  private constructor(
    readonly model: SpikingModel,
    /** Most time steps of a run: with more, sums of the model could leave int32. At most 1,024. */
    readonly largestTimeSteps: number,
    /** Threads that compute. */
    readonly threads: number,
    native: NativeSession,
  ) {
    this.#native = native;
  }

  /** Instruction set of the kernels in use: scalar, avx2, avx512 or neon. */
  get isa(): string {
    return this.#native.isa;
  }

  /**
   * Reading and checking the model lets the event loop turn every few milliseconds.
   *
   * @param model a model, the path of a model file, or the bytes of one; not to be changed until this settles.
   * @throws NoisefloorError INVALID_ARGUMENT (options, model, NOISEFLOOR_ISA), FILE_NOT_FOUND, IO or INVALID_FILE
   *   (model file), NATIVE_LOAD (no addon for this machine).
   */
  static async create(model: SpikingModel | string | Uint8Array, options: SessionOptions = {}): Promise<SpikingSession> {
    const resolved = resolveOptions(options);
    return SpikingSession.fromChecked(await resolveModel(model), resolved);
  }

  /** @internal */
  static async fromChecked({ model, largestTimeSteps }: CheckedModel, options: SessionOptions): Promise<SpikingSession> {
    const { threads, niceness, isa } = resolveOptions(options);
    const description = { inputShape: model.input.shape, inputScale: model.input.scale, layers: describeLayers(model.layers) };
    const session = native(() => new (binding().Session)(description, { threads, niceness, isa }));
    await nativePromise(new Error(), session.ready());
    return new SpikingSession(model, largestTimeSteps, threads, session);
  }

  /**
   * @param images normalised images [N, C, H, W], copied before the call returns; N may be 0.
   * @param options `timeSteps`: 1 to 1,024, or less where the sums of the model could leave int32 (`largestTimeSteps`);
   *   `statistics` and `counts` (default false) cost time and memory; `signal` aborts the run.
   * @throws NoisefloorError INVALID_ARGUMENT (options, length of images), INVALID_DATA (a pixel is NaN; names its
   *   image), ABORTED (by the signal), DISPOSED (before or during the run), ENGINE (out of memory).
   */
  async run(images: Float32Array, options: RunOptions & { readonly signal?: AbortSignal }): Promise<RunResult> {
    const { timeSteps, statistics = false, counts = false, signal } = options;
    this.#checkRun(images, timeSteps);
    const start = (id: number) => this.#native.run(id, unshared(images), { timeSteps, statistics, counts });
    return this.#result(await this.#perform(signal, start), images, timeSteps);
  }

  /**
   * Runs in chunks of time steps; an image leaves as soon as it is sure of its class, and those that are left go on
   * together. What an image gives is what `run` gives for the steps that it took.
   *
   * @param images as for `run`.
   * @throws NoisefloorError as `run`.
   */
  async runEarlyExit(images: Float32Array, options: EarlyExitOptions): Promise<EarlyExitResult> {
    const { timeSteps, signal } = options;
    this.#checkRun(images, timeSteps);
    const { measure, threshold, chunks } = checkEarlyExit(options, timeSteps);
    const rule = { chunks: Int32Array.from(chunks), measure, threshold, unit: readoutOf(this.model).unit[0]! };
    const { steps, potentials } = await this.#perform(signal, (id) => this.#native.runEarlyExit(id, unshared(images), rule));
    return { count: steps.length, classes: this.model.classes.length, steps, potentials };
  }

  /**
   * A stream of frames whose membranes live on from push to push, starting at the initial potentials. Any number may be
   * open; they take turns with each other and with the runs of the session.
   *
   * @throws NoisefloorError DISPOSED
   */
  open(): SpikingStream {
    this.#throwIfDisposed();
    const session = this.#native;
    const id = native(() => session.open());
    return new SpikingStream({
      model: this.model,
      push: (frames, timeSteps, signal) => this.#perform(signal, (run) => session.push(run, id, unshared(frames), timeSteps)),
      reset: async (readOutOnly) => {
        this.#throwIfDisposed();
        await nativePromise(new Error(), native(() => session.reset(id, readOutOnly)));
      },
      close: () => session.close(id),
    });
  }

  /**
   * The same on the calling thread, which blocks: for scripts and worker threads where latency is all. At batch 1 it saves
   * the two thread switches of `run`. Waits for the run in progress; goes before those that are queued.
   *
   * @throws NoisefloorError INVALID_ARGUMENT, INVALID_DATA, DISPOSED, ENGINE as `run` does.
   */
  runSync(images: Float32Array, options: RunOptions): RunResult {
    this.#throwIfDisposed();
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

  /** Starts a run under a number of its own, which the signal cancels. */
  async #perform<T>(signal: AbortSignal | undefined, start: (id: number) => Promise<T>): Promise<T> {
    this.#throwIfDisposed();
    if (signal?.aborted) throw aborted(signal);
    const id = this.#nextId();
    const cancel = () => this.#native.cancel(id);
    const called = new Error();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await nativePromise(called, native(() => start(id)));
    } catch (error) {
      throw signal?.aborted && (error as NoisefloorError).code === 'ABORTED' ? aborted(signal, called) : error;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  #throwIfDisposed(): void {
    if (this.#disposed) throw new NoisefloorError('DISPOSED', 'The session is disposed: create a new one.');
  }

  #checkRun(images: Float32Array, timeSteps: number): void {
    this.#throwIfDisposed();
    if (!Number.isInteger(timeSteps) || timeSteps < 1 || timeSteps > this.largestTimeSteps) {
      const expected = `whole number from 1 to ${this.largestTimeSteps}, the most this model can run`;
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

function resolveOptions({ threads = availableParallelism(), niceness = 0, isa }: SessionOptions) {
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024) throw invalidArgument('threads', 'whole number from 1 to 1024', threads);
  if (!Number.isInteger(niceness) || niceness < 0 || niceness > 19) throw invalidArgument('niceness', 'whole number from 0 to 19', niceness);
  return { threads, niceness, isa };
}

async function resolveModel(model: SpikingModel | string | Uint8Array): Promise<CheckedModel> {
  if (typeof model === 'string') return readInTurns(model);
  if (model instanceof Uint8Array) return decodeInTurns(model, 'The model file', false);
  if (typeof model !== 'object' || model === null) throw invalidArgument('model', 'a spiking model, a path or the bytes of a file', model);
  return { model, largestTimeSteps: await checkModelInTurns(model) };
}
