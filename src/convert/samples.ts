import type { TrainedNetwork } from '../graph/network.js';
import type { Shape } from '../graph/graph.js';
import { inputName, type MaxPoolLayer, type SnnLayer } from '../snn/model.js';
import { SpikingSession } from '../snn/session.js';
import { elementCount } from '../tensor.js';
import { imageBatches, tapActivations, type CalibrationImages, type TapOptions } from './activations.js';
import type { FoldedNetwork, FoldedSpiking } from './folded.js';
import type { SourceValues } from './reconstruct.js';
import { truncatedModel } from './truncated.js';

export interface LayerSamples {
  /** Of each synapse. */
  readonly sources: readonly SourceValues[];
  /** Dense activations, [count, C, H, W]. */
  readonly target: Float32Array;
}

/** What the sources of a layer give in `timeSteps`, behind the layers `done`, and what the dense network gives in its place. */
export async function layerSamples(
  network: TrainedNetwork,
  folded: FoldedNetwork,
  done: readonly SnnLayer[],
  layer: FoldedSpiking,
  images: CalibrationImages,
  options: TapOptions & { readonly timeSteps: number },
): Promise<LayerSamples> {
  const target = new Float32Array(images.count * elementCount(layer.shape));
  let filled = 0;
  await tapActivations(network, images, [layer.name], options, (_, values) => {
    target.set(values, filled);
    filled += values.length;
  });
  const chains = layer.synapses.map(({ source }) => chainTo(source, done));
  const counts = await spikeCounts(network, folded, done, new Set(chains.map(({ source }) => source)), images, options);
  const shapes = new Map<string, Shape>([[inputName, folded.inputShape], ...done.map(({ name, shape }) => [name, shape] as const)]);
  const sources = chains.map(({ source, maxPools }): SourceValues => {
    const scale = source === inputName ? 1 : 1 / options.timeSteps;
    return { shape: shapes.get(source)!, maxPools, values: counts.get(source)!, scale };
  });
  return { sources, target };
}

/** The neurons or the image behind layers of max-pooling, whose rates follow from theirs. */
function chainTo(name: string, done: readonly SnnLayer[]): { source: string; maxPools: readonly MaxPoolLayer[] } {
  const maxPools: MaxPoolLayer[] = [];
  let source = name;
  for (let layer = done.find((one) => one.name === source); layer?.kind === 'maxPool'; layer = done.find((one) => one.name === source)) {
    maxPools.unshift(layer);
    source = layer.source;
  }
  return { source, maxPools };
}

/** Spikes of the layers asked for; of the input, the normalised images. */
async function spikeCounts(
  network: TrainedNetwork,
  folded: FoldedNetwork,
  done: readonly SnnLayer[],
  names: ReadonlySet<string>,
  images: CalibrationImages,
  { timeSteps, batchSize, threads }: TapOptions & { readonly timeSteps: number },
): Promise<Map<string, Float32Array | Uint16Array>> {
  const spiking = done.filter(({ kind }) => kind === 'spiking');
  const found = new Map<string, Float32Array | Uint16Array>();
  if (names.has(inputName)) found.set(inputName, new Float32Array(images.count * elementCount(folded.inputShape)));
  for (const { name, shape } of spiking) if (names.has(name)) found.set(name, new Uint16Array(images.count * elementCount(shape)));
  const session = spiking.length === 0 ? undefined : await SpikingSession.create(truncatedModel(folded, done), threads === undefined ? {} : { threads });
  let first = 0;
  try {
    for (const batch of imageBatches(network, images, batchSize)) {
      found.get(inputName)?.set(batch, first * elementCount(folded.inputShape));
      const result = await session?.run(batch, { timeSteps, counts: true });
      spiking.forEach(({ name, shape }, l) => found.get(name)?.set(result!.counts![l]!, first * elementCount(shape)));
      first += batch.length / elementCount(folded.inputShape);
    }
  } finally {
    await session?.dispose();
  }
  return found;
}
