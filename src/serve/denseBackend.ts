import { Worker } from 'node:worker_threads';
import { NoisefloorError } from '../errors.js';
import { exportOnnx } from '../onnx/export.js';
import { elementCount } from '../tensor.js';
import { decodeCheckpoint } from '../training/checkpoint.js';
import type { Backend } from './backend.js';
import type { DenseJob, DenseReply } from './denseWorker.js';

/**
 * A trained network, dense, in ONNX Runtime. Its runs block their thread, so it has one of its own; a run that has begun cannot
 * be cancelled.
 *
 * @param bytes of a checkpoint
 * @param path named in errors
 */
export async function denseBackend(bytes: Uint8Array, path: string, threads: number): Promise<Backend> {
  const network = decodeCheckpoint(bytes, path);
  const { graph, classes, normalization } = network;
  const { shape } = graph.input;
  const thread = await DenseThread.start({ model: exportOnnx(network), shape, threads });
  return {
    kind: 'dense',
    input: { shape, normalization },
    classes,
    largestTimeSteps: 1,
    layers: [],
    run: async (images) => {
      const count = images.length / elementCount(shape);
      return { count, logits: await thread.run(images), steps: new Int32Array(count).fill(1) };
    },
    dispose: () => thread.end(),
  };
}

/** One call at a time. */
class DenseThread {
  readonly #worker: Worker;
  /** Rejects once the thread has ended by itself. */
  readonly #ended: Promise<never>;

  private constructor(job: DenseJob) {
    this.#worker = new Worker(new URL('./denseWorker.js', import.meta.url), { workerData: job, name: 'noisefloor-dense' });
    this.#ended = new Promise((_, reject) => {
      this.#worker.once('error', reject);
      this.#worker.once('exit', (code) => {
        reject(new NoisefloorError('ENGINE', `The thread of the dense network ended with code ${code}: load the model again.`));
      });
    });
    this.#ended.catch(() => undefined);
  }

  static async start(job: DenseJob): Promise<DenseThread> {
    const thread = new DenseThread(job);
    try {
      await thread.#reply();
    } catch (error) {
      await thread.end();
      throw error;
    }
    return thread;
  }

  async run(images: Float32Array): Promise<Float32Array> {
    const reply = this.#reply();
    this.#worker.postMessage(images);
    return (await reply).logits!;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  async #reply(): Promise<DenseReply> {
    const answered = new Promise<DenseReply>((resolve) => this.#worker.once('message', resolve));
    const reply = await Promise.race([answered, this.#ended]);
    if (reply.error === undefined) return reply;
    throw new NoisefloorError(reply.code ?? 'ENGINE', reply.error);
  }
}
