import type { Shape } from '../graph/graph.js';
import { loadRuntime, openSession, type InferenceSession, type OrtTensor, type Runtime } from '../onnx/runtime.js';
import { Random } from '../random.js';
import { pooledShape } from '../snn/geometry.js';
import type { MaxPoolLayer } from '../snn/model.js';
import { elementCount } from '../tensor.js';
import { reconstructionModel, reconstructionSpecs, reconstructionState, type ReconstructedConv } from '../training/reconstruction.js';
import type { FoldedConv, FoldedSpiking } from './folded.js';

/** What a source of the layer gives on each image: spikes / T, or the normalised pixels. */
export interface SourceValues {
  /** [C, H, W]. */
  readonly shape: Shape;
  /** Between the source and the layer, in this order. */
  readonly maxPools: readonly MaxPoolLayer[];
  /** [count, C, H, W], times `scale`. */
  readonly values: Float32Array | Uint16Array;
  readonly scale: number;
}

export interface ReconstructOptions {
  readonly threads?: number | undefined;
  /** Decides the order of the images. Default 0. */
  readonly seed?: number;
  /** Default 160. */
  readonly steps?: number;
}

export interface Reconstruction {
  readonly layer: FoldedSpiking;
  /** Mean square error in thresholds, on the images that were held out, before and after. */
  readonly before: number;
  readonly after: number;
}

/** Of a weight relative to the rms of its channel, and of a bias relative to the threshold; a cosine to 0. */
const learningRate = 2e-3;
const defaultSteps = 160;
/** Of the images: they choose how far the steps go, and are not trained on. */
const heldOutShare = 0.25;
const checks = 8;

/**
 * Trains weights and bias of one layer so that it gives the dense activations from what its sources really give ("advanced"
 * of SNN Calibration, Li et al., ICML 2021; our learning rate, number of steps and choice on held-out images). The layer
 * is left as it was where no step makes the error on the held-out images less.
 *
 * @param sources of each synapse
 * @param target dense activations, [count, C, H, W]
 * @param count images, two or more
 */
export async function reconstructLayer(
  layer: FoldedSpiking,
  sources: readonly SourceValues[],
  target: Float32Array,
  count: number,
  { threads, seed = 0, steps = defaultSteps }: ReconstructOptions = {},
): Promise<Reconstruction> {
  const convs = convsOf(layer, sources);
  if (!convs.some(({ trained }) => trained)) return { layer, before: 0, after: 0 };
  const trainer = await LayerTrainer.open(layer, convs, sources, target, threads);
  try {
    const heldOut = Math.max(1, Math.floor(count * heldOutShare));
    const before = await trainer.loss(count - heldOut, count);
    let best = { loss: before, parameters: trainer.parameters() };
    const order = new Order(count - heldOut, seed);
    for (let step = 0; step < steps; step++) {
      await trainer.step(order.next(trainer.batchSize), (learningRate / 2) * (1 + Math.cos((Math.PI * step) / steps)));
      if ((step + 1) % Math.ceil(steps / checks) !== 0 && step + 1 < steps) continue;
      const loss = await trainer.loss(count - heldOut, count);
      if (loss < best.loss) best = { loss, parameters: trainer.parameters() };
    }
    return { layer: withParameters(layer, convs, best.parameters), before, after: best.loss };
  } finally {
    await trainer.close();
  }
}

interface Conv extends ReconstructedConv {
  /** Which synapse of the layer. */
  readonly index: number;
}

function convsOf(layer: FoldedSpiking, sources: readonly SourceValues[]): Conv[] {
  return layer.synapses.map((synapse, index): Conv => {
    const { shape, maxPools } = sources[index]!;
    const behind = maxPools.at(-1)?.shape ?? shape;
    const trained = synapse.kind === 'conv2d';
    const { kernel, padding, groups } = trained ? synapse : point(behind[0]!);
    const node = { op: 'conv2d', name: `conv${index}`, input: '', outChannels: layer.shape[0]!, kernel, stride: synapse.stride, padding, groups, bias: false } as const;
    const scale = trained ? channelScales(synapse, layer) : Float32Array.from(synapse.gain, (gain, c) => gain / layer.threshold[c]!);
    return { index, node, inputShape: shape, maxPools, pooledShape: pooledShape(synapse.pool, behind), trained, scale, ...(synapse.pool && { sumPool: synapse.pool }) };
  });
}

/** The window of an identity. */
function point(channels: number): Pick<FoldedConv, 'kernel' | 'padding' | 'groups'> {
  return { kernel: [1, 1], padding: [0, 0, 0, 0], groups: channels };
}

/** Root mean square of the weights of each channel, in thresholds. */
function channelScales({ weight }: FoldedConv, { threshold }: FoldedSpiking): Float32Array {
  const fanIn = weight.length / threshold.length;
  return Float32Array.from(threshold, (theta, c) => {
    const squares = weight.subarray(c * fanIn, (c + 1) * fanIn).reduce((sum, w) => sum + w * w, 0);
    return Math.sqrt(squares / fanIn) / theta || 1;
  });
}

