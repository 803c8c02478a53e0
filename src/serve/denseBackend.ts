import { Worker } from 'node:worker_threads';
import { AnsweringThread } from '../answeringThread.js';
import { NoisefloorError } from '../errors.js';
import { exportOnnx } from '../onnx/export.js';
import { elementCount } from '../tensor.js';
import { decodeCheckpoint } from '../training/checkpoint.js';
import type { Backend } from './backend.js';
import type { DenseJob, DenseReply } from './denseWorker.js';

/**
 * A trained network, dense, in ONNX Runtime. Its runs block their thread, so it has one of its own; a run that has begun cannot
 * be cancelled.
 *
 * @param bytes of a checkpoint
 * @param path named in errors
 */
export async function denseBackend(bytes: Uint8Array, path: string, threads: number): Promise<Backend> {
  const network = decodeCheckpoint(bytes, path);
  const { graph, classes, normalization } = network;
  const { shape } = graph.input;
  const thread = await startThread({ model: exportOnnx(network), shape, threads });
  return {
    kind: 'dense',
    input: { shape, normalization },
    classes,
    largestTimeSteps: 1,
    layers: [],
    run: async (images) => {
      const count = images.length / elementCount(shape);
      const { logits } = await thread.call(images);
      return { count, logits, steps: new Int32Array(count).fill(1) };
    },
    dispose: () => thread.end(),
  };
}

async function startThread(job: DenseJob): Promise<AnsweringThread<Float32Array, DenseReply>> {
  const worker = new Worker(new URL('./denseWorker.js', import.meta.url), { workerData: job, name: 'noisefloor-dense' });
  const ended = (code: number): Error =>
    new NoisefloorError('ENGINE', `The thread of the dense network ended with code ${code}: load the model again.`);
  return AnsweringThread.start(worker, ended);
}
