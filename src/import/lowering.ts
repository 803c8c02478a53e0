import { levelsOf, type Padding, type Shape } from '../graph/graph.js';
import { activationThreshold } from '../graph/parameters.js';
import type { Constants } from './constants.js';
import type { OnnxNode } from './node.js';
import { close, isAffine, plus, thenAffine, times, uniform, untouched, type PerChannel, type Pointwise } from './pointwise.js';
import { invalidFile, Refusal } from './problems.js';
import { axisConv, paddingOf, wholeMap, type Selection } from './selection.js';
import type { Constant } from './tensor.js';
import { addBatchNorm, type ChannelAffine, type NetworkWriter } from './writer.js';

/**
 * What a dimension of an ONNX value is of the node's own [C, H, W] or [C]: batch, channels or features, rows, columns, or a
 * dimension of size 1 that says nothing.
 */
export type Axis = 'N' | 'C' | 'H' | 'W' | '1';

/** A value of the ONNX graph as a view of a node's value, with what is not written as a node yet. */
export interface Value {
  readonly node: string;
  readonly axes: readonly Axis[];
  /** Of a flattened map whose features stand in another order: the feature of the node that each is. */
  readonly order?: readonly number[];
  /** Element-wise steps on the node's value, under the name of the node that made them. */
  readonly chain?: Pointwise;
  readonly chainName?: string;
  /** Part of the node's map, after the steps. */
  readonly selection?: Selection;
  readonly selectionName?: string;
  /** More than one node reads it. */
  readonly shared?: boolean;
}

/** The graph as far as it is read: what operators take their inputs from and write their nodes to. */
export class Lowering {
  readonly #values = new Map<string, Value>();
  readonly #flattened = new Map<string, string>();
  readonly #written = new WeakMap<Value, Value>();
  readonly notes: string[] = [];
  /** What the file does to its very input, which belongs to the normalisation of the images. */
  inputAffine: ChannelAffine | undefined;

  constructor(
    readonly writer: NetworkWriter,
    readonly constants: Constants,
    /** Size of the batch in the shapes that the file computes. */
    readonly batch: number,
    readonly opset: number,
    readonly outputName: string,
    readonly readersOf: (name: string) => number,
  ) {}

  has(name: string): boolean {
    return this.#values.has(name);
  }

  set(name: string, value: Value): void {
    const shared = value.shared || this.readersOf(name) > 1;
    this.#values.set(name, shared && value.chain ? { ...this.plain(value), shared } : { ...value, shared });
  }

  /** The value that input `index` of a node reads. */
  value(node: OnnxNode, index = 0): Value {
    return this.named(node.inputs[index] ?? '');
  }

  named(name: string): Value {
    const value = this.#values.get(name);
    if (value) return value;
    if (this.constants.has(name)) throw new Refusal(`it computes with the constant "${name}" where images are expected`, 'Export the network without that branch.');
    throw invalidFile(`nothing gives "${name}", which it reads`);
  }

  isConstant(node: OnnxNode, index: number): boolean {
    return this.constants.has(node.inputs[index] ?? '');
  }

  /** A constant input; undefined where the node has none there. */
  async constant(node: OnnxNode, index: number): Promise<Constant | undefined> {
    const name = node.inputs[index] ?? '';
    if (name === '') return undefined;
    if (this.constants.has(name)) return this.constants.get(name);
    throw new Refusal(`its input "${name}" depends on the image`, 'Only weights and settings that are constant become synapses: replace that part and train again.');
  }

  async required(node: OnnxNode, index: number): Promise<Constant> {
    const constant = await this.constant(node, index);
    if (constant) return constant;
    throw invalidFile(`${node.op} "${node.name}" lacks its input ${index}`);
  }

  /** A list of integers: an attribute in older operator sets, an input in newer ones. */
  async ints(node: OnnxNode, attribute: string, index: number): Promise<number[] | undefined> {
    const listed = node.ints(attribute);
    if (listed) return listed;
    const constant = await this.constant(node, index);
    return constant && Array.from(constant.data);
  }

