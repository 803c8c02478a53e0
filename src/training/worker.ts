import { parentPort, workerData } from 'node:worker_threads';
import { NoisefloorError } from '../errors.js';
import { buildTrainingModels, writeTrainingModels } from './artifacts.js';
import { TrainingLoop, type LoopHooks } from './loop.js';
import type { WorkerJob, WorkerMessage } from './train.js';

const job = workerData as WorkerJob;
const stop = new Int32Array(job.stop);
const send = (message: WorkerMessage): void => parentPort!.postMessage(message);

try {
  const models = buildTrainingModels(job.start.network.graph, job.start.config, job.data.normalization, job.teachers);
  await writeTrainingModels(job.directory, models);
  const hooks: LoopHooks = {
    shouldStop: () => Atomics.load(stop, 0) === 1,
    onProgress: (event) => send({ kind: 'progress', event }),
  };
  const network = await TrainingLoop.run(job.start, job.data, job.directory, models, job.runtime, hooks, job);
  send({ kind: 'done', network });
} catch (error) {
  const { message, stack } = error as Error;
  send({ kind: 'failed', message, ...(stack === undefined ? {} : { stack }), ...(error instanceof NoisefloorError ? { code: error.code } : {}) });
}
