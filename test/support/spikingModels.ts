import type { Random } from '../../src/random.js';
import { pooledShape, synapseOutput } from '../../src/snn/geometry.js';
import type { Padding, Pair, Shape } from '../../src/graph/graph.js';
import type { ReadoutLayer, SnnLayer, SpikingLayer, SpikingModel, Synapse } from '../../src/snn/model.js';

function integer(random: Random, low: number, high: number): number {
  return low + random.integer(high - low + 1);
}

export function fill(random: Random, length: number, low: number, high: number): Int32Array {
  return Int32Array.from({ length }, () => integer(random, low, high));
}

/** A synapse of every kind by `style`, whose windows fit the source [C, H, W]. */
function randomSynapse(random: Random, source: string, shape: Shape, style: number, outChannels: number): Synapse {
  const analog = source === 'input';
  const pool = style % 3 === 1 ? { kernel: [2, 2] as Pair, stride: (style % 2 ? [2, 1] : [2, 2]) as Pair } : undefined;
  const base = { source, ...(pool && { pool }), shift: analog ? 6 : 0 };
  const channels = shape[0]!;
  if (style % 5 === 4) {
    return { ...base, kind: 'identity', stride: [1, 2], multiplier: fill(random, channels, 1, 300) };
  }
  const groups = style % 4 === 2 && channels % 2 === 0 && outChannels % 2 === 0 ? 2 : 1;
  const kernel: Pair = [integer(random, 1, 3), integer(random, 1, 3)];
  const padding: Padding = [1, integer(random, 1, 2), 1, 1];
  const length = outChannels * (channels / groups) * kernel[0] * kernel[1];
  const values = fill(random, length, -100, 127).map((w) => (w % 3 === 0 ? 0 : w));
  const weight = style % 2 === 0 ? Int8Array.from(values) : Int16Array.from(values, (w) => w * (analog ? 2 : 5));
  const stride: Pair = style % 3 === 0 ? [2, 1] : [1, 1];
  return { ...base, kind: 'conv2d', stride, kernel, padding, groups, weight, multiplier: fill(random, outChannels, 1, analog ? 2 : 50) };
}

export function spikingLayer(random: Random, name: string, shape: Shape, synapses: Synapse[]): SpikingLayer {
  const channels = shape[0]!;
  const threshold = fill(random, channels, 2000, 20000);
  return {
    kind: 'spiking',
    name,
    shape,
    synapses,
    bias: fill(random, channels, -500, 2500),
    unit: Float64Array.from({ length: channels }, () => 2 ** -integer(random, 8, 16)),
    threshold,
    initialPotential: threshold.map((theta) => theta >> 1),
  };
}

export function readoutLayer(random: Random, source: SnnLayer, classes: number): ReadoutLayer {
  const [channels, height, width] = source.shape as [number, number, number];
  const weight = Int8Array.from(fill(random, classes * channels * height * width, -127, 127));
  return {
    kind: 'readout',
    name: 'readout',
    shape: [classes, 1, 1],
    synapses: [
      {
        kind: 'conv2d',
        source: source.name,
        kernel: [height, width],
        padding: [0, 0, 0, 0],
        groups: 1,
        stride: [1, 1],
        shift: 0,
        weight,
        multiplier: fill(random, classes, 1, 90),
      },
    ],
    bias: fill(random, classes, -900, 900),
    unit: new Float64Array(classes).fill(2 ** -14),
  };
}

/** A small model that mixes kinds, pools, strides, paddings, groups, weight widths and branches; one per `random`. */
export function randomSpikingModel(random: Random, spikingLayers = 3): SpikingModel {
  const inputShape: Shape = [integer(random, 1, 3), integer(random, 7, 9), integer(random, 6, 9)];
  const shapes = new Map<string, Shape>([['input', inputShape]]);
  const layers: SnnLayer[] = [];
  for (let l = 0; l < spikingLayers; l++) {
    const source = l === 0 ? 'input' : layers[l - 1]!.name;
    const sourceShape = shapes.get(source)!;
    const first = randomSynapse(random, source, sourceShape, random.integer(60), integer(random, 1, 6));
    const channels = first.multiplier.length;
    const shape: Shape = [channels, ...synapseOutput(first, sourceShape)];
    const synapses = [first];
    for (const [name, candidate] of shapes) {
      if (random.uniform() < 0.6) synapses.push(...branch(random, name, candidate, shape));
    }
    const layer = spikingLayer(random, `layer${l}`, shape, synapses);
    shapes.set(layer.name, shape);
    layers.push(layer);
  }
  const classes = integer(random, 2, 5);
  layers.push(readoutLayer(random, layers[layers.length - 1]!, classes));
  const perChannel = Array.from({ length: inputShape[0]! }, () => 0.5);
  return {
    name: 'random',
    input: { shape: inputShape, normalization: { mean: perChannel, std: perChannel }, scale: 2 ** integer(random, 4, 13) },
    layers: random.integer(3) === 0 ? layers.map((layer) => (random.integer(2) === 0 ? { ...layer, start: integer(random, 1, 4) } : layer)) : layers,
    classes: Array.from({ length: classes }, (_, i) => `class ${i}`),
    provenance: { seed: 'random' },
  };
}

/** A 1 x 1 branch from a source that is at least as large as the target; an identity where the channels agree. */
function branch(random: Random, source: string, shape: Shape, target: Shape): Synapse[] {
  const kernel: Pair = [shape[1]! - target[1]! + 1, shape[2]! - target[2]! + 1];
  if (kernel[0] < 1 || kernel[1] < 1) return [];
  const pool = { kernel, stride: [1, 1] as Pair };
  const [channels] = pooledShape(pool, shape) as [number];
  const base = { source, pool, stride: [1, 1] as Pair, shift: source === 'input' ? 5 : 0 };
  const multiplier = fill(random, target[0]!, 1, source === 'input' ? 1 : 40);
  if (channels === target[0]) return [{ ...base, kind: 'identity', multiplier }];
  const weight = Int8Array.from(fill(random, channels * target[0]!, -128, 127));
  return [{ ...base, kind: 'conv2d', kernel: [1, 1], padding: [0, 0, 0, 0], groups: 1, weight, multiplier }];
}

/** The model with a max-pooling layer in front of its read-out. */
export function withMaxPool(model: SpikingModel, random: Random): SpikingModel {
  const layers = model.layers.slice(0, -1);
  const source = layers.at(-1)!;
  const [channels, height, width] = source.shape as [number, number, number];
  const geometry = { kernel: [2, 1] as Pair, stride: [1, 1] as Pair, padding: [1, 0, 0, 0] as Padding };
  const pool: SnnLayer = { kind: 'maxPool', name: 'pool', shape: [channels, height, width], source: source.name, ...geometry, synapses: [] };
  return { ...model, layers: [...layers, pool, readoutLayer(random, pool, model.classes.length)] };
}

export function randomImages(random: Random, model: SpikingModel, count: number): Float32Array {
  const pixels = model.input.shape.reduce((product, n) => product * n, 1);
  return Float32Array.from({ length: count * pixels }, () => (random.uniform() < 0.2 ? 0 : 2 * random.normal()));
}

/** Magnitude of the largest weight of any convolution. */
export function largestWeight({ layers }: SpikingModel): number {
  const weights = layers.flatMap(({ synapses }) => synapses.flatMap((synapse) => (synapse.kind === 'conv2d' ? Array.from(synapse.weight, Math.abs) : [])));
  return Math.max(...weights);
}
