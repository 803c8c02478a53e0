import type { Pair, Padding, Shape } from '../graph/graph.js';
import type { Normalization } from '../data/dataset.js';
import type { Preprocessing } from '../data/preprocessing.js';

export const inputName = 'input';

/** Average pooling of the source in front of the weights; its 1 / (kernel area) is in the scale of the weights. */
export interface SynapsePool {
  readonly kernel: Pair;
  readonly stride: Pair;
}

interface SynapseBase {
  /** `input` (analog, int16) or the name of an earlier spiking or max-pooling layer. */
  readonly source: string;
  readonly pool?: SynapsePool;
  readonly stride: Pair;
  /**
   * One positive integer per output channel. With acc the integer sum over the window, the synapse adds
   * (acc * multiplier + (shift > 0 ? 2^(shift-1) : 0)) >> shift  to the current, in int32.
   */
  readonly multiplier: Int32Array;
  /** Arithmetic right shift, 0 to 30, one for the layer's synapse; 0 unless the source is the analog input. */
  readonly shift: number;
}
/** A linear layer on a [C, H, W] source is a convolution whose kernel is the whole (pooled) map. */
export interface ConvSynapse extends SynapseBase {
  readonly kind: 'conv2d';
  readonly kernel: Pair;
  readonly padding: Padding;
  readonly groups: number;
  /** [outChannels, inChannels / groups, kernel height, kernel width]. */
  readonly weight: Int8Array | Int16Array;
}
/** The source itself, channel by channel: a residual connection. acc is the (window-summed) spike or pixel. */
export interface IdentitySynapse extends SynapseBase {
  readonly kind: 'identity';
}
export type Synapse = ConvSynapse | IdentitySynapse;

interface LayerBase {
  /** Unique; not `input`. */
  readonly name: string;
  /** [C, H, W]; the read-out is [classes, 1, 1]. */
  readonly shape: Shape;
  readonly synapses: readonly Synapse[];
  /** [C], added at every time step, in units of the potential. */
  readonly bias: Int32Array;
  /** Time steps that pass before the layer takes part: until then it neither sums nor spikes. 0 to 1,023; default 0. */
  readonly start?: number;
  /** Of each channel, [C]: real value of 1 of the integer potential, in units of the trained network's pre-activation. */
  readonly unit: Float64Array;
}
/** Integrate-and-fire neurons, reset by subtraction: v += I; s = v >= theta; v -= theta * s. */
export interface SpikingLayer extends LayerBase {
  readonly kind: 'spiking';
  /** [C], > 0. */
  readonly threshold: Int32Array;
  /** v(0) of each channel, [C]: theta / 2 unless calibrated. */
  readonly initialPotential: Int32Array;
}
/** The last layer: no neurons, the running sum of its current. All channels share one unit. */
export interface ReadoutLayer extends LayerBase {
  readonly kind: 'readout';
}
/**
 * Max-pooling of spike trains, without neurons: after each step, the number of spikes that an output has given so far is
 * the largest of those that the positions of its window have given. Each of these grows by at most 1 a step, so an output
 * is 0 or 1; it needs nothing from later steps, and its rate is the maximum of the rates.
 */
export interface MaxPoolLayer {
  readonly kind: 'maxPool';
  readonly name: string;
  /** [C, H, W], C that of the source. */
  readonly shape: Shape;
  /** The name of an earlier spiking or max-pooling layer. */
  readonly source: string;
  readonly kernel: Pair;
  readonly stride: Pair;
  /** Each less than the kernel. Padding never spikes. */
  readonly padding: Padding;
  readonly synapses: readonly [];
}
/** The layers that compute: with synapses, and arrays of one number a channel. */
export type SumLayer = SpikingLayer | ReadoutLayer;
export type SnnLayer = SumLayer | MaxPoolLayer;

/** Analog input: x = (pixel / 255 - mean) / std, then clamp(roundHalfEven(x * scale), -32768, 32767), once. */
export interface SpikingInput {
  /** [C, H, W]. */
  readonly shape: Shape;
  readonly normalization: Normalization;
  /** A power of two. */
  readonly scale: number;
  /** How pictures become pixels, where the model takes pictures. */
  readonly preprocessing?: Preprocessing;
}

/** A converted network: integers only from the input on, so every engine computes the same spikes. */
export interface SpikingModel {
  readonly name: string;
  readonly input: SpikingInput;
  /** In topological order; exactly one read-out, the last. */
  readonly layers: readonly SnnLayer[];
  readonly classes: readonly string[];
  /** Where the model comes from: free-form JSON (training options, data, versions, conversion report). */
  readonly provenance: Readonly<Record<string, unknown>>;
}

/** The read-out of a checked model: its last layer. */
export function readoutOf(model: SpikingModel): ReadoutLayer {
  return model.layers.at(-1) as ReadoutLayer;
}

/** Time steps that pass before a layer takes part; none before max-pooling. */
export function startOf(layer: SnnLayer): number {
  return layer.kind === 'maxPool' ? 0 : (layer.start ?? 0);
}

/** Fewest time steps of a run after which the read-out has summed up anything. */
export function smallestTimeSteps(model: SpikingModel): number {
  return 1 + startOf(readoutOf(model));
}

/** Most time steps of a run. */
export const maxTimeSteps = 1024;
/** Most time steps of a frame of a stream: the engine packs the spikes of a neuron as bits of a 64-bit word. */
export const maxFrameSteps = 64;
