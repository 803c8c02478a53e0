import { batchRanges, normalizeRange } from '../data/batches.js';
import type { TrainedNetwork } from '../graph/network.js';
import { inferShapes } from '../graph/shapes.js';
import { exportOnnx } from '../onnx/export.js';
import { loadRuntime, openSession } from '../onnx/runtime.js';
import { elementCount } from '../tensor.js';

/** Images to calibrate on: normalised, or bytes that the network's own normalisation is for; [count, C, H, W]. */
export interface CalibrationImages {
  readonly images: Float32Array | Uint8Array;
  readonly count: number;
}

export interface TapOptions {
  /** Images a run of ONNX Runtime. Default 32, fewer of large images. */
  readonly batchSize?: number;
  /** Threads of ONNX Runtime. Default: all cores. */
  readonly threads?: number;
}

/** Images of which a layer of 64 maps has 2^22 values. */
function usualBatchSize(pixels: number): number {
  return Math.max(1, Math.min(32, Math.floor(2 ** 21 / pixels)));
}

/** Normalised images, batch by batch. */
export function* imageBatches(network: TrainedNetwork, { images, count }: CalibrationImages, batchSize?: number): Generator<Float32Array> {
  const { shape } = network.graph.input;
  const pixels = elementCount(shape);
  for (const [start, end] of batchRanges(count, batchSize ?? usualBatchSize(pixels))) {
    if (images instanceof Float32Array) yield images.subarray(start * pixels, end * pixels);
    else yield normalizeRange({ images, labels: new Uint8Array(count), count }, start, end, network.normalization, shape);
  }
}

/** Hands over the values of each of `layers` in the dense network, batch by batch, [images of the batch, ...shape]. */
export async function tapActivations(
  network: TrainedNetwork,
  images: CalibrationImages,
  layers: readonly string[],
  { batchSize, threads }: TapOptions,
  take: (name: string, values: Float32Array) => void,
): Promise<void> {
  const ort = await loadRuntime();
  const session = await openSession(exportOnnx(network, { taps: layers }), { threads });
  try {
    const { shape } = network.graph.input;
    for (const batch of imageBatches(network, images, batchSize)) {
      const input = new ort.Tensor('float32', batch, [batch.length / elementCount(shape), ...shape]);
      const results = await session.run({ input }, [...layers]);
      for (const name of layers) take(name, results[name]!.data as Float32Array);
    }
  } finally {
    await session.release();
  }
}

/**
 * Mean value and share of values above 0 of each channel, over all images and positions of a batch.
 *
 * @param size values of one image, [C, ...]
 */
export function channelMeans(
  values: Float32Array | Uint16Array,
  channels: number,
  size: number,
  take: (channel: number, mean: number, positive: number) => void,
): void {
  const area = size / channels;
  const count = values.length / channels;
  for (let c = 0; c < channels; c++) {
    let sum = 0;
    let positive = 0;
    for (let at = c * area; at < values.length; at += size) {
      for (let i = at; i < at + area; i++) {
        sum += values[i]!;
        if (values[i]! > 0) positive++;
      }
    }
    take(c, sum / count, positive / count);
  }
}

/** How large the activations of one channel, or of a whole layer, are. */
export interface Histogram {
  /** Zeros included. */
  readonly count: number;
  readonly largest: number;
  /** Positive values of (k, k + 1] widths of largest / bins. */
  readonly bins: Float64Array;
}

/** Bins between 0 and the largest activation: of a layer, and of each of its channels. */
const layerBins = 4096;
const channelBins = 1024;

/**
 * The histogram of each layer, one for all its channels together or one for each. Runs the dense network twice: the first
 * time for the largest values.
 */
export async function measureHistograms(
  network: TrainedNetwork,
  images: CalibrationImages,
  layers: readonly string[],
  perChannel: boolean,
  options: TapOptions,
): Promise<Map<string, Histogram[]>> {
  const shapes = inferShapes(network.graph);
  const parts = new Map(layers.map((name) => [name, perChannel ? shapes.get(name)![0]! : 1]));
  const largest = new Map(layers.map((name) => [name, new Float64Array(parts.get(name)!)]));
  const areaOf = (name: string): number => elementCount(shapes.get(name)!) / parts.get(name)!;
  await tapActivations(network, images, layers, options, (name, values) => addLargest(largest.get(name)!, values, areaOf(name)));
  const binCount = perChannel ? channelBins : layerBins;
  const bins = new Map(layers.map((name) => [name, new Float64Array(parts.get(name)! * binCount)]));
  await tapActivations(network, images, layers, options, (name, values) => addBins(bins.get(name)!, largest.get(name)!, values, areaOf(name), binCount));
  const histogram = (name: string, most: number, part: number): Histogram => ({
    count: images.count * areaOf(name),
    largest: most,
    bins: bins.get(name)!.subarray(part * binCount, (part + 1) * binCount),
  });
  return new Map(layers.map((name) => [name, Array.from(largest.get(name)!, (most, part) => histogram(name, most, part))]));
}

function addLargest(largest: Float64Array, values: Float32Array, area: number): void {
  for (let at = 0, part = 0; at < values.length; at += area, part = (part + 1) % largest.length) {
    let most = largest[part]!;
    for (let i = at; i < at + area; i++) if (!(values[i]! <= most)) most = values[i]!;
    largest[part] = most;
  }
}

function addBins(bins: Float64Array, largest: Float64Array, values: Float32Array, area: number, binCount: number): void {
  for (let at = 0, part = 0; at < values.length; at += area, part = (part + 1) % largest.length) {
    const perBin = binCount / largest[part]!;
    const offset = part * binCount;
    for (let i = at; i < at + area; i++) {
      const value = values[i]!;
      if (value > 0) bins[offset + Math.min(binCount, Math.ceil(value * perBin)) - 1]!++;
    }
  }
}
