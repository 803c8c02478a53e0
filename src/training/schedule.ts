import type { TrainConfig } from './options.js';

export const scheduleKinds = ['cosine', 'step', 'constant'] as const;
export type ScheduleKind = (typeof scheduleKinds)[number];

/** Learning rate of a step counted from 0 over all epochs, each of `stepsPerEpoch`. */
export function learningRateAt(config: TrainConfig, globalStep: number, stepsPerEpoch: number): number {
  const { learningRate, schedule, warmupEpochs, epochs } = config;
  const warmup = warmupEpochs * stepsPerEpoch;
  if (globalStep < warmup) return (learningRate * (globalStep + 1)) / Math.ceil(warmup + 1);
  const done = (globalStep - warmup) / Math.max(1, epochs * stepsPerEpoch - warmup);
  switch (schedule) {
    case 'cosine':
      return (learningRate / 2) * (1 + Math.cos(Math.PI * Math.min(1, done)));
    case 'step':
      return learningRate * (done < 0.5 ? 1 : done < 0.75 ? 0.1 : 0.01);
    case 'constant':
      return learningRate;
  }
}
