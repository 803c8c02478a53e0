import type { Normalization } from '../data/dataset.js';
import type { Shape } from '../graph/graph.js';
import type { ConvGeometry, IdentityGeometry } from '../snn/geometry.js';
import type { MaxPoolLayer } from '../snn/model.js';

/** A convolution of the 0 or 1 spikes of `source`, or of the normalised image; pool sums, as in a spiking model. */
export interface FoldedConv extends ConvGeometry {
  /** `input` or the name of an earlier layer. */
  readonly source: string;
  /** [outChannels, inChannels / groups, kernel...]; amplitude of the source and 1 / pool area folded in. */
  readonly weight: Float64Array;
}
export interface FoldedIdentity extends IdentityGeometry {
  readonly source: string;
  /** [C], > 0 in a finished layer; amplitude of the source and 1 / pool area folded in. */
  readonly gain: Float64Array;
}
export type FoldedSynapse = FoldedConv | FoldedIdentity;

interface FoldedSum {
  readonly name: string;
  /** [C, H, W]; the read-out is [classes, 1, 1]. */
  readonly shape: Shape;
  readonly synapses: readonly FoldedSynapse[];
  /** [C]. */
  readonly bias: Float64Array;
  /** As in a spiking model. Default 0. */
  readonly start?: number;
}
export interface FoldedSpiking extends FoldedSum {
  readonly kind: 'spiking';
  /** theta, [C]. */
  readonly threshold: Float64Array;
  /** v(0), [C]. */
  readonly initialPotential: Float64Array;
}
export interface FoldedReadout extends FoldedSum {
  readonly kind: 'readout';
}
/** A layer of a spiking network in float64, in units of the trained network's pre-activation; of max-pooling, as it is. */
export type FoldedLayer = FoldedSpiking | FoldedReadout | MaxPoolLayer;

/** A trained network as spiking layers, exact but for float64 rounding; what `quantize` makes integer. */
export interface FoldedNetwork {
  readonly name: string;
  /** [C, H, W]. */
  readonly inputShape: Shape;
  readonly normalization: Normalization;
  /** In topological order, the read-out last. */
  readonly layers: readonly FoldedLayer[];
  readonly classes: readonly string[];
}
