import { NoisefloorError } from '../errors.js';

/** The queue is full. */
export class OverloadedError extends NoisefloorError {
  /** Whole seconds after which the queue should have room. */
  readonly retryAfter: number;

  constructor(waitingImages: number, milliseconds: number) {
    const retryAfter = Math.max(1, Math.ceil(milliseconds / 1000));
    super('OVERLOADED', `The queue is full, ${waitingImages} images wait: ask again in ${retryAfter} s.`);
    this.retryAfter = retryAfter;
  }
}
