import { TensorProto_DataType as DataType } from '../../onnx/onnx_pb.js';
import type { Lowering, Operator, Value } from '../lowering.js';
import type { OnnxNode } from '../node.js';
import { thenAffine, thenClip, thenRound, times, untouched, type PerChannel } from '../pointwise.js';
import { Refusal } from '../problems.js';
import type { Constant } from '../tensor.js';

const one = Float64Array.of(1);
const zero = Float64Array.of(0);

export const relu: Operator = (network, node) => [network.extend(network.value(node), node.name, (chain) => thenClip(chain, 0, Infinity))];

export const clip: Operator = async (network, node) => {
  const bound = async (attribute: string, index: number, preset: number): Promise<number> =>
    node.has(attribute) ? node.float(attribute, preset) : ((await network.constant(node, index))?.data[0] ?? preset);
  const [low, high] = [await bound('min', 1, -Infinity), await bound('max', 2, Infinity)];
  return [network.extend(network.value(node), node.name, (chain) => thenClip(chain, unbounded(low), unbounded(high)))];
};

/** The largest float32 stands for no bound. */
function unbounded(bound: number): number {
  return Math.abs(bound) > 3e38 ? Math.sign(bound) * Infinity : bound;
}

export const floor: Operator = (network, node) => [network.extend(network.value(node), node.name, (chain) => thenRound(chain, 'floor'))];
export const round: Operator = (network, node) => [network.extend(network.value(node), node.name, (chain) => thenRound(chain, 'nearest'))];
export const negate: Operator = (network, node) => [affine(network, network.value(node), node, Float64Array.of(-1), zero)];

/** Add, of two values or of a value and a constant. */
export const add: Operator = (network, node) => combined(network, node, (value, term) => affine(network, value, node, one, term));
/** Sum of any number of values. */
export const sum: Operator = (network, node) => {
  if (node.inputs.length === 1) return [network.value(node)];
  return [node.inputs.slice(1).reduce((total, name) => added(network, node, total, network.named(name)), network.value(node))];
};

export const subtract: Operator = async (network, node) => {
  if (!network.isConstant(node, 0) && !network.isConstant(node, 1)) throw new Refusal('it subtracts one value of the image from another', 'Give one of them negative weights and add.');
  return combined(network, node, (value, term, first) =>
    first ? affine(network, value, node, Float64Array.of(-1), term) : affine(network, value, node, one, times(term, Float64Array.of(-1))),
  );
};

export const multiply: Operator = async (network, node) => {
  if (!network.isConstant(node, 0) && !network.isConstant(node, 1)) {
    throw new Refusal('it multiplies one value of the image by another (a gate, attention or squeeze-and-excitation)', 'Spikes are weighted by constants only: train a network without it.');
  }
  return combined(network, node, (value, factor) => affine(network, value, node, factor, zero));
};

export const divide: Operator = async (network, node) => {
  if (!network.isConstant(node, 1)) throw new Refusal('it divides by a value of the image', 'Spikes are weighted by constants only: train a network without it.');
  return combined(network, node, (value, divisor) => affine(network, value, node, divisor.map((d) => 1 / d), zero));
};

/** Max and Min with a constant: one bound of a clip. */
export function bound(side: 'low' | 'high'): Operator {
  return async (network, node) => {
    if (node.inputs.length !== 2 || (!network.isConstant(node, 0) && !network.isConstant(node, 1))) {
      throw new Refusal('it compares values of the image with each other', 'Compare with one constant, as Relu does.');
    }
    return combined(network, node, (value, limit) => {
      if (limit.length > 1) throw new Refusal('its bound differs from channel to channel', 'Take the same bound for all channels.');
      const [low, high] = side === 'low' ? [limit[0]!, Infinity] : [-Infinity, limit[0]!];
      return network.extend(value, node.name, (chain) => thenClip(chain, low, high));
    });
  };
}

type WithConstant = (value: Value, constant: PerChannel, first: boolean) => Value;

async function combined(network: Lowering, node: OnnxNode, withConstant: WithConstant): Promise<readonly Value[]> {
  const first = network.isConstant(node, 0);
  if (!first && !network.isConstant(node, 1)) return [added(network, node, network.value(node), network.value(node, 1))];
  const value = network.value(node, first ? 1 : 0);
  return [withConstant(value, network.perChannel(await network.required(node, first ? 0 : 1), value), first)];
}