  dims({ node, axes, selection }: Value): number[] {
    const [channels, height = 1, width = 1] = this.writer.shape(node) as [number, number?, number?];
    const sizes: Record<Axis, number> = {
      N: this.batch,
      C: selection?.channels.length ?? channels,
      H: selection?.rows.count ?? height,
      W: selection?.columns.count ?? width,
      '1': 1,
    };
    return axes.map((axis) => sizes[axis]);
  }

  /** The value with further element-wise steps; `step` gives undefined where they do not join those before. */
  extend(value: Value, name: string, step: (chain: Pointwise) => Pointwise | undefined): Value {
    const base = value.selection ? this.plain(value) : value;
    const chain = base.chain ?? untouched;
    const joined = step(chain);
    if (joined) return { ...base, chain: joined, chainName: isAffine(chain) ? name : (base.chainName ?? name) };
    const alone = step(untouched);
    if (!alone || chain === untouched) throw new Refusal('it treats the channels apart', 'Take the same bounds for all channels.');
    return { ...this.plain(base), chain: alone, chainName: name };
  }

  /** The value with all its steps written as nodes. */
  plain(value: Value): Value {
    if (!value.chain && !value.selection) return value;
    const known = this.#written.get(value);
    if (known) return known;
    const { axes, order, shared } = value;
    let { node } = value;
    if (value.chain) node = this.#writeChain(value, value.chain);
    if (value.selection) node = this.#writeSelection(node, value.selection, value.selectionName!);
    const plain = { node, axes, ...(order && { order }), ...(shared !== undefined && { shared }) };
    this.#written.set(value, plain);
    return plain;
  }

  /** The node of a map [N, C, H, W]. */
  map(value: Value): string {
    return this.#mapNode(this.plain(value));
  }

  /** The node of a map [N, C, H, W], and zeros around it that nobody has written. */
  padded(value: Value): { readonly node: string; readonly padding: Padding } {
    const { selection, ...whole } = value;
    const base = this.plain(whole);
    const padding = selection && paddingOf(selection, this.writer.shape(base.node) as [number, number, number]);
    return selection && !padding ? { node: this.map(value), padding: [0, 0, 0, 0] } : { node: this.#mapNode(base), padding: padding ?? [0, 0, 0, 0] };
  }

  /** The node of a vector [N, F]; [C, 1, 1] is flattened. */
  vector(value: Value): string {
    const { node, axes } = this.plain(value);
    if (axes[0] !== 'N' || axes.filter((axis) => axis !== '1').length !== 2 || !axes.includes('C')) {
      throw new Refusal(`its input [${this.dims(value).join(', ')}] is no vector of features`, 'Put a Flatten before it.');
    }
    return this.flat(node);
  }

  /** The node flattened, once. */
  flat(node: string): string {
    if (this.writer.shape(node).length === 1) return node;
    const known = this.#flattened.get(node);
    if (known !== undefined) return known;
    const flat = this.writer.add(`${node}.flat`, { op: 'flatten', input: node });
    this.#flattened.set(node, flat);
    return flat;
  }

  /** One number for all channels or one a channel, in the order of the node's channels; of a constant that is added to a value, say. */
  perChannel({ dims, data }: Constant, value: Value): PerChannel {
    const sizes = this.dims(value);
    const first = Number(data[0]);
    if (data.every((x) => x === first) && dims.length <= sizes.length && dims.every((n, i) => n === 1 || n === sizes[sizes.length - dims.length + i])) {
      return Float64Array.of(first);
    }
    const wide = dims.flatMap((n, i) => (n === 1 ? [] : [value.axes[value.axes.length - dims.length + i]]));
    const channels = sizes[value.axes.indexOf('C')]!;
    if (wide.length !== 1 || wide[0] !== 'C' || data.length !== channels) {
      throw new Refusal(
        `it combines a value [${sizes.join(', ')}] with a constant [${dims.join(', ')}]`,
        'Only one number for all values, or one for each channel, has a counterpart.',
      );
    }
    const ordered = Float64Array.from(data);
    value.order?.forEach((feature, i) => (ordered[feature] = data[i]!));
    return ordered;
  }

  /** The whole map as a selection, to take a part of it; steps before it are written. */
  select(value: Value): { readonly value: Value; readonly selection: Selection } {
    if (value.selection) return { value, selection: value.selection };
    const plain = this.plain(value);
    const shape = this.writer.shape(plain.node);
    if (shape.length !== 3) throw new Refusal('it takes a part of a vector of features', 'Take it of the map, before the Flatten.');
    return { value: plain, selection: wholeMap(...(shape as [number, number, number])) };
  }

  #mapNode({ node, axes }: Value): string {
    const shape = this.writer.shape(node);
    const wanted: Axis[] = ['N', 'C', shape[1] === 1 ? '1' : 'H', shape[2] === 1 ? '1' : 'W'];
    if (shape.length === 3 && axes.length === 4 && axes.every((axis, i) => axis === wanted[i])) return node;
    throw new Refusal(
      `its input is laid out as [${axes.join(', ')}], not as [N, C, H, W]`,
      'Export with channels first, or with the transposes that lead there.',
    );
  }

