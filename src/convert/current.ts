import { NoisefloorError } from '../errors.js';
import type { Conv2dNode, MaxPoolNode, Pair, Shape } from '../graph/graph.js';
import { windowOutput } from '../graph/shapes.js';
import { synapseOutput } from '../snn/geometry.js';
import { inputName, type MaxPoolLayer, type SynapsePool } from '../snn/model.js';
import type { FoldedConv, FoldedIdentity } from './folded.js';

/** A source as it is, in some channels of the value: gain [channels of the source]. */
export interface CurrentIdentity extends FoldedIdentity {
  /** The channel of the value that is the source's first; above 0 behind a concatenation. */
  readonly first: number;
}
type CurrentSynapse = FoldedConv | CurrentIdentity;

/**
 * The value of a graph node as a linear function of spikes and image: a sum of synapses and a bias per channel.
 * Each operator below maps such a value to another or throws CONVERSION where the result is not of this form.
 */
export interface Current {
  /** [C, H, W]. */
  readonly shape: Shape;
  /** A vector whose features are the map in row-major order. */
  readonly flat: boolean;
  readonly synapses: readonly CurrentSynapse[];
  /** [C]. */
  readonly bias: Float64Array;
}

export function conversionError(node: string, why: string, remedy: string): NoisefloorError {
  return new NoisefloorError('CONVERSION', `Cannot convert node "${node}": ${why}. ${remedy}`);
}

/** The source itself, each spike of channel c worth `amplitude[c]`. */
export function sourceCurrent(source: string, shape: Shape, flat: boolean, amplitude: Float64Array): Current {
  const identity: CurrentIdentity = { kind: 'identity', source, stride: [1, 1], gain: amplitude, first: 0 };
  return { shape, flat, synapses: [identity], bias: new Float64Array(shape[0]!) };
}

export function addCurrents(a: Current, b: Current): Current {
  const bias = a.bias.map((value, c) => value + b.bias[c]!);
  return { ...a, synapses: [...a.synapses, ...b.synapses], bias };
}

/** gain[c] * value + offset[c]: batch normalisation. */
export function scaleCurrent(node: string, current: Current, gain: Float64Array, offset: Float64Array): Current {
  if (gain.length !== current.shape[0]) {
    const remedy = 'Put the batch normalisation before the flatten.';
    throw conversionError(node, 'it scales features of a flattened map apart, a synapse scales channels', remedy);
  }
  const synapses = current.synapses.map((synapse): CurrentSynapse => {
    if (synapse.kind === 'identity') return { ...synapse, gain: synapse.gain.map((g, c) => g * gain[synapse.first + c]!) };
    return { ...synapse, weight: scaleOutputs(synapse.weight, gain) };
  });
  return { ...current, synapses, bias: current.bias.map((b, c) => b * gain[c]! + offset[c]!) };
}

/** The weights with those of output channel c times gain[c]. */
function scaleOutputs(weight: Float64Array, gain: Float64Array): Float64Array {
  const fanIn = weight.length / gain.length;
  const scaled = new Float64Array(weight.length);
  for (let i = 0; i < weight.length; i++) scaled[i] = weight[i]! * gain[Math.floor(i / fanIn)]!;
  return scaled;
}

/** Values one behind the other along the channels. */
export function concatCurrents(node: string, parts: readonly Current[]): Current {
  const [, height, width] = parts[0]!.shape;
  if (parts.some(({ shape, flat }) => shape[1] !== height || shape[2] !== width || flat !== parts[0]!.flat)) {
    throw conversionError(node, 'it joins flattened maps of different sizes', 'Concatenate the maps, then flatten.');
  }
  const channels = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const bias = new Float64Array(channels);
  const synapses: CurrentSynapse[] = [];
  let first = 0;
  for (const part of parts) {
    bias.set(part.bias, first);
    for (const synapse of part.synapses) {
      if (synapse.kind === 'identity') synapses.push({ ...synapse, first: synapse.first + first });
      else synapses.push(placeOutputs(synapse, part.shape[0]!, first, channels));
    }
    first += part.shape[0]!;
  }
  return { shape: [channels, height!, width!], flat: parts[0]!.flat, synapses, bias };
}

/** The convolution as one of more outputs, of which those before and behind its own have zero weights. */
function placeOutputs(conv: FoldedConv, outputs: number, first: number, channels: number): FoldedConv {
  const whole = withoutGroups(conv, outputs);
  const fanIn = whole.weight.length / outputs;
  const weight = new Float64Array(channels * fanIn);
  weight.set(whole.weight, first * fanIn);
  return { ...whole, weight };
}

