import type { TrainedNetwork } from '../graph/network.js';
import { inferShapes } from '../graph/shapes.js';
import { elementCount } from '../tensor.js';
import { tapActivations, type CalibrationImages, type TapOptions } from './activations.js';

/** Bytes of the activations of some layers that one run of the dense network gives. */
const mostBytes = 2 ** 29;

/** The dense activations of layers that are asked for in order; a run of the network gives those of several. */
export class DenseTargets {
  #found = new Map<string, Float32Array>();

  constructor(
    readonly network: TrainedNetwork,
    readonly images: CalibrationImages,
    readonly names: readonly string[],
    readonly options: TapOptions,
  ) {}

  /** [count, C, H, W]. */
  async of(name: string): Promise<Float32Array> {
    if (!this.#found.has(name)) this.#found = await this.#run(this.names.indexOf(name));
    const found = this.#found.get(name)!;
    this.#found.delete(name);
    return found;
  }

  /** Of the layers from one on, as many as the memory is for, one at least. */
  async #run(first: number): Promise<Map<string, Float32Array>> {
    const shapes = inferShapes(this.network.graph);
    const targets = new Map<string, Float32Array>();
    let bytes = 0;
    for (const name of this.names.slice(first)) {
      const size = this.images.count * elementCount(shapes.get(name)!);
      bytes += Float32Array.BYTES_PER_ELEMENT * size;
      if (targets.size > 0 && bytes > mostBytes) break;
      targets.set(name, new Float32Array(size));
    }
    const filled = new Map<string, number>();
    await tapActivations(this.network, this.images, [...targets.keys()], this.options, (name, values) => {
      targets.get(name)!.set(values, filled.get(name) ?? 0);
      filled.set(name, (filled.get(name) ?? 0) + values.length);
    });
    return targets;
  }
}
