import { parentPort, workerData } from 'node:worker_threads';
import { BatchMaker } from './batches.js';
import type { LoaderJob, LoaderRequest } from './loader.js';

const { facts, split, options } = workerData as LoaderJob;
const maker = new BatchMaker(facts, split, options);

parentPort!.on('message', ({ plan, room }: LoaderRequest) => {
  const batch = maker.make(plan, room);
  const arrays = [batch.pixels, batch.labels, ...(batch.mixed ? [batch.mixed.labels] : [])];
  parentPort!.postMessage(batch, arrays.map(({ buffer }) => buffer as ArrayBuffer));
});
