import type { Split } from '../data/dataset.js';
import { batchRanges, normalizeRange } from '../data/batches.js';
import type { Normalization } from '../data/dataset.js';
import { invalidArgument, NoisefloorError } from '../errors.js';
import { readWholeFile } from '../files.js';
import type { Shape } from '../graph/graph.js';
import { loadRuntime, openSession, type InferenceSession, type Runtime } from '../onnx/runtime.js';
import { elementCount } from '../tensor.js';
import { AccuracyCounter } from './logits.js';
import { throwIfAborted } from './simulator.js';

export interface DenseOptions {
  /** Threads inside an operator (ONNX Runtime's intraOpNumThreads). Default 1. */
  readonly threads?: number;
}

/**
 * A dense network in ONNX Runtime. Its `run` blocks the JavaScript thread until it is done, as onnxruntime-node does;
 * call it from a worker thread where that matters.
 */
export class DenseSession {
  readonly #runtime: Runtime;
  #session: InferenceSession | undefined;

  private constructor(
    runtime: Runtime,
    session: InferenceSession,
    readonly threads: number,
  ) {
    this.#runtime = runtime;
    this.#session = session;
  }

  /**
   * @param model an ONNX file or its bytes: one input [N, C, H, W] of float32; the output `logits` or the first one
   * @throws NoisefloorError `MISSING_DEPENDENCY`, `FILE_NOT_FOUND`, `INVALID_FILE`
   */
  static async create(model: string | Uint8Array, { threads = 1 }: DenseOptions = {}): Promise<DenseSession> {
    if (!Number.isInteger(threads) || threads < 1) throw invalidArgument('threads', 'whole number >= 1', threads);
    const runtime = await loadRuntime();
    const bytes = typeof model === 'string' ? await readWholeFile(model, 'ONNX model') : model;
    const name = typeof model === 'string' ? model : 'The ONNX model';
    const session = await openSession(bytes, { threads }).catch((error: unknown) => {
      throw new NoisefloorError('INVALID_FILE', `${name} does not load in ONNX Runtime: ${(error as Error).message}`, {
        cause: error,
      });
    });
    if (session.inputNames.length !== 1) {
      const inputs = session.inputNames.join(', ');
      throw new NoisefloorError('INVALID_FILE', `${name} has the inputs ${inputs}: expected one, the images.`);
    }
    return new DenseSession(runtime, session, threads);
  }

  get outputNames(): readonly string[] {
    return this.#open().outputNames;
  }

  /** The output that holds the logits. */
  get logitsName(): string {
    return this.outputNames.includes('logits') ? 'logits' : this.outputNames[0]!;
  }

  /**
   * @param images normalised, [N, C, H, W]
   * @param outputs names of the outputs wanted. Default: the logits
   * @returns by name, each [N, ...]
   */
  async run(
    images: Float32Array,
    shape: Shape,
    outputs: readonly string[] = [this.logitsName],
  ): Promise<ReadonlyMap<string, Float32Array>> {
    const session = this.#open();
    const count = images.length / elementCount(shape);
    const input = new this.#runtime.Tensor('float32', images, [count, ...shape]);
    const results = await session.run({ [session.inputNames[0]!]: input }, [...outputs]).catch((error: unknown) => {
      throw new NoisefloorError(
        'INVALID_ARGUMENT',
        `The dense network does not run on [${[count, ...shape].join(', ')}]: ${(error as Error).message}`,
        { cause: error },
      );
    });
    return new Map(outputs.map((name) => [name, floats(results[name]?.data, name)]));
  }

  async dispose(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #open(): InferenceSession {
    if (!this.#session) throw new NoisefloorError('DISPOSED', 'The dense session is disposed: create a new one.');
    return this.#session;
  }
}

export interface DenseEvaluation {
  readonly images: number;
  readonly top1: number;
  readonly top5: number;
  /** Time inside `run`. */
  readonly seconds: number;
  readonly imagesPerSecond: number;
  readonly batchSize: number;
  readonly threads: number;
}

export interface EvaluateDenseOptions {
  readonly normalization: Normalization;
  /** Of one image, [C, H, W]. */
  readonly shape: Shape;
  /** Default 64. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

/** Accuracy and speed of a dense network on a split. */
export async function evaluateDense(session: DenseSession, split: Split, options: EvaluateDenseOptions): Promise<DenseEvaluation> {
  const { normalization, shape, batchSize = 64, signal, onProgress } = options;
  const accuracy = new AccuracyCounter();
  let milliseconds = 0;
  for (const [start, end] of batchRanges(split.count, batchSize)) {
    throwIfAborted(signal);
    const images = normalizeRange(split, start, end, normalization, shape);
    const began = performance.now();
    const logits = (await session.run(images, shape)).get(session.logitsName)!;
    milliseconds += performance.now() - began;
    accuracy.add(logits, split.labels.subarray(start, end));
    onProgress?.({ done: end, total: split.count });
    await yieldToEvents();
  }
  return {
    images: split.count,
    top1: accuracy.top1,
    top5: accuracy.top5,
    seconds: milliseconds / 1000,
    imagesPerSecond: (split.count * 1000) / milliseconds,
    batchSize,
    threads: session.threads,
  };
}

/** onnxruntime-node never lets the event loop run on its own: without this, signals and timers starve. */
export function yieldToEvents(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function floats(data: unknown, name: string): Float32Array {
  if (data instanceof Float32Array) return data;
  throw new NoisefloorError('INVALID_FILE', `Output "${name}" of the dense network is not float32.`);
}
