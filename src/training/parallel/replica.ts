import { parentPort, workerData } from 'node:worker_threads';
import type { FailedReply, ReadyReply } from '../../answeringThread.js';
import type { Normalization } from '../../data/dataset.js';
import { NoisefloorError } from '../../errors.js';
import type { Graph } from '../../graph/graph.js';
import type { RuntimeOptions } from '../../onnx/device.js';
import type { TrainingModels } from '../artifacts.js';
import type { TrainConfig } from '../options.js';
import type { BatchResult, PixelBatch, StepSettings } from '../step.js';
import { TrainingStepper } from '../stepper.js';
import { sharedViews, type SharedLayout } from './sharedTensors.js';

/** What a replica's thread is started with. */
export interface ReplicaJob {
  readonly graph: Graph;
  /** Batch size and seed are the replica's own. */
  readonly config: TrainConfig;
  readonly normalization: Normalization;
  readonly models: TrainingModels;
  readonly runtime: RuntimeOptions;
  /** What all replicas begin a call with: parameters and buffers; for steps of their own also the training state. */
  readonly held: SharedLayout;
  /** Where this replica leaves what it found: gradients and new buffers; or after steps of its own, everything held. */
  readonly found: SharedLayout;
  readonly ownSteps: boolean;
}

export interface ReplicaRequest {
  readonly batches: readonly PixelBatch[];
  readonly settings: readonly StepSettings[];
}

/** To a request. */
export interface ReplicaReply {
  readonly kind: 'results';
  readonly results: readonly BatchResult[];
}

const { graph, config, normalization, models, runtime, held, found, ownSteps } = workerData as ReplicaJob;
const reply = (message: ReplicaReply | ReadyReply | FailedReply): void => parentPort!.postMessage(message);
const fail = (error: unknown): void =>
  reply({ kind: 'failed', message: (error as Error).message, ...(error instanceof NoisefloorError ? { code: error.code } : {}) });

async function answer({ batches, settings }: ReplicaRequest, stepper: TrainingStepper): Promise<readonly BatchResult[]> {
  stepper.state.take(sharedViews(held));
  const views = sharedViews(found);
  if (ownSteps) {
    const results = await stepper.steps(batches, settings);
    for (const [name, view] of views) view.set(stepper.state.held(name));
    return results;
  }
  const { result, outputs } = await stepper.differentiate(batches[0]!, settings[0]!);
  for (const [name, view] of views) view.set(outputs[name]!.data as Float32Array);
  return [result];
}

try {
  const stepper = await TrainingStepper.create(graph, config, normalization, models, runtime, [ownSteps ? 'loop' : 'training']);
  parentPort!.on('message', (request: ReplicaRequest) => void answer(request, stepper).then((results) => reply({ kind: 'results', results }), fail));
  reply({ kind: 'ready' });
} catch (error) {
  fail(error);
}
