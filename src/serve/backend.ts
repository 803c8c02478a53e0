import type { Normalization } from '../data/dataset.js';
import type { Preprocessing } from '../data/preprocessing.js';
import type { Shape } from '../graph/graph.js';
import type { EarlyExitRule } from '../snn/earlyExit.js';
import type { RunStatistics } from '../snn/run.js';

/** What requests must have in common to run in one batch. */
export interface RunSettings {
  readonly timeSteps: number;
  readonly earlyExit?: Required<EarlyExitRule>;
  /** Spikes of every neuron, for the page; not with early exit. */
  readonly counts?: boolean;
  /** Sums over the batch, for the metrics; not with early exit. */
  readonly statistics?: boolean;
}

export interface Answers {
  readonly count: number;
  /** Mean current of the read-out over the steps that an image took, [count, classes]. */
  readonly logits: Float32Array;
  /** Time steps that each image took, [count]. */
  readonly steps: Int32Array;
  /** With `counts`: per spiking layer in model order, [count, C, H, W]. */
  readonly counts?: readonly Uint16Array[];
  /** With `statistics`. */
  readonly statistics?: RunStatistics;
}

export interface SpikingLayerFacts {
  readonly name: string;
  readonly shape: Shape;
}

/** A network that the server runs: one call at a time, off the event loop. */
export interface Backend {
  readonly kind: 'spiking' | 'dense';
  readonly input: { readonly shape: Shape; readonly normalization: Normalization; readonly preprocessing?: Preprocessing };
  readonly classes: readonly string[];
  /** From which on the read-out has something to say, see `ReadoutLayer.start`. */
  readonly smallestTimeSteps: number;
  /** Of a dense network 1. */
  readonly largestTimeSteps: number;
  /** Spiking layers in model order; none of a dense network. */
  readonly layers: readonly SpikingLayerFacts[];
  /** @param images normalised, [N, C, H, W], N at least 1, without NaN */
  run(images: Float32Array, settings: RunSettings, signal: AbortSignal): Promise<Answers>;
  dispose(): Promise<void>;
}
