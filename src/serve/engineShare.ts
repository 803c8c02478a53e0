/** Something that has batches to compute. */
export interface Worker {
  /** Whether a batch could start now. */
  readonly waiting: boolean;
  /** Computes one batch; what it resolves to is called once the next batch has started, and hands out the answers. */
  compute(): Promise<() => void>;
}

interface Member {
  readonly worker: Worker;
  /** Milliseconds of the engine that the member had, counted up to those of the others when it comes out of idleness. */
  served: number;
}

/**
 * One engine for all models: a batch at a time on all threads, and the model that was served least goes next (start-time fair
 * queueing with equal weights), so that a busy model cannot starve another and an idle one saves up no claims.
 */
export class EngineShare {
  readonly #members = new Set<Member>();
  #busy = false;
  #virtualTime = 0;

  /** @returns what the worker calls when it has something to compute, and when it is gone */
  join(worker: Worker): { wake: () => void; leave: () => void } {
    const member: Member = { worker, served: this.#virtualTime };
    this.#members.add(member);
    return {
      wake: () => {
        member.served = Math.max(member.served, this.#virtualTime);
        this.#startNext();
      },
      leave: () => void this.#members.delete(member),
    };
  }

  #startNext(): void {
    if (this.#busy) return;
    const next = this.#leastServed();
    if (!next) return;
    this.#busy = true;
    this.#virtualTime = next.served;
    const began = performance.now();
    void next.worker.compute().then((handOut) => {
      next.served += performance.now() - began;
      this.#busy = false;
      this.#startNext();
      handOut();
    });
  }

  #leastServed(): Member | undefined {
    let least: Member | undefined;
    for (const member of this.#members) {
      if (member.worker.waiting && (!least || member.served < least.served)) least = member;
    }
    return least;
  }
}
