import { Worker } from 'node:worker_threads';
import { AnsweringThread } from '../../answeringThread.js';
import type { BatchResult } from '../step.js';
import type { ReplicaJob, ReplicaReply, ReplicaRequest } from './replica.js';
import { sharedViews } from './sharedTensors.js';

/** One replica in its thread, as the thread that leads the run sees it. */
export class ReplicaThread {
  readonly #thread: AnsweringThread<ReplicaRequest, ReplicaReply>;

  private constructor(
    thread: AnsweringThread<ReplicaRequest, ReplicaReply>,
    /** What the last call left. */
    readonly found: ReadonlyMap<string, Float32Array>,
  ) {
    this.#thread = thread;
  }

  static async start(job: ReplicaJob): Promise<ReplicaThread> {
    const worker = new Worker(new URL('./replica.js', import.meta.url), { workerData: job, name: 'noisefloor-replica' });
    const ended = (code: number): Error => new Error(`A replica's thread ended early with code ${code}.`);
    return new ReplicaThread(await AnsweringThread.start(worker, ended), sharedViews(job.found));
  }

  async run(request: ReplicaRequest): Promise<readonly BatchResult[]> {
    return (await this.#thread.call(request)).results;
  }

  end(): Promise<void> {
    return this.#thread.end();
  }
}
