import type { Normalization } from '../data/dataset.js';
import type { Parameters } from '../tensor.js';
import type { Graph } from './graph.js';

/** What calibration found for the spiking neurons of one activation, per channel, in units of its input. */
export interface NeuronSettings {
  /** theta, [C], > 0. */
  readonly threshold: Float64Array;
  /** v(0), [C]. Default: theta / 2. */
  readonly initialPotential?: Float64Array;
  /** Added to the current at every step, [C]. Default: 0. */
  readonly bias?: Float64Array;
  /**
   * Of each synapse of the folded layer, in place of the weights that folding gives, for these thresholds; undefined for an identity.
   * [C, inChannels / groups, kernel...].
   */
  readonly weights?: readonly (Float64Array | undefined)[];
}

/** A graph with its trained parameters: what training writes, and conversion and the ONNX export read. */
export interface TrainedNetwork {
  readonly graph: Graph;
  readonly parameters: Parameters;
  readonly classes: readonly string[];
  readonly normalization: Normalization;
  /** Neurons of calibrated activations, by node; in place of the threshold that the activation has, if any. */
  readonly neurons?: ReadonlyMap<string, NeuronSettings>;
  /** Steps by which each layer of neurons starts behind those it reads; see `CalibrationOptions.stagger`. Default 0. */
  readonly stagger?: number;
  /** A few real, normalised images [count, C, H, W], so that conversion can check itself without the data set. */
  readonly samples?: { readonly images: Float32Array; readonly count: number };
  /** How it was trained: free-form JSON. */
  readonly provenance: Readonly<Record<string, unknown>>;
}
