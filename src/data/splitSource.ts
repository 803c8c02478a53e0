import { createHash } from 'node:crypto';
import type { Shape } from '../graph/graph.js';
import { elementCount } from '../tensor.js';
import type { Split } from './dataset.js';
import { positionBatches, type BatchOptions, type ImageBatch, type ImageSource } from './source.js';

/** A split in memory as a source; batches are views of its bytes. */
export class SplitSource implements ImageSource {
  constructor(
    readonly split: Split,
    readonly shape: Shape,
    readonly spec: string,
    readonly classes?: readonly string[],
  ) {}

  get count(): number {
    return this.split.count;
  }

  fingerprint(): string {
    return createHash('sha256').update(this.split.images).update(Uint16Array.from(this.split.labels)).digest('hex');
  }

  nameOf(position: number): string {
    return `image ${position}`;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- a source that decodes has something to wait for
  async *batches(options: BatchOptions): AsyncGenerator<ImageBatch> {
    const size = elementCount(this.shape);
    const { images, labels, count } = this.split;
    for (const [start, end] of positionBatches(options, count)) {
      const positions = Array.from({ length: end - start }, (_, i) => start + i);
      yield { start, end, positions, images: images.subarray(start * size, end * size), labels: labels.subarray(start, end), damaged: [] };
    }
  }
}