/** The convolution with one group: zero weights where the groups differ. */
function withoutGroups(conv: FoldedConv, outputs: number): FoldedConv {
  if (conv.groups === 1) return conv;
  const fanIn = conv.weight.length / outputs;
  const weight = new Float64Array(conv.weight.length * conv.groups);
  for (let o = 0; o < outputs; o++) {
    const group = Math.floor((o * conv.groups) / outputs);
    weight.set(conv.weight.subarray(o * fanIn, (o + 1) * fanIn), (o * conv.groups + group) * fanIn);
  }
  return { ...conv, groups: 1, weight };
}

/**
 * Max-pooling of the spikes of earlier layers: a layer of its own for each, since the maximum of spike counts is that of the
 * values only where all counts of a channel stand for the same amount each. A positive scale and an offset go through.
 */
export function maxPoolCurrent(node: MaxPoolNode, current: Current, layers: (layer: MaxPoolLayer) => void): Current {
  checkMaxPool(node.name, current);
  const { kernel, stride, padding } = node;
  const [, ...size] = current.shape;
  const map = synapseOutput({ kind: 'conv2d', kernel, stride, padding, groups: 1 }, [1, ...size]);
  const synapses = current.synapses.map((synapse, i): CurrentIdentity => {
    const { source, gain, first } = synapse as CurrentIdentity;
    const name = current.synapses.length === 1 ? node.name : `${node.name}.${i}`;
    layers({ kind: 'maxPool', name, shape: [gain.length, ...map], source, kernel, stride, padding, synapses: [] });
    return { kind: 'identity', source: name, stride: [1, 1], gain, first };
  });
  return { ...current, shape: [current.shape[0]!, ...map], synapses };
}

function checkMaxPool(node: string, { synapses }: Current): void {
  const taken = new Set<number>();
  for (const synapse of synapses) {
    const remedy = 'Put the max-pooling right behind an activation, or take average pooling.';
    if (synapse.source === inputName) throw conversionError(node, 'it takes the maximum of pixels, which have no spikes', remedy);
    if (synapse.kind === 'conv2d') throw conversionError(node, 'it takes the maximum of weighted sums, not of spikes', remedy);
    if (synapse.pool || synapse.stride.some((n) => n !== 1)) throw conversionError(node, 'it takes the maximum of averages', remedy);
    if (synapse.gain.some((g) => !(g > 0))) throw conversionError(node, 'a batch normalisation turns its input around', remedy);
    for (let c = 0; c < synapse.gain.length; c++) {
      if (taken.has(synapse.first + c)) throw conversionError(node, 'it takes the maximum of a sum of layers', remedy);
      taken.add(synapse.first + c);
    }
  }
}

/** Average pooling: in front of identities as a pool, behind convolutions as a larger kernel. */
export function poolCurrent(node: string, current: Current, kernel: Pair, stride: Pair): Current {
  const [channels, height, width] = current.shape as [number, number, number];
  const shape = [channels, windowOutput(height, kernel[0], stride[0]), windowOutput(width, kernel[1], stride[1])];
  const synapses = current.synapses.map((synapse) =>
    synapse.kind === 'identity' ? poolIdentity(node, synapse, kernel, stride) : poolConv(synapse, kernel, stride),
  );
  return { ...current, shape, synapses };
}

function poolIdentity(node: string, synapse: CurrentIdentity, kernel: Pair, stride: Pair): CurrentIdentity {
  const pool = synapse.pool ? nestedPool(node, synapse.pool, kernel, stride) : { kernel, stride };
  const area = kernel[0] * kernel[1];
  return { ...synapse, pool, gain: synapse.gain.map((g) => g / area) };
}

/**
 * Two average pools are one of equal weights if the windows of the first tile its input, or the second only strides.
 * Otherwise some positions would count twice, or not at all, inside a window.
 */
function nestedPool(node: string, inner: SynapsePool, kernel: Pair, stride: Pair): SynapsePool {
  const combine = (axis: 0 | 1): [kernel: number, stride: number] => {
    if (inner.kernel[axis] !== inner.stride[axis] && kernel[axis] !== 1) {
      const remedy = 'Use one pool, or a first pool whose stride is its kernel.';
      throw conversionError(node, 'it pools windows of an earlier pool that overlap or leave gaps', remedy);
    }
    const size = kernel[axis] === 1 ? inner.kernel[axis] : inner.kernel[axis] * kernel[axis];
    return [size, inner.stride[axis] * stride[axis]];
  };
  const [vertical, horizontal] = [combine(0), combine(1)];
  return { kernel: [vertical[0], horizontal[0]], stride: [vertical[1], horizontal[1]] };
}

function poolConv(synapse: FoldedConv, kernel: Pair, stride: Pair): FoldedConv {
  const [height, width] = synapse.kernel;
  const larger: Pair = [height + (kernel[0] - 1) * synapse.stride[0], width + (kernel[1] - 1) * synapse.stride[1]];
  const filters = synapse.weight.length / (height * width);
  const weight = new Float64Array(filters * larger[0] * larger[1]);
  const area = kernel[0] * kernel[1];
  synapse.weight.forEach((w, i) => {
    const filter = Math.floor(i / (height * width));
    const [y, x] = [Math.floor(i / width) % height, i % width];
    for (let py = 0; py < kernel[0]; py++) {
      for (let px = 0; px < kernel[1]; px++) {
        const row = filter * larger[0] + y + py * synapse.stride[0];
        weight[row * larger[1] + x + px * synapse.stride[1]]! += w / area;
      }
    }
  });
  return { ...synapse, kernel: larger, stride: [synapse.stride[0] * stride[0], synapse.stride[1] * stride[1]], weight };
}

