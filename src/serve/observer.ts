import type { Answers } from './backend.js';

export const refusals = ['queue', 'deadline'] as const;

/** What the metrics see of one network. */
export interface Observer {
  /** Every so many batches count spikes and operations; 0: none. */
  readonly statisticsEvery: number;
  waited(milliseconds: number): void;
  computed(answers: Answers, milliseconds: number): void;
  refused(reason: (typeof refusals)[number]): void;
}

export const noObserver: Observer = {
  statisticsEvery: 0,
  waited: () => undefined,
  computed: () => undefined,
  refused: () => undefined,
};
