import type { WeightType } from '../../src/convert/quantize.js';
import type { Pair, Padding, Shape } from '../../src/graph/graph.js';
import type { Random } from '../../src/random.js';
import { synapseOutput, type SynapseGeometry } from '../../src/snn/geometry.js';
import { inputName, type SnnLayer, type SpikingModel, type Synapse } from '../../src/snn/model.js';

/** What one synapse of the layer under test looks like; `source` is the input or the stem. */
interface SynapseForm {
  readonly source: 'input' | 'stem';
  readonly kind?: 'identity';
  readonly kernel?: Pair;
  readonly stride?: Pair;
  readonly padding?: Padding;
  /** `all`: as many as there are channels. */
  readonly groups?: 'all';
  readonly pool?: { readonly kernel: Pair; readonly stride: Pair };
}

const same: SynapseForm = { source: 'stem', kernel: [3, 3], padding: [1, 1, 1, 1] };
const halving = { kernel: [2, 2] as Pair, stride: [2, 2] as Pair };
const overlapping = { kernel: [3, 2] as Pair, stride: [2, 1] as Pair };

/** Every kind of layer the engine has a way of its own for: the synapses of one layer behind a convolutional stem. */
export const layerForms: Readonly<Record<string, readonly SynapseForm[]>> = {
  'convolution 3x3': [same],
  'convolution 1x1, stride 2': [{ source: 'stem', kernel: [1, 1], stride: [2, 2] }],
  'convolution 2x3, uneven stride and padding': [{ source: 'stem', kernel: [2, 3], stride: [2, 1], padding: [0, 2, 1, 0] }],
  'kernel larger than the map, in its padding': [{ source: 'stem', kernel: [7, 9], padding: [2, 3, 2, 3] }],
  linear: [{ source: 'stem', kernel: [5, 6] }],
  depthwise: [{ ...same, groups: 'all' }],
  'pool, then convolution': [{ ...same, pool: halving }],
  'overlapping pool, then convolution': [{ ...same, pool: overlapping }],
  'pool, then depthwise': [{ ...same, pool: halving, groups: 'all' }],
  'residual connection': [same, { source: 'stem', kind: 'identity' }],
  'residual connection, stride 2': [{ ...same, stride: [2, 2] }, { source: 'stem', kind: 'identity', stride: [2, 2] }],
  'residual connection through a pool': [{ ...same, pool: overlapping }, { source: 'stem', kind: 'identity', pool: overlapping }],
  'two convolutions of one source': [same, { source: 'stem', kernel: [1, 1] }],
  'spikes and pixels': [same, { source: 'input', kernel: [3, 3], padding: [1, 1, 1, 1] }],
  'pixels through a pool': [{ ...same, source: 'input', pool: halving }],
};

export interface LayerModelOptions {
  readonly channels: number;
  readonly weights: WeightType;
  readonly classes?: number;
}

const inputShape: Shape = [3, 5, 6];
const stemName = 'stem';

/** Stem, the layer of `forms`, a linear read-out; numbers drawn so that a good part of the neurons spikes. */
export function layerModel(random: Random, forms: readonly SynapseForm[], options: LayerModelOptions): SpikingModel {
  const { channels, classes = 3 } = options;
  const maker = new LayerMaker(random, options.weights);
  const stemForm: SynapseForm = { source: 'input', kernel: [3, 3], padding: [1, 1, 1, 1] };
  const stem = maker.layer(stemName, [channels, 5, 6], [maker.synapse(stemForm, inputShape, channels)]);
  const synapses = forms.map((form) => maker.synapse(form, form.source === 'input' ? inputShape : stem.shape, channels));
  const first = synapses[0]!;
  const size = synapseOutput(first, first.source === inputName ? inputShape : stem.shape);
  const tested = maker.layer('tested', [channels, ...size], synapses);
  return {
    name: 'layer',
    input: { shape: inputShape, normalization: { mean: [0, 0, 0], std: [1, 1, 1] }, scale: 1024 },
    layers: [stem, tested, maker.readout(tested, classes)],
    classes: Array.from({ length: classes }, (_, i) => `class ${i}`),
    provenance: {},
  };
}

class LayerMaker {
  constructor(
    readonly random: Random,
    readonly weights: WeightType,
  ) {}

  synapse(form: SynapseForm, source: Shape, outChannels: number): Synapse {
    const analog = form.source === 'input';
    const geometry = this.#geometry(form, source[0]!);
    const base = { source: analog ? inputName : stemName, shift: analog ? 7 : 0 };
    if (geometry.kind === 'identity') return { ...geometry, ...base, multiplier: this.#integers(outChannels, 20, 400) };
    const length = outChannels * (source[0]! / geometry.groups) * geometry.kernel[0] * geometry.kernel[1];
    const multiplier = this.#integers(outChannels, 1, 3);
    return { ...geometry, ...base, weight: this.#weight(length, analog), multiplier };
  }

  #geometry(form: SynapseForm, channels: number): SynapseGeometry {
    const { stride = [1, 1], pool } = form;
    if (form.kind === 'identity') return { kind: 'identity', stride, ...(pool && { pool }) };
    const { kernel = [1, 1], padding = [0, 0, 0, 0] } = form;
    const groups = form.groups === 'all' ? channels : 1;
    return { kind: 'conv2d', kernel, stride, padding, groups, ...(pool && { pool }) };
  }

  layer(name: string, shape: Shape, synapses: readonly Synapse[]): SnnLayer {
    const channels = shape[0]!;
    const scale = this.weights === 'int16' ? 4000 : 400;
    const threshold = this.#integers(channels, scale, 4 * scale);
    return {
      kind: 'spiking',
      name,
      shape,
      synapses,
      bias: this.#integers(channels, -scale / 8, scale / 2),
      unit: new Float64Array(channels).fill(2 ** -10),
      threshold,
      initialPotential: threshold.map((theta) => theta >> 1),
    };
  }

  readout(source: SnnLayer, classes: number): SnnLayer {
    const [channels, height, width] = source.shape as [number, number, number];
    const form = { kind: 'conv2d', kernel: [height, width], stride: [1, 1], padding: [0, 0, 0, 0], groups: 1 } as const;
    const weight = this.#weight(classes * channels * height * width, false);
    const synapse: Synapse = { ...form, source: source.name, shift: 0, weight, multiplier: this.#integers(classes, 1, 2) };
    const bias = this.#integers(classes, -500, 500);
    return { kind: 'readout', name: 'readout', shape: [classes, 1, 1], synapses: [synapse], bias, unit: new Float64Array(classes).fill(2 ** -10) };
  }

  /** About an eighth of the weights is 0; the extremes of the type occur. */
  #weight(length: number, analog: boolean): Int8Array | Int16Array {
    const limit = { int7: 64, int8: 128, int16: analog ? 200 : 5000 }[this.weights];
    const values = this.#integers(length, -limit, limit - 1).map((w) => (this.random.integer(8) === 0 ? 0 : w));
    return this.weights === 'int16' ? Int16Array.from(values) : Int8Array.from(values);
  }

  #integers(length: number, low: number, high: number): Int32Array {
    return Int32Array.from({ length }, () => low + this.random.integer(high - low + 1));
  }
}
