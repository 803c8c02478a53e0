import { Worker } from 'node:worker_threads';
import { AnsweringThread } from '../answeringThread.js';
import { NoisefloorError } from '../errors.js';
import { elementCount } from '../tensor.js';
import type { Backend } from './backend.js';
import type { DenseJob, DenseReply, DenseRequest } from './denseWorker.js';

/**
 * A trained network, dense, in ONNX Runtime. Reading it and its runs block their thread, so it has one of its own; a run that has
 * begun cannot be cancelled.
 *
 * @param bytes of a checkpoint, given away
 * @param path named in errors
 */
export async function denseBackend(bytes: Buffer, path: string, threads: number): Promise<Backend> {
  const thread = await startThread({ bytes, path, threads });
  const about = await ask(thread, 'about', 'about');
  const { shape, classes, normalization } = about;
  return {
    kind: 'dense',
    input: { shape, normalization },
    classes,
    smallestTimeSteps: 1,
    largestTimeSteps: 1,
    layers: [],
    run: async (images) => {
      const count = images.length / elementCount(shape);
      const { logits } = await ask(thread, images, 'logits');
      return { count, logits, steps: new Int32Array(count).fill(1) };
    },
    dispose: () => thread.end(),
  };
}

type Thread = AnsweringThread<DenseRequest, DenseReply>;

async function ask<K extends DenseReply['kind']>(thread: Thread, request: DenseRequest, kind: K): Promise<Extract<DenseReply, { kind: K }>> {
  const reply = await thread.call(request);
  if (reply.kind === kind) return reply as Extract<DenseReply, { kind: K }>;
  throw new NoisefloorError('ENGINE', `The thread of the dense network answered ${reply.kind} in place of ${kind}.`);
}

async function startThread(job: DenseJob): Promise<Thread> {
  const { buffer } = job.bytes;
  const transferList = buffer instanceof ArrayBuffer && buffer.byteLength === job.bytes.length ? [buffer] : [];
  const worker = new Worker(new URL('./denseWorker.js', import.meta.url), { workerData: job, transferList, name: 'noisefloor-dense' });
  const ended = (code: number): Error =>
    new NoisefloorError('ENGINE', `The thread of the dense network ended with code ${code}: load the model again.`);
  return AnsweringThread.start(worker, ended);
}