/** A convolution with `weight` [outChannels, inChannels / groups, kernel...] and `bias` [outChannels]. */
export function convolveCurrent(node: Conv2dNode, current: Current, weight: Float64Array, bias: Float64Array): Current {
  const padded = node.padding.some((n) => n > 0);
  if (padded && current.bias.some((b) => b !== 0)) {
    const why = 'it pads with zeros a map that has an offset, so its bias differs at the border';
    throw conversionError(node.name, why, 'Put the batch normalisation after the convolution, or an activation between.');
  }
  const [, height, width] = current.shape as [number, number, number];
  const [top, left, bottom, right] = node.padding;
  const shape = [
    node.outChannels,
    windowOutput(height, node.kernel[0], node.stride[0], top + bottom),
    windowOutput(width, node.kernel[1], node.stride[1], left + right),
  ];
  const { kernel, stride, padding, groups } = node;
  return applyWeights(node.name, current, { kind: 'conv2d', kernel, stride, padding, groups, source: '', weight }, shape, bias);
}

/** A linear layer with `weight` [outFeatures, inFeatures]: a convolution whose kernel is the whole map. */
export function linearCurrent(node: string, current: Current, weight: Float64Array, bias: Float64Array): Current {
  const [, height, width] = current.shape as [number, number, number];
  const geometry = { kernel: [height, width], stride: [1, 1], padding: [0, 0, 0, 0], groups: 1 } as const;
  const shape = [bias.length, 1, 1];
  return { ...applyWeights(node, current, { kind: 'conv2d', ...geometry, source: '', weight }, shape, bias), flat: true };
}

function applyWeights(node: string, current: Current, conv: FoldedConv, shape: Shape, bias: Float64Array): Current {
  const synapses = current.synapses.map((synapse): FoldedConv => {
    if (synapse.kind === 'conv2d') {
      const why = `it follows another convolution or linear layer, of "${synapse.source}", without neurons between`;
      throw conversionError(node, why, 'Put an activation between the two.');
    }
    const { source, pool, gain, first } = synapse;
    const own = ownInputs(conv, first, gain.length, current.shape[0]!, shape[0]!);
    return { ...own, source, ...(pool && { pool }), weight: scaleInputs(own, gain) };
  });
  if (current.bias.every((b) => b === 0)) return { shape, flat: false, synapses, bias };
  return { shape, flat: false, synapses, bias: bias.map((b, o) => b + weightedOffset(conv, o, bias.length, current.bias)) };
}

/** The convolution of `channels` of its input channels alone, from `first` on. */
function ownInputs(conv: FoldedConv, first: number, channels: number, inChannels: number, outChannels: number): FoldedConv {
  if (channels === inChannels) return conv;
  const whole = withoutGroups(conv, outChannels);
  const area = conv.kernel[0] * conv.kernel[1];
  const weight = new Float64Array(outChannels * channels * area);
  for (let o = 0; o < outChannels; o++) {
    const begin = (o * inChannels + first) * area;
    weight.set(whole.weight.subarray(begin, begin + channels * area), o * channels * area);
  }
  return { ...whole, weight };
}

/** The weights with those of input channel i times gain[i]. */
function scaleInputs(conv: FoldedConv, gain: Float64Array): Float64Array {
  const inputChannel = inputChannelOf(conv, gain.length);
  const scaled = new Float64Array(conv.weight.length);
  for (let i = 0; i < scaled.length; i++) scaled[i] = conv.weight[i]! * gain[inputChannel(i)]!;
  return scaled;
}

/** What constant inputs `offset` [inChannels] add to output channel `o`. */
function weightedOffset(conv: FoldedConv, o: number, outChannels: number, offset: Float64Array): number {
  const inputChannel = inputChannelOf(conv, offset.length);
  const fanIn = conv.weight.length / outChannels;
  let sum = 0;
  for (let i = o * fanIn; i < (o + 1) * fanIn; i++) sum += conv.weight[i]! * offset[inputChannel(i)]!;
  return sum;
}

function inputChannelOf(conv: FoldedConv, inChannels: number): (weightIndex: number) => number {
  const area = conv.kernel[0] * conv.kernel[1];
  const perGroup = inChannels / conv.groups;
  const groupSize = conv.weight.length / conv.groups;
  return (i) => Math.floor(i / groupSize) * perGroup + (Math.floor(i / area) % perGroup);
}
