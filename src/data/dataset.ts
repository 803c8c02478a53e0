import type { Shape } from '../graph/graph.js';

/** Per-channel normalisation of pixels in [0, 1]: (x - mean) / std. */
export interface Normalization {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** One split, whole in memory: pixels as bytes, [N, C, H, W]; in a SharedArrayBuffer they reach other threads without a copy. */
export interface Split {
  readonly images: Uint8Array;
  /** Class index of each image. */
  readonly labels: Uint8Array | Uint16Array;
  readonly count: number;
}

export interface Dataset {
  /** The SPEC it was opened by, such as `mnist` or `cifar10:/data/cifar`. */
  readonly spec: string;
  /** Shape of one image, [C, H, W]. */
  readonly shape: Shape;
  readonly classes: readonly string[];
  readonly normalization: Normalization;
  readonly train: Split;
  readonly test: Split;
  /** Published augmentation for training, called `standard`; images mirrored where that keeps the class. */
  readonly augmentation: { readonly cropPadding: number; readonly flip: boolean };
}
