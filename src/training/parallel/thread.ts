import { Worker } from 'node:worker_threads';
import { NoisefloorError } from '../../errors.js';
import type { BatchResult } from '../step.js';
import type { ReplicaJob, ReplicaReply, ReplicaRequest } from './replica.js';
import { sharedViews } from './sharedTensors.js';

/** One replica in its thread, as the thread that leads the run sees it. */
export class ReplicaThread {
  /** What the last call left. */
  readonly found: ReadonlyMap<string, Float32Array>;
  readonly #worker: Worker;
  /** Rejects once the thread has ended by itself. */
  readonly #ended: Promise<never>;

  private constructor(job: ReplicaJob) {
    this.found = sharedViews(job.found);
    this.#worker = new Worker(new URL('./replica.js', import.meta.url), { workerData: job, name: 'noisefloor-replica' });
    this.#ended = new Promise((_, reject) => {
      this.#worker.once('error', reject);
      this.#worker.once('exit', (code) => reject(new Error(`A replica's thread ended early with code ${code}.`)));
    });
    this.#ended.catch(() => undefined);
  }

  static async start(job: ReplicaJob): Promise<ReplicaThread> {
    const thread = new ReplicaThread(job);
    try {
      await thread.#reply();
    } catch (error) {
      await thread.end();
      throw error;
    }
    return thread;
  }

  async run(request: ReplicaRequest): Promise<readonly BatchResult[]> {
    const reply = this.#reply();
    this.#worker.postMessage(request);
    const answer = await reply;
    return answer.kind === 'results' ? answer.results : [];
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  async #reply(): Promise<Exclude<ReplicaReply, { kind: 'failed' }>> {
    const answered = new Promise<ReplicaReply>((resolve) => this.#worker.once('message', resolve));
    const reply = await Promise.race([answered, this.#ended]);
    if (reply.kind !== 'failed') return reply;
    throw reply.code === undefined ? new Error(reply.message) : new NoisefloorError(reply.code, reply.message);
  }
}
