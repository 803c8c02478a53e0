import { availableParallelism } from 'node:os';
import type { Shape } from '../graph/graph.js';
import { binding, type NativeLayer } from '../native.js';
import { elementCount } from '../tensor.js';
import { describeLayers } from './describe.js';
import { maxFrameSteps, type MaxPoolLayer, type SpikingInput, type SpikingLayer } from './model.js';
import { native, nativePromise, unshared } from './nativeCalls.js';

/** Every spike of a layer. */
export interface SpikeTrains {
  /** [C, H, W]. */
  readonly shape: Shape;
  /** Images. */
  readonly count: number;
  readonly timeSteps: number;
  /** As the engine keeps them, see SpikeTrains of native/engine/engine.h. */
  readonly bytes: Uint8Array;
}

/** A layer with what lies between it and layers that have run. */
export interface LayerPart {
  readonly input: Pick<SpikingInput, 'shape' | 'scale'>;
  /** Of the spiking layers that `layer` or a max-pooling in front of it reads, by name. */
  readonly sources: ReadonlyMap<string, SpikeTrains>;
  readonly maxPools: readonly MaxPoolLayer[];
  readonly layer: SpikingLayer;
}

/**
 * Runs one layer alone, behind spikes that earlier runs gave: so layers can be changed one after the other without running
 * all before them again. The same spikes as in a run of the whole network.
 *
 * @param images normalised, [count, C, H, W]
 * @param options `timeSteps` as the sources have them
 */
export async function replay(part: LayerPart, images: Float32Array, { timeSteps, threads = availableParallelism() }: { readonly timeSteps: number; readonly threads?: number | undefined }): Promise<SpikeTrains> {
  const { input, sources, maxPools, layer } = part;
  const layers = describeLayers([...maxPools, layer], [...sources.keys()]);
  const given = [...sources].map(([name, { shape }]) => ({ name, kind: 'given', shape }) as const);
  const description = { inputShape: input.shape, inputScale: input.scale, layers: [...given, ...layers, nothing(layer.shape, given.length + layers.length - 1)] };
  const session = native(() => new (binding().Session)(description, { threads }));
  await nativePromise(new Error(), session.ready());
  try {
    const options = { timeSteps, statistics: false, counts: false, trains: true, given: [...sources.values()].map(({ bytes }) => bytes) };
    const { trains } = await nativePromise(new Error(), native(() => session.run(1, unshared(images), options)));
    return { shape: layer.shape, count: images.length / elementCount(input.shape), timeSteps, bytes: trains![0]! };
  } finally {
    await session.dispose();
  }
}

/** A read-out that reads nothing: each model has one. */
function nothing([channels, height, width]: Shape, source: number): NativeLayer {
  const synapse = {
    kind: 'conv2d', source, poolKernel: [1, 1], poolStride: [1, 1], kernel: [1, 1], stride: [height!, width!], padding: [0, 0, 0, 0],
    groups: 1, shift: 0, weight: new Int8Array(channels!), multiplier: Int32Array.of(1),
  } as const;
  return { name: 'nothing', kind: 'readout', shape: [1, 1, 1], bias: new Int32Array(1), synapses: [synapse] };
}

/** Spikes of each neuron in the first steps (default: all), [count, C, H, W]. */
export function spikeCounts(trains: SpikeTrains, steps = trains.timeSteps): Uint16Array {
  const counts = new Uint16Array(trains.count * elementCount(trains.shape));
  let offset = 0;
  for (let first = 0; first < steps; first += maxFrameSteps) {
    const width = wordBytes(Math.min(maxFrameSteps, trains.timeSteps - first));
    offset = addPass(trains, counts, offset, width, Math.min(maxFrameSteps, steps - first));
  }
  return counts;
}

function wordBytes(steps: number): 1 | 2 | 4 | 8 {
  return steps <= 8 ? 1 : steps <= 16 ? 2 : steps <= 32 ? 4 : 8;
}

/** Adds the first `steps` of a pass whose words are `width` bytes wide; returns where the next one begins. */
function addPass({ shape, count, bytes }: SpikeTrains, counts: Uint16Array, offset: number, width: 1 | 2 | 4 | 8, steps: number): number {
  const [channels, height, widthOfMap] = shape as [number, number, number];
  const area = height * widthOfMap;
  const stride = Math.ceil(channels / 16) * 16;
  const end = offset + count * area * stride * width;
  const Words = width === 1 ? Uint8Array : width === 2 ? Uint16Array : Uint32Array;
  const words = new Words(bytes.buffer as ArrayBuffer, bytes.byteOffset + offset, (end - offset) / Math.min(width, 4));
  const [low, high] = [mask(steps), mask(steps - 32)];
  for (let position = 0; position < count * area; position++) {
    const target = Math.floor(position / area) * channels * area + (position % area);
    for (let c = 0; c < channels; c++) {
      const at = position * stride + c;
      counts[target + c * area]! += width === 8 ? bits(words[2 * at]! & low) + bits(words[2 * at + 1]! & high) : bits(words[at]! & low);
    }
  }
  return end;
}

function mask(steps: number): number {
  return steps >= 32 ? -1 : steps <= 0 ? 0 : 2 ** steps - 1;
}

function bits(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
