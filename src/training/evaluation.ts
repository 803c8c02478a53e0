import type { OrtTensor } from '../onnx/runtime.js';
import type { Feeds } from './feeds.js';
import type { Sessions } from './sessions.js';
import type { TrainingState } from './state.js';
import type { Batch, BatchResult } from './step.js';

export interface SpikingResult extends BatchResult {
  /** Mean spikes of a neuron in one inference. */
  readonly spikes: number;
}

/** Mean and variance of the gap between the clean quantised network and its spiking network, per activation. */
export type Gap = Readonly<Record<string, { readonly mean: number; readonly variance: number }>>;

/** What the network in training does in inference mode, of the state as it is now. */
export class Evaluation {
  constructor(
    readonly sessions: Pick<Sessions, 'eval' | 'spikingEval' | 'gap'>,
    readonly state: TrainingState,
    readonly feeds: Feeds,
  ) {}

  /** Loss and hits of the quantised dense network. */
  async dense(batch: Batch): Promise<BatchResult> {
    const session = this.sessions.eval!;
    const results = await session.run({ ...this.feeds.batch(batch), ...this.state.averagedInputs(session) }, ['loss', 'correct']);
    return { loss: readScalar(results.loss!), correct: readScalar(results.correct!) };
  }

  /** The same of the spiking network over time, with its spikes. */
  async spiking(batch: Batch): Promise<SpikingResult> {
    const session = this.sessions.spikingEval!;
    const feeds = { ...this.feeds.batch(batch), ...this.state.averagedInputs(session) };
    const results = await session.run(feeds, ['loss', 'correct', 'spikes']);
    return { loss: readScalar(results.loss!), correct: readScalar(results.correct!), spikes: readScalar(results.spikes!) };
  }

  /** @param images normalised, [count, C, H, W] */
  async gap(images: Float32Array): Promise<Gap> {
    const session = this.sessions.gap!;
    const results = await session.run({ ...this.feeds.images(images), ...this.state.inputs(session) });
    const read = (name: string): number => readScalar(results[name]!);
    const entries = this.feeds.noisy.map(({ name }) => [
      name,
      { mean: read(`${name}.gap_mean`), variance: read(`${name}.gap_variance`) },
    ]);
    return Object.fromEntries(entries) as Gap;
  }
}

export function readScalar(tensor: OrtTensor): number {
  return (tensor.data as Float32Array)[0]!;
}
