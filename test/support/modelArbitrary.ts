import fc from 'fast-check';
import { weightTypes, type WeightType } from '../../src/convert/quantize.js';
import type { Padding, Pair, Shape } from '../../src/graph/graph.js';
import { Random } from '../../src/random.js';
import { largestTimeSteps } from '../../src/snn/bounds.js';
import { poolArea, pooledShape, synapseOutput } from '../../src/snn/geometry.js';
import { inputName, type SnnLayer, type SpikingModel, type Synapse, type SynapsePool } from '../../src/snn/model.js';
import { fill, randomImages, readoutLayer, spikingLayer } from './spikingModels.js';

// Models as plain drawings, so that fast-check shrinks a failing one to a small one: fewer layers, synapses and channels,
// kernels and strides of 1, no padding, no pool. A drawing is made to fit where it would not.

interface SynapseDrawing {
  /** Counted back from the layer before; the input behind the first. */
  readonly back: number;
  readonly identity: boolean;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Padding;
  readonly pool?: SynapsePool;
  readonly groups: 'one' | 'two' | 'all';
  readonly weights: WeightType;
}

interface LayerDrawing {
  readonly channels: number;
  readonly synapses: readonly SynapseDrawing[];
  readonly start?: number;
  /** A layer of its own behind it. */
  readonly maxPool?: { readonly kernel: Pair; readonly stride: Pair; readonly padding: Padding };
}

export interface Drawing {
  readonly input: Shape;
  readonly scaleBits: number;
  readonly layers: readonly LayerDrawing[];
  readonly classes: number;
  /** Decides weights, thresholds and pixels. */
  readonly seed: number;
  readonly timeSteps: number;
  readonly images: number;
  readonly threads: number;
}

