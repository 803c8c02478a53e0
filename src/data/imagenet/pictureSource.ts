import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { NoisefloorError } from '../../errors.js';
import type { Shape } from '../../graph/graph.js';
import { elementCount } from '../../tensor.js';
import { ahead } from '../ahead.js';
import { decodePicture } from '../pictures.js';
import type { Preprocessing } from '../preprocessing.js';
import { loadSharp, type Sharp } from '../sharp.js';
import { positionBatches, readRange, type BatchOptions, type DamagedImage, type ImageBatch, type ImageSource } from '../source.js';
import type { Entry } from './entries.js';

export interface LabelledEntry extends Entry {
  readonly label: number;
}

export interface PictureSourceOptions {
  readonly spec: string;
  readonly shape: Shape;
  readonly preprocessing: Preprocessing;
  readonly classes: readonly string[];
}

type Decoded = Uint8Array | DamagedImage;

/**
 * Pictures that are decoded while they are read, up to a batch ahead of whoever takes them, as many at once as there are
 * processors. A picture that cannot be decoded is reported as damaged; one that cannot be read from the disk ends the read.
 */
export class PictureSource implements ImageSource {
  readonly #entries: readonly LabelledEntry[];
  readonly #preprocessing: Preprocessing;
  readonly spec: string;
  readonly shape: Shape;
  readonly classes: readonly string[];

  constructor(entries: readonly LabelledEntry[], { spec, shape, preprocessing, classes }: PictureSourceOptions) {
    this.#entries = entries;
    this.#preprocessing = preprocessing;
    this.spec = spec;
    this.shape = shape;
    this.classes = classes;
  }

  get count(): number {
    return this.#entries.length;
  }

  fingerprint(): string {
    const hash = createHash('sha256').update(JSON.stringify(this.#preprocessing));
    for (const { path, label } of this.#entries) hash.update(`${path}\n${label}\n`);
    return hash.digest('hex');
  }

  nameOf(position: number): string {
    return this.#entries[position]!.path;
  }

  async *batches(options: BatchOptions): AsyncGenerator<ImageBatch> {
    const [first, last] = readRange(options, this.count);
    const sharp = await loadSharp();
    const parallel = availableParallelism();
    const pictures = ahead(first, last, (position) => this.#decode(sharp, this.#entries[position]!), { parallel, ahead: options.batchSize + parallel });
    for (const [start, end] of positionBatches(options, this.count)) {
      const decoded: Decoded[] = [];
      while (decoded.length < end - start) decoded.push((await pictures.next()).value as Decoded);
      yield this.#batch(start, end, decoded);
    }
  }

  async #decode(sharp: Sharp, entry: LabelledEntry): Promise<Decoded> {
    const bytes = await entry.read();
    try {
      return await decodePicture(sharp, bytes, entry.path, { shape: this.shape, preprocessing: this.#preprocessing, orient: false });
    } catch (error) {
      if (error instanceof NoisefloorError && error.code === 'INVALID_DATA') return { name: entry.path, reason: error.message };
      throw error;
    }
  }

  #batch(start: number, end: number, decoded: readonly Decoded[]): ImageBatch {
    const size = elementCount(this.shape);
    const positions = decoded.flatMap((one, i) => (one instanceof Uint8Array ? [start + i] : []));
    const images = new Uint8Array(positions.length * size);
    positions.forEach((position, i) => images.set(decoded[position - start] as Uint8Array, i * size));
    const labels = Uint16Array.from(positions, (position) => this.#entries[position]!.label);
    return { start, end, positions, images, labels, damaged: decoded.flatMap((one) => (one instanceof Uint8Array ? [] : [one])) };
  }
}
