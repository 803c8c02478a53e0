import type { Answers, RunSettings } from './backend.js';

/** A request that waits or computes. It settles once: what comes after that is ignored. */
export class Pending {
  readonly images: Float32Array;
  readonly count: number;
  readonly settings: RunSettings;
  /** Requests with equal keys may share a batch. */
  readonly key: string;
  readonly enqueued = performance.now();
  settled = false;
  onSettled: () => void = () => undefined;
  /** Called when nobody waits for the answer any more. */
  onAbandoned: () => void = () => undefined;
  readonly #resolve: (answers: Answers) => void;
  readonly #reject: (error: Error) => void;

  constructor(request: {
    readonly images: Float32Array;
    readonly count: number;
    readonly settings: RunSettings;
    readonly resolve: (answers: Answers) => void;
    readonly reject: (error: Error) => void;
  }) {
    this.images = request.images;
    this.count = request.count;
    this.settings = request.settings;
    const { timeSteps, earlyExit, counts } = request.settings;
    this.key = JSON.stringify([timeSteps, counts ?? false, earlyExit?.measure, earlyExit?.threshold, earlyExit?.chunks]);
    this.#resolve = request.resolve;
    this.#reject = request.reject;
  }

  resolve(answers: Answers): void {
    if (this.#settle()) this.#resolve(answers);
  }

  reject(error: Error): void {
    if (this.#settle()) this.#reject(error);
  }

  #settle(): boolean {
    if (this.settled) return false;
    this.settled = true;
    this.onSettled();
    return true;
  }
}
