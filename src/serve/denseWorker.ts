import { parentPort, workerData } from 'node:worker_threads';
import type { ErrorCode } from '../errors.js';
import { DenseSession } from '../evaluate/dense.js';
import type { Shape } from '../graph/graph.js';

export interface DenseJob {
  readonly model: Uint8Array;
  readonly shape: Shape;
  readonly threads: number;
}

/** The first reply says that the network is there; each run is answered by one. */
export interface DenseReply {
  readonly logits?: Float32Array;
  readonly error?: string;
  readonly code?: ErrorCode;
}

const { model, shape, threads } = workerData as DenseJob;
const port = parentPort!;

async function answer(work: () => Promise<DenseReply>): Promise<void> {
  port.postMessage(
    await work().catch((error: Error & { code?: ErrorCode }): DenseReply => ({ error: error.message, ...(error.code && { code: error.code }) })),
  );
}

let session: DenseSession;
await answer(async () => {
  session = await DenseSession.create(model, { threads });
  return {};
});
port.on('message', (images: Float32Array) => {
  void answer(async () => ({ logits: (await session.run(images, shape)).get(session.logitsName)! }));
});
