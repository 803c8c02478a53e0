import type { Normalization } from '../data/dataset.js';
import type { Parameters } from '../tensor.js';
import type { Graph } from './graph.js';

/** A graph with its trained parameters: what training writes, and conversion and the ONNX export read. */
export interface TrainedNetwork {
  readonly graph: Graph;
  readonly parameters: Parameters;
  readonly classes: readonly string[];
  readonly normalization: Normalization;
  /** A few real, normalised images [count, C, H, W], so that conversion can check itself without the data set. */
  readonly samples?: { readonly images: Float32Array; readonly count: number };
  /** How it was trained: free-form JSON. */
  readonly provenance: Readonly<Record<string, unknown>>;
}
