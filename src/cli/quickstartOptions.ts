import type { TrainOptions } from '../training/options.js';

/** What `quickstart` trains: good enough for the accuracy that it promises, small enough for minutes on two cores. */
export const quickstartTraining = {
  network: 'mnist-small',
  data: 'mnist',
  noise: 'nq',
  levels: 2,
  initialThreshold: 1.5,
  epochs: 20,
  batchSize: 32,
  learningRate: 0.1,
} as const satisfies Partial<TrainOptions>;

/** `--reduced`, for continuous integration: every step of the road, on less. */
export const reducedTraining = { epochs: 4, limit: 2000 } as const satisfies Partial<TrainOptions>;

export const quickstartTimeSteps = [1, 2, 4, 8, 16] as const;
/** Images a run, of the evaluation and of the timing, on both sides. */
export const quickstartBatchSize = 64;
export const reducedTestImages = 500;
/** At which the layers of dense and spiking network are compared. */
export const quickstartComparedSteps = 4;
