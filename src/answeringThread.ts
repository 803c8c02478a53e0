import type { Worker } from 'node:worker_threads';
import { NoisefloorError, type ErrorCode } from './errors.js';

/** The first reply of a thread. */
export interface ReadyReply {
  readonly kind: 'ready';
}

/** What a thread answers where it could not do what it was asked. */
export interface FailedReply {
  readonly kind: 'failed';
  readonly message: string;
  /** Absent: not an error of ours. */
  readonly code?: ErrorCode;
}

/** A worker thread that answers each request by one reply, one call at a time; its first reply says that it is ready. */
export class AnsweringThread<Request, Reply extends { readonly kind: string }> {
  readonly #worker: Worker;
  /** Rejects once the thread has ended by itself. */
  readonly #ended: Promise<never>;

  private constructor(worker: Worker, ended: (code: number) => Error) {
    this.#worker = worker;
    this.#ended = new Promise((_, reject) => {
      worker.once('error', reject);
      worker.once('exit', (code) => reject(ended(code)));
    });
    this.#ended.catch(() => undefined);
  }

  /** @param ended what an end without being asked is */
  static async start<Request, Reply extends { readonly kind: string }>(
    worker: Worker,
    ended: (code: number) => Error,
  ): Promise<AnsweringThread<Request, Reply>> {
    const thread = new AnsweringThread<Request, Reply>(worker, ended);
    try {
      await thread.#reply();
    } catch (error) {
      await thread.end();
      throw error;
    }
    return thread;
  }

  async call(request: Request): Promise<Reply> {
    const reply = this.#reply();
    this.#worker.postMessage(request);
    return reply;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  async #reply(): Promise<Reply> {
    const answered = new Promise<Reply | FailedReply>((resolve) => this.#worker.once('message', resolve));
    const reply = await Promise.race([answered, this.#ended]);
    if (!isFailed(reply)) return reply;
    throw reply.code === undefined ? new Error(reply.message) : new NoisefloorError(reply.code, reply.message);
  }
}

function isFailed(reply: { readonly kind: string }): reply is FailedReply {
  return reply.kind === 'failed';
}