const pair = (min: number, max: number): fc.Arbitrary<Pair> => fc.tuple(fc.integer({ min, max }), fc.integer({ min, max }));
const side = fc.integer({ min: 0, max: 2 });
/** One in `among` is `plain`, to which the others shrink. */
const sometimes = <T>(plain: T, among: number, other: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.tuple(fc.nat(among - 1), other).map(([which, drawn]) => (which === 0 ? plain : drawn));
const sides = sometimes<Padding>([0, 0, 0, 0], 3, fc.tuple(side, side, side, side));
const kernel = sometimes<Pair>([1, 1], 4, pair(1, 4));
/** 4 stands for the whole map of an input: the engine counts the spikes of large windows. */
const window = pair(1, 4).map(([y, x]): Pair => [y === 4 ? 9 : y, x === 4 ? 9 : x]);

const synapse: fc.Arbitrary<SynapseDrawing> = fc.record(
  {
    back: fc.nat(3),
    identity: fc.boolean(),
    kernel,
    stride: pair(1, 3),
    padding: sides,
    pool: fc.record({ kernel: window, stride: pair(1, 3) }),
    groups: fc.constantFrom('one', 'two', 'all'),
    weights: fc.constantFrom(...weightTypes),
  },
  { requiredKeys: ['back', 'identity', 'kernel', 'stride', 'padding', 'groups', 'weights'] },
);

/** Around the widths of the kernels' blocks as well. */
const channels = fc.oneof(
  { arbitrary: fc.integer({ min: 1, max: 9 }), weight: 3 },
  { arbitrary: fc.constantFrom(16, 17, 31, 32, 33, 40, 64, 65, 70), weight: 1 },
);

const maxPool = fc.record({ kernel: pair(1, 4), stride: pair(1, 3), padding: fc.tuple(side, side, side, side) });
/** Within a pass of 64 steps, and behind it. */
const start = fc.oneof({ arbitrary: fc.integer({ min: 1, max: 6 }), weight: 6 }, { arbitrary: fc.constantFrom(20, 63, 64, 70), weight: 1 });
const layer = fc.record(
  { channels, synapses: fc.array(synapse, { minLength: 1, maxLength: 3 }), start, maxPool },
  { requiredKeys: ['channels', 'synapses'] },
);

const steps = fc.oneof(
  { arbitrary: fc.integer({ min: 1, max: 9 }), weight: 4 },
  { arbitrary: fc.constantFrom(15, 16, 17, 31, 32, 33, 63, 64, 65, 130), weight: 1 },
);

export const drawings: fc.Arbitrary<Drawing> = fc.record({
  input: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
  scaleBits: fc.integer({ min: 2, max: 10 }),
  layers: fc.array(layer, { minLength: 1, maxLength: 4 }),
  classes: fc.integer({ min: 1, max: 40 }),
  seed: fc.nat(2 ** 31 - 1),
  timeSteps: steps,
  images: fc.integer({ min: 1, max: 3 }),
  threads: fc.integer({ min: 1, max: 3 }),
});

export interface Drawn {
  readonly model: SpikingModel;
  /** At most what the model's sums allow. */
  readonly timeSteps: number;
  readonly images: Float32Array;
}

export function draw({ input, scaleBits, layers, classes, seed, timeSteps, images }: Drawing): Drawn {
  const random = new Random(seed);
  const made: SnnLayer[] = [];
  for (const layer of layers) {
    made.push({ ...new LayerMaker(random, input, made).layer(layer), ...(layer.start !== undefined && { start: layer.start }) });
    if (layer.maxPool) made.push(drawnMaxPool(made.at(-1)!, layer.maxPool));
  }
  const perChannel = Array.from({ length: input[0]! }, () => 0.5);
  const model: SpikingModel = {
    name: 'drawn',
    input: { shape: input, normalization: { mean: perChannel, std: perChannel }, scale: 2 ** scaleBits },
    layers: [...made, readoutLayer(random, made.at(-1)!, classes)],
    classes: Array.from({ length: classes }, (_, i) => `class ${i}`),
    provenance: { seed },
  };
  return { model, timeSteps: Math.min(timeSteps, largestTimeSteps(model)), images: randomImages(random, model, images) };
}

function drawnMaxPool(source: SnnLayer, { kernel: drawn, stride, padding: wanted }: NonNullable<LayerDrawing['maxPool']>): SnnLayer {
  const [channels, ...size] = source.shape;
  const padding = wanted.map((n, i) => Math.min(n, drawn[i % 2]! - 1)) as unknown as Padding;
  const kernel = drawn.map((n, axis) => Math.max(1, Math.min(n, size[axis]! + padding[axis]! + padding[axis + 2]!))) as unknown as Pair;
  const map = synapseOutput({ kind: 'conv2d', kernel, stride, padding, groups: 1 }, source.shape);
  return { kind: 'maxPool', name: `${source.name}.pool`, shape: [channels!, ...map], source: source.name, kernel, stride, padding, synapses: [] };
}

class LayerMaker {
  constructor(
    readonly random: Random,
    readonly input: Shape,
    readonly before: readonly SnnLayer[],
  ) {}

  layer({ channels: drawn, synapses: [first, ...others] }: LayerDrawing): SnnLayer {
    const main = this.#first(first!, drawn);
    const [source] = this.#source(first!);
    const shape: Shape = [main.multiplier.length, ...synapseOutput(main, this.#shape(source))];
    const further = others.map((synapse) => this.#further(synapse, shape)).filter((synapse) => synapse !== undefined);
    return spikingLayer(this.random, `layer${this.before.length}`, shape, [main, ...further]);
  }

  #source({ back }: SynapseDrawing): [name: string, shape: Shape] {
    const at = this.before.length - 1 - back;
    const name = at < 0 ? inputName : this.before[at]!.name;
    return [name, this.#shape(name)];
  }

  #shape(name: string): Shape {
    return name === inputName ? this.input : this.before.find((layer) => layer.name === name)!.shape;
  }

  /** The synapse whose windows decide the size of the layer. */
  #first(drawing: SynapseDrawing, outChannels: number): Synapse {
    const [source, shape] = this.#source(drawing);
    const pool = fitted(drawing.pool, shape);
    const base = { source, stride: drawing.stride, ...(pool && { pool }) };
    if (drawing.identity) return this.#identity(base, shape[0]!);
    const { padding } = drawing;
    const [, height, width] = pooledShape(pool, shape) as [number, number, number];
    const kernel: Pair = [
      Math.min(drawing.kernel[0], height + padding[0] + padding[2]),
      Math.min(drawing.kernel[1], width + padding[1] + padding[3]),
    ];
    return this.#convolution(base, drawing, kernel, padding, outChannels);
  }

  /** One that gives a map of this size: the kernel follows. Undefined where none does. */
  #further(drawing: SynapseDrawing, target: Shape): Synapse | undefined {
    const [source, shape] = this.#source(drawing);
    const pool = fitted(drawing.pool, shape);
    const base = { source, stride: drawing.stride, ...(pool && { pool }) };
    const identity = { ...base, kind: 'identity' as const, shift: 0, multiplier: new Int32Array() };
    if (drawing.identity && shape[0] === target[0] && synapseOutput(identity, shape).join() === target.slice(1).join()) {
      return this.#identity(base, target[0]!);
    }
    const { padding, stride } = drawing;
    const [, height, width] = pooledShape(pool, shape) as [number, number, number];
    const kernel: Pair = [
      height + padding[0] + padding[2] - (target[1]! - 1) * stride[0],
      width + padding[1] + padding[3] - (target[2]! - 1) * stride[1],
    ];
    return kernel[0] < 1 || kernel[1] < 1 ? undefined : this.#convolution(base, drawing, kernel, padding, target[0]!);
  }

  #identity(base: Base, outChannels: number): Synapse {
    const analog = base.source === inputName;
    const multiplier = fill(this.random, outChannels, 1, analog ? 3 : 9000);
    return { ...base, kind: 'identity', shift: analog ? this.random.integer(4) : 0, multiplier };
  }

  #convolution(
    base: Base,
    { groups: wanted, weights }: SynapseDrawing,
    kernel: Pair,
    padding: Padding,
    outChannels: number,
  ): Synapse {
    const analog = base.source === inputName;
    const inChannels = this.#shape(base.source)[0]!;
    const groups = { one: 1, two: 2, all: inChannels }[wanted];
    const divides = inChannels % groups === 0 && outChannels % groups === 0;
    const fanIn = (inChannels / (divides ? groups : 1)) * kernel[0] * kernel[1];
    // With pixels of 16 bits no sum of a window may leave 32.
    const most = analog ? Math.floor(60_000 / (fanIn * poolArea(base))) : 32_767;
    const range = Math.min(Math.max(1, most), { int7: 63, int8: 127, int16: 2000 }[weights]);
    const values = fill(this.random, outChannels * fanIn, -range, range).map((w) => (w % 4 === 0 ? 0 : w));
    return {
      ...base,
      kind: 'conv2d',
      shift: analog ? 4 + this.random.integer(5) : 0,
      kernel,
      padding,
      groups: divides ? groups : 1,
      weight: weights === 'int16' ? Int16Array.from(values) : Int8Array.from(values),
      multiplier: fill(this.random, outChannels, 1, analog ? 1 : weights === 'int16' ? 4 : 50),
    };
  }
}

type Base = Pick<Synapse, 'source' | 'stride' | 'pool'>;

function fitted(pool: SynapsePool | undefined, [, height, width]: Shape): SynapsePool | undefined {
  return pool && { ...pool, kernel: [Math.min(pool.kernel[0], height!), Math.min(pool.kernel[1], width!)] };
}