function affine(network: Lowering, value: Value, { name }: OnnxNode, factor: PerChannel, term: PerChannel): Value {
  return network.extend(value, name, (chain) => thenAffine(chain, factor, term));
}

function added(network: Lowering, { name }: OnnxNode, a: Value, b: Value): Value {
  const [left, right] = [network.plain(a), network.plain(b)];
  const dims = [network.dims(left), network.dims(right)];
  if (left.axes.join() !== right.axes.join() || dims[0]!.join() !== dims[1]!.join() || left.order?.join() !== right.order?.join()) {
    throw new Refusal(`it adds values [${dims[0]!.join(', ')}] and [${dims[1]!.join(', ')}]`, 'Add values of one shape.');
  }
  const ranks = [left, right].map(({ node }) => network.writer.shape(node).length);
  const [first, second] = ranks[0] === ranks[1] ? [left.node, right.node] : [network.vector(left), network.vector(right)];
  const node = network.writer.add(name, { op: 'add', inputs: [first, second] });
  return { node, axes: left.axes, ...(left.order && { order: left.order }) };
}

/** Batch normalisation with its running statistics, kept as a layer of its own. */
export const batchNormalization: Operator = async (network, node) => {
  if (node.int('training_mode', 0) !== 0) throw new Refusal('it takes the statistics of the batch', 'Export the network in evaluation mode: model.eval().');
  const value = network.plain(network.value(node));
  const channels = network.writer.shape(value.node)[0]!;
  if (value.axes[1] !== 'C' || value.order) throw new Refusal('it normalises another dimension than the channels', 'Normalise channels, before the Flatten.');
  const name = network.writer.add(node.name, { op: 'batchNorm', input: value.node, epsilon: node.float('epsilon', 1e-5), momentum: 0.1 });
  for (const [i, suffix] of ['weight', 'bias', 'running_mean', 'running_var'].entries()) {
    network.writer.parameter(name, suffix, [channels], (await network.required(node, i + 1)).data);
  }
  return [{ node: name, axes: value.axes }];
};

/** x / scale, rounded and clipped to the integers of its type: with DequantizeLinear behind it, a quantiser. */
export const quantizeLinear: Operator = async (network, node) => {
  const value = network.value(node);
  const [low, high] = integersOf(network.constants.typeOf(node.inputs[2] ?? ''));
  const { scale, zero: zeroPoint } = await grid(network, node, value);
  const steps = network.extend(value, node.name, (chain) => thenRound(thenAffine(chain, scale.map((s) => 1 / s), zero), 'nearest'));
  const moved = affine(network, steps, node, one, zeroPoint);
  return [network.extend(moved, node.name, (chain) => thenClip(chain, low, high))];
};

export const dequantizeLinear: Operator = async (network, node) => {
  const value = network.value(node);
  const { scale, zero: zeroPoint } = await grid(network, node, value);
  return [affine(network, affine(network, value, node, one, zeroPoint.map((z) => -z)), node, scale, zero)];
};

async function grid(network: Lowering, node: OnnxNode, value: Value): Promise<{ readonly scale: PerChannel; readonly zero: PerChannel }> {
  const axis = node.int('axis', 1);
  const along = (constant: Constant): PerChannel => {
    if (constant.data.length === 1) return Float64Array.from(constant.data);
    const behind = value.axes.length - 1 - (axis < 0 ? axis + value.axes.length : axis);
    return network.perChannel({ ...constant, dims: [constant.data.length, ...new Array<number>(behind).fill(1)] }, value);
  };
  const zeroPoint = await network.constant(node, 2);
  return { scale: along(await network.required(node, 1)), zero: zeroPoint ? along(zeroPoint) : untouched.offset };
}

const integers: Partial<Record<DataType, readonly [number, number]>> = {
  [DataType.UINT8]: [0, 255],
  [DataType.INT8]: [-128, 127],
  [DataType.UINT16]: [0, 65535],
  [DataType.INT16]: [-32768, 32767],
};

/** Smallest and largest integer of a type; uint8 where the file names none. */
function integersOf(type: DataType = DataType.UINT8): readonly [number, number] {
  const range = integers[type];
  if (range) return range;
  throw new Refusal(`it quantises to ${DataType[type]}`, 'Quantise activations to 8 or 16 bits.');
}
