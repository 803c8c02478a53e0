import { parentPort, workerData } from 'node:worker_threads';
import type { FailedReply, ReadyReply } from '../answeringThread.js';
import type { Normalization } from '../data/dataset.js';
import type { ErrorCode } from '../errors.js';
import { DenseSession } from '../evaluate/dense.js';
import type { Shape } from '../graph/graph.js';
import { exportOnnx } from '../onnx/export.js';
import { decodeCheckpoint } from '../training/checkpoint.js';

export interface DenseJob {
  /** Of a checkpoint. */
  readonly bytes: Uint8Array;
  /** Named in errors. */
  readonly path: string;
  readonly threads: number;
}

/** What the network is, or a run of images. */
export type DenseRequest = 'about' | Float32Array;

export type DenseReply =
  | { readonly kind: 'about'; readonly shape: Shape; readonly classes: readonly string[]; readonly normalization: Normalization }
  | { readonly kind: 'logits'; readonly logits: Float32Array };

const { bytes, path, threads } = workerData as DenseJob;
const port = parentPort!;

async function answer(work: () => Promise<DenseReply | ReadyReply>): Promise<void> {
  const failed = (error: Error & { code?: ErrorCode }): FailedReply => ({ kind: 'failed', message: error.message, code: error.code ?? 'ENGINE' });
  port.postMessage(await work().catch(failed));
}

let about: Extract<DenseReply, { kind: 'about' }>;
let session: DenseSession;
await answer(async () => {
  const network = decodeCheckpoint(bytes, path);
  const { graph, classes, normalization } = network;
  about = { kind: 'about', shape: graph.input.shape, classes, normalization };
  session = await DenseSession.create(exportOnnx(network), { threads });
  return { kind: 'ready' };
});
port.on('message', (request: DenseRequest) => {
  void answer(async () => {
    if (request === 'about') return about;
    return { kind: 'logits', logits: (await session.run(request, about.shape)).get(session.logitsName)! };
  });
});
