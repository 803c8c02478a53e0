import { invalidArgument } from '../../errors.js';
import type { Shape } from '../../graph/graph.js';

/** One image on its way through the augmentations: bytes [C, H, W]. */
export class Canvas {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** Pixels of one channel. */
  readonly plane: number;
  /** The image as it is now. */
  pixels: Uint8Array;
  /** Room of the same size for an operation that cannot work in place; {@link Canvas.swap} makes it the image. */
  spare: Uint8Array;

  constructor(shape: Shape) {
    if (shape.length !== 3) throw invalidArgument('shape', 'image of [C, H, W] to augment', [...shape]);
    [this.channels, this.height, this.width] = shape as readonly [number, number, number];
    this.plane = this.height * this.width;
    this.pixels = new Uint8Array(this.channels * this.plane);
    this.spare = new Uint8Array(this.pixels.length);
  }

  swap(): void {
    [this.pixels, this.spare] = [this.spare, this.pixels];
  }
}
