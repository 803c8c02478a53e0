import type { TrainedNetwork } from '../graph/network.js';
import { inputName, type MaxPoolLayer, type SpikingLayer } from '../snn/model.js';
import { replay, spikeCounts, type SpikeTrains } from '../snn/replay.js';
import { elementCount } from '../tensor.js';
import { imageBatches, type CalibrationImages, type TapOptions } from './activations.js';
import type { FoldedLayer, FoldedNetwork, FoldedSpiking } from './folded.js';
import { quantize } from './quantize.js';
import type { SourceValues } from './reconstruct.js';

/**
 * The spiking network, layer by layer from the input on, in the engine and with int8 weights: each layer runs behind the ones
 * that are settled, whose spikes are kept as long as a later one reads them.
 */
export class LayerWalk {
  #settled = 0;
  readonly #trains = new Map<string, SpikeTrains>();
  readonly #images: Float32Array;
  readonly #inputScale: number;

  constructor(
    network: TrainedNetwork,
    readonly folded: FoldedNetwork,
    images: CalibrationImages,
    readonly options: TapOptions & { readonly timeSteps: number },
  ) {
    this.#images = new Float32Array(images.count * elementCount(folded.inputShape));
    let filled = 0;
    for (const batch of imageBatches(network, images, options.batchSize)) {
      this.#images.set(batch, filled);
      filled += batch.length;
    }
    this.#inputScale = quantize({ ...folded, layers: [] }, { weights: 'int8', timeSteps: 1 }).inputScale;
  }

  /** What a spiking layer gives behind the settled ones. */
  spikes(layer: FoldedSpiking): Promise<SpikeTrains> {
    const chains = this.#chains(layer);
    const part = {
      input: { shape: this.folded.inputShape, scale: this.#inputScale },
      sources: new Map(chains.flatMap(({ source }) => (source === inputName ? [] : [[source, this.#trains.get(source)!]]))),
      maxPools: [...new Set(chains.flatMap(({ maxPools }) => maxPools))],
      layer: this.#integers(layer),
    };
    return replay(part, this.#images, this.options);
  }

  /** What the sources of a layer give from where it starts: rates, or the normalised images. Of each synapse. */
  sources(layer: FoldedSpiking): SourceValues[] {
    return this.#chains(layer).map(({ source, maxPools }): SourceValues => {
      if (source === inputName) return { shape: this.folded.inputShape, maxPools, values: this.#images, scale: 1 };
      const trains = this.#trains.get(source)!;
      const { timeSteps } = this.options;
      return { shape: trains.shape, maxPools, values: countsFrom(trains, layer.start ?? 0), scale: 1 / (timeSteps - (layer.start ?? 0)) };
    });
  }

  /** @param spikes of a spiking layer, as `spikes` gave them */
  settle(layer: FoldedLayer, spikes?: SpikeTrains): void {
    this.#settled++;
    if (spikes) this.#trains.set(layer.name, spikes);
    for (const name of this.#trains.keys()) if (!this.#isRead(name)) this.#trains.delete(name);
  }

  #integers(layer: FoldedSpiking): SpikingLayer {
    return quantize({ ...this.folded, layers: [layer] }, { weights: 'int8', timeSteps: this.options.timeSteps }).layers[0]!.layer as SpikingLayer;
  }

  /** Of each synapse: the neurons or the images, and the max-pooling in between. */
  #chains(layer: FoldedLayer): { source: string; maxPools: MaxPoolLayer[] }[] {
    return layer.synapses.map(({ source }) => {
      const maxPools: MaxPoolLayer[] = [];
      let name = source;
      for (let pool = this.#maxPool(name); pool; pool = this.#maxPool(name)) {
        maxPools.unshift(pool);
        name = pool.source;
      }
      return { source: name, maxPools };
    });
  }

  #maxPool(name: string): MaxPoolLayer | undefined {
    return this.folded.layers.find((layer): layer is MaxPoolLayer => layer.name === name && layer.kind === 'maxPool');
  }

  #isRead(name: string): boolean {
    const left = this.folded.layers.slice(this.#settled).filter(({ kind }) => kind === 'spiking');
    return left.some((layer) => this.#chains(layer).some(({ source }) => source === name));
  }
}

/** Spikes of each neuron in the steps from `start` on. */
function countsFrom(trains: SpikeTrains, start: number): Uint16Array {
  const counts = spikeCounts(trains);
  if (start === 0) return counts;
  const before = spikeCounts(trains, start);
  return counts.map((count, i) => count - before[i]!);
}