function withParameters(layer: FoldedSpiking, convs: readonly Conv[], parameters: ReadonlyMap<string, Float32Array>): FoldedSpiking {
  const synapses = layer.synapses.map((synapse, i) => {
    const conv = convs.find(({ index }) => index === i);
    if (!conv?.trained) return synapse;
    const found = parameters.get(`${conv.node.name}.weight`)!;
    const fanIn = found.length / layer.threshold.length;
    const weight = Float64Array.from(found, (w, k) => w * conv.scale[Math.floor(k / fanIn)]! * layer.threshold[Math.floor(k / fanIn)]!);
    return { ...synapse, weight };
  });
  return { ...layer, synapses, bias: Float64Array.from(parameters.get('bias')!, (b, c) => b * layer.threshold[c]!) };
}

/** Each image once an epoch, in a new order. */
class Order {
  readonly #random: Random;
  readonly #images: Uint32Array;
  #at: number;

  constructor(count: number, seed: number) {
    this.#random = new Random(seed);
    this.#images = Uint32Array.from({ length: count }, (_, i) => i);
    this.#at = count;
  }

  next(batchSize: number): number[] {
    return Array.from({ length: batchSize }, () => {
      if (this.#at === this.#images.length) {
        this.#random.shuffle(this.#images);
        this.#at = 0;
      }
      return this.#images[this.#at++]!;
    });
  }
}

class LayerTrainer {
  readonly #names: string[];
  #state: Map<string, OrtTensor>;
  #steps = 0;

  private constructor(
    readonly ort: Runtime,
    readonly session: InferenceSession,
    readonly layer: FoldedSpiking,
    readonly convs: readonly Conv[],
    readonly sources: readonly SourceValues[],
    readonly target: Float32Array,
  ) {
    const specs = reconstructionSpecs(convs);
    this.#names = specs.map(({ name }) => name);
    const start = new Map(convs.filter(({ trained }) => trained).map((conv) => [`${conv.node.name}.weight`, startOf(layer, conv)]));
    start.set('bias', Float32Array.from(layer.bias, (b, c) => b / layer.threshold[c]!));
    this.#state = new Map(reconstructionState(specs).map(({ name, shape }) => {
      return [name, new ort.Tensor('float32', start.get(name) ?? new Float32Array(elementCount(shape)), [...shape])];
    }));
  }

  static async open(layer: FoldedSpiking, convs: readonly Conv[], sources: readonly SourceValues[], target: Float32Array, threads?: number): Promise<LayerTrainer> {
    const session = await openSession(reconstructionModel(convs, layer.shape), { threads });
    return new LayerTrainer(await loadRuntime(), session, layer, convs, sources, target);
  }

  /** Images of which the largest map has a million values, 8 at most. */
  get batchSize(): number {
    const sizes = [this.layer.shape, ...this.sources.map(({ shape }) => shape)].map(elementCount);
    return Math.max(1, Math.min(8, Math.floor(2 ** 20 / Math.max(...sizes))));
  }

  parameters(): Map<string, Float32Array> {
    return new Map(this.#names.map((name) => [name, Float32Array.from(this.#state.get(name)!.data as Float32Array)]));
  }

  async step(images: readonly number[], rate: number): Promise<void> {
    const outputs = [...this.#state.keys()];
    const results = await this.session.run(this.#feeds(images, rate, ++this.#steps), outputs.map((name) => `${name}.next`));
    this.#state = new Map(outputs.map((name) => [name, results[`${name}.next`]!]));
  }

  /** Mean over the images from `start` to `end`. */
  async loss(start: number, end: number): Promise<number> {
    let sum = 0;
    for (let i = start; i < end; i++) {
      const { loss } = await this.session.run(this.#feeds([i], 0, 1), ['loss']);
      sum += (loss!.data as Float32Array)[0]!;
    }
    return sum / (end - start);
  }

  close(): Promise<void> {
    return this.session.release();
  }

  #feeds(images: readonly number[], rate: number, step: number): Record<string, OrtTensor> {
    const { layer, ort } = this;
    const plane = elementCount(layer.shape.slice(1));
    const map = (data: Float32Array, shape: Shape): OrtTensor => new ort.Tensor('float32', data, [images.length, ...shape]);
    const target = pick(this.target, layer.shape, images);
    for (let i = 0; i < target.length; i++) target[i] = Math.min(1, target[i]! / layer.threshold[Math.floor(i / plane) % layer.shape[0]!]!);
    const scalar = (value: number): OrtTensor => new ort.Tensor('float32', Float32Array.of(value), []);
    const inputs = this.convs.map(({ node, index }): [string, OrtTensor] => {
      const { values, shape, scale } = this.sources[index]!;
      const picked = pick(values, shape, images);
      if (scale !== 1) for (let i = 0; i < picked.length; i++) picked[i] = picked[i]! * scale;
      return [`${node.name}.input`, map(picked, shape)];
    });
    return {
      ...Object.fromEntries([...this.#state, ...inputs]),
      target: map(target, layer.shape),
      learning_rate: scalar(rate),
      step: scalar(step),
    };
  }
}

function startOf(layer: FoldedSpiking, { index, scale }: Conv): Float32Array {
  const { weight } = layer.synapses[index] as FoldedConv;
  const fanIn = weight.length / scale.length;
  return Float32Array.from(weight, (w, k) => w / (scale[Math.floor(k / fanIn)]! * layer.threshold[Math.floor(k / fanIn)]!));
}

function pick(values: Float32Array | Uint16Array, shape: Shape, images: readonly number[]): Float32Array {
  const size = elementCount(shape);
  const picked = new Float32Array(images.length * size);
  images.forEach((image, i) => picked.set(values.subarray(image * size, (image + 1) * size), i * size));
  return picked;
}