  #writeChain(value: Value, chain: Pointwise): string {
    const name = value.chainName!;
    const { gain, offset, rounding, low, high, scale, shift } = chain;
    if (isAffine(chain)) return this.#writeAffine(value.node, gain, offset, name, !value.shared);
    if (low === -Infinity) {
      throw new Refusal('its values have no lower bound', 'Neurons give values from a smallest one on: bound it below, as Relu does, and train again.');
    }
    if (rounding !== undefined && high === Infinity) {
      throw new Refusal('it rounds without an upper bound', 'Clip the value first, as QCFS and LSQ do.');
    }
    const common = uniform(scale);
    const unit = common !== undefined && common > 0 ? common : 1;
    const half = rounding === undefined ? 0 : 0.5;
    const inner = thenAffine({ ...untouched, gain, offset }, Float64Array.of(unit), Float64Array.of(-unit * (low + half)));
    const input = this.#writeAffine(value.node, inner.gain, inner.offset, `${name}.in`, !value.shared);
    const node = this.#writeActivation(input, name, rounding, high - low, unit);
    return this.#writeAffine(node, times(scale, Float64Array.of(1 / unit)), plus(times(scale, Float64Array.of(low)), shift), `${name}.out`, false);
  }

  /** `levels` steps of size `unit`, or without rounding a cap at their sum. */
  #writeActivation(input: string, name: string, rounding: Pointwise['rounding'], levels: number, unit: number): string {
    if (!(levels > 0)) throw new Refusal('all its values are the same', 'Export the network without it.');
    const threshold = Math.fround(levels * unit);
    if (rounding !== undefined && this.#isOnGrid(input, levels, unit)) return input;
    if (rounding === undefined) return this.#writeRelu(input, name, levels === Infinity ? undefined : threshold);
    if (rounding === 'floor') {
      const node = this.writer.add(name, { op: 'activation', input, activation: { kind: 'qcfs', levels, initialThreshold: threshold } });
      this.writer.parameter(node, 'threshold', [], [threshold]);
      return node;
    }
    const node = this.writer.add(name, { op: 'activation', input, activation: { kind: 'lsq', levels, initialScale: Math.fround(unit) } });
    this.writer.parameter(node, 'scale', [], [unit]);
    return node;
  }

  /** A rectifier; one of values that none of is negative changes nothing. */
  #writeRelu(input: string, name: string, cap: number | undefined): string {
    if (cap === undefined && this.isPositive(input)) return input;
    return this.writer.add(name, { op: 'activation', input, activation: cap === undefined ? { kind: 'relu' } : { kind: 'relu', cap } });
  }

  /** Whether no value of a node is negative. */
  isPositive(name: string): boolean {
    const node = this.writer.find(name);
    if (node?.op === 'activation') return true;
    if (node?.op === 'concat' || node?.op === 'add') return node.inputs.every((input) => this.isPositive(input));
    const pooled = node?.op === 'maxPool' || node?.op === 'avgPool' || node?.op === 'globalAvgPool' || node?.op === 'flatten';
    return pooled && this.isPositive(node.input);
  }

  /** Whether a node's values are multiples of `unit` from 0 to `levels`: to quantise them so changes nothing. */
  #isOnGrid(name: string, levels: number, unit: number): boolean {
    const node = this.writer.find(name);
    if (node?.op === 'maxPool' || node?.op === 'flatten') return this.#isOnGrid(node.input, levels, unit);
    if (node?.op !== 'activation' || node.activation.kind === 'relu' || levelsOf(node.activation) !== levels) return false;
    return close(activationThreshold(node, this.writer.parameters)! / (levels * unit), 1);
  }

  #writeAffine(node: string, gain: PerChannel, offset: PerChannel, name: string, only: boolean): string {
    const keeps = gain.every((g) => close(g, 1));
    if (keeps && offset.every((o) => Math.abs(o) < 1e-7)) return node;
    const channels = this.writer.shape(node)[0]!;
    const all = (values: PerChannel): PerChannel => (values.length === 1 ? new Float64Array(channels).fill(values[0]!) : values);
    if (node === this.writer.input && only && gain.every((g) => g > 0)) {
      this.inputAffine = { gain: all(gain), offset: all(offset) };
      return node;
    }
    const before = this.writer.find(node);
    if (only && keeps && (before?.op === 'conv2d' || before?.op === 'linear') && !before.bias) {
      this.writer.addBias(node, all(offset));
      return node;
    }
    return addBatchNorm(this.writer, node, name, { gain: all(gain), offset: all(offset) });
  }

  /** A part of a map with zeros around it, exactly: a convolution of zeros and ones. */
  #writeSelection(input: string, { channels, rows, columns }: Selection, name: string): string {
    const [sourceChannels, height, width] = this.writer.shape(input) as [number, number, number];
    const [vertical, horizontal] = [axisConv(rows, height), axisConv(columns, width)];
    const depthwise = channels.length === sourceChannels && channels.every((from, c) => from === c);
    const kernel = [vertical.kernel, horizontal.kernel] as const;
    const perGroup = depthwise ? 1 : sourceChannels;
    const weight = new Float32Array(channels.length * perGroup * kernel[0] * kernel[1]);
    channels.forEach((from, c) => {
      if (from < 0) return;
      const filter = c * perGroup + (depthwise ? 0 : from);
      weight[(filter * kernel[0] + vertical.tap) * kernel[1] + horizontal.tap] = 1;
    });
    const node = this.writer.add(name, {
      op: 'conv2d',
      input,
      outChannels: channels.length,
      kernel,
      stride: [vertical.stride, horizontal.stride],
      padding: [vertical.before, horizontal.before, vertical.behind, horizontal.behind],
      groups: depthwise ? sourceChannels : 1,
      bias: false,
    });
    this.writer.parameter(node, 'weight', [channels.length, perGroup, ...kernel], weight);
    return node;
  }
}

/** The operator of an ONNX node: the values of its outputs, in their order. */
export type Operator = (network: Lowering, node: OnnxNode) => Promise<readonly Value[]> | readonly Value[];

/** Axes of a node's own layout: [N, C, H, W], or [N, C] of a vector. */
export function ownAxes(shape: Shape): Axis[] {
  if (shape.length === 1) return ['N', 'C'];
  return ['N', 'C', shape[1] === 1 ? '1' : 'H', shape[2] === 1 ? '1' : 'W'];
}
