import { parentPort, workerData } from 'node:worker_threads';
import type { FailedReply, ReadyReply } from '../answeringThread.js';
import type { ErrorCode } from '../errors.js';
import { DenseSession } from '../evaluate/dense.js';
import type { Shape } from '../graph/graph.js';

export interface DenseJob {
  readonly model: Uint8Array;
  readonly shape: Shape;
  readonly threads: number;
}

/** To a run. */
export interface DenseReply {
  readonly kind: 'logits';
  readonly logits: Float32Array;
}

const { model, shape, threads } = workerData as DenseJob;
const port = parentPort!;

async function answer(work: () => Promise<DenseReply | ReadyReply>): Promise<void> {
  const failed = (error: Error & { code?: ErrorCode }): FailedReply => ({ kind: 'failed', message: error.message, code: error.code ?? 'ENGINE' });
  port.postMessage(await work().catch(failed));
}

let session: DenseSession;
await answer(async () => {
  session = await DenseSession.create(model, { threads });
  return { kind: 'ready' };
});
port.on('message', (images: Float32Array) => {
  void answer(async () => ({ kind: 'logits', logits: (await session.run(images, shape)).get(session.logitsName)! }));
});
