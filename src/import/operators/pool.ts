import type { Padding, Pair } from '../../graph/graph.js';
import { ownAxes, type Lowering, type Operator, type Value } from '../lowering.js';
import type { OnnxNode } from '../node.js';
import { invalidFile, Refusal } from '../problems.js';
import { addPadding, pairOf, windowPadding } from './conv.js';

interface Window {
  readonly kernel: Pair;
  readonly stride: Pair;
  /** Of the pool itself, with what `ceil_mode` adds at the bottom and right. */
  readonly padding: Padding;
  /** Rows and columns that only `ceil_mode` adds. */
  readonly ceiling: Padding;
}

function windowOf(network: Lowering, node: OnnxNode, input: string, around: Padding): Window {
  const [height, width, ...more] = node.ints('kernel_shape') ?? [];
  if (height === undefined || width === undefined || more.length > 0) throw new Refusal('its window has not two dimensions', 'Networks here are of images: two dimensions.');
  if (pairOf(node, 'dilations').some((n) => n !== 1)) throw new Refusal('its window is dilated', 'Pool without dilation.');
  const kernel: Pair = [height, width];
  const stride = pairOf(node, 'strides');
  const padding = windowPadding(network, node, input, kernel, stride, around);
  const ceiling: Padding = node.int('ceil_mode', 0) === 0 ? [0, 0, 0, 0] : ceilPadding(network.writer.shape(input), kernel, stride, addPadding(around, padding));
  return { kernel, stride, padding: addPadding(padding, ceiling), ceiling };
}

/** What makes the last, incomplete window whole; a window that would begin behind the map and its padding is none. */
function ceilPadding(shape: readonly number[], kernel: Pair, stride: Pair, padding: Padding): Padding {
  const [bottom, right] = [0, 1].map((axis) => {
    const size = shape[axis + 1]! + padding[axis]! + padding[axis + 2]!;
    let windows = Math.ceil((size - kernel[axis]!) / stride[axis]!) + 1;
    if ((windows - 1) * stride[axis]! >= shape[axis + 1]! + padding[axis]!) windows--;
    return Math.max(0, (windows - 1) * stride[axis]! + kernel[axis]! - size);
  });
  return [0, 0, bottom!, right!];
}

/** MaxPool. Zeros around the map count as they are where no value is negative. */
export const maxPool: Operator = (network, node) => {
  if (node.outputs[1] !== undefined && network.readersOf(node.outputs[1]) > 0) {
    throw new Refusal('another node reads the positions of its maxima', 'Export the network without unpooling.');
  }
  const value = network.value(node);
  let { node: input, padding: around } = network.padded(value);
  if (around.some((n) => n > 0) && !network.isPositive(input)) {
    input = network.map(value);
    around = [0, 0, 0, 0];
  }
  const { kernel, stride, padding } = windowOf(network, node, input, around);
  return [written(network, network.writer.add(node.name, { op: 'maxPool', input, kernel, stride, padding: addPadding(around, padding) }))];
};

/** AveragePool: without padding as it is; with padding that counts, a convolution. */
export const averagePool: Operator = (network, node) => {
  const { node: input, padding: around } = network.padded(network.value(node));
  const { kernel, stride, padding, ceiling } = windowOf(network, node, input, around);
  const own = padding.some((n) => n > 0);
  const counted = node.int('count_include_pad', 0) === 1 && ceiling.every((n) => n === 0);
  if (own && !counted) {
    throw new Refusal('its windows at the border average fewer values than the others', 'Pool without padding and ceil_mode, or with padding that counts (count_include_pad).');
  }
  const all = addPadding(around, padding);
  if (all.some((n) => n > 0)) return [averageConv(network, node.name, input, kernel, stride, all)];
  const shape = network.writer.shape(input);
  const global = kernel[0] === shape[1] && kernel[1] === shape[2];
  return [written(network, network.writer.add(node.name, global ? { op: 'globalAvgPool', input } : { op: 'avgPool', input, kernel, stride }))];
};

function averageConv(network: Lowering, name: string, input: string, kernel: Pair, stride: Pair, padding: Padding): Value {
  const channels = network.writer.shape(input)[0]!;
  const area = kernel[0] * kernel[1];
  const node = network.writer.add(name, { op: 'conv2d', input, outChannels: channels, kernel, stride, padding, groups: channels, bias: false });
  network.writer.parameter(node, 'weight', [channels, 1, ...kernel], new Float32Array(channels * area).fill(1 / area));
  return written(network, node);
}

export const globalAveragePool: Operator = (network, node) => [overMap(network, node, 'mean', network.map(network.value(node)))];
export const globalMaxPool: Operator = (network, node) => [overMap(network, node, 'maximum', network.map(network.value(node)))];

/** ReduceMean and ReduceMax over rows and columns. */
export function reduce(kind: 'mean' | 'maximum'): Operator {
  return async (network, node) => {
    const value = network.plain(network.value(node));
    const rank = value.axes.length;
    const axes = (await network.ints(node, 'axes', 1))?.map((axis) => (axis < 0 ? axis + rank : axis)) ?? value.axes.map((_, i) => i);
    const reduced = axes.map((axis) => value.axes[axis]);
    const open = value.axes.filter((axis) => (axis === 'H' || axis === 'W') && !reduced.includes(axis));
    if (reduced.some((axis) => axis === undefined)) throw invalidFile(`${node.op} "${node.name}" has axes [${axes.join(', ')}] of ${rank}`);
    if (reduced.includes('N') || reduced.includes('C') || open.length > 0) {
      throw new Refusal('it reduces other dimensions than rows and columns', 'Reduce over the whole map of each channel.');
    }
    const { node: name } = reduced.every((axis) => axis === '1') ? value : overMap(network, node, kind, value.node);
    const keep = node.int('keepdims', 1) === 1;
    const left = value.axes.flatMap((axis, i) => (axes.includes(i) ? (keep ? (['1'] as const) : []) : [axis]));
    return [{ node: name, axes: left }];
  };
}

function overMap(network: Lowering, node: OnnxNode, kind: 'mean' | 'maximum', input: string): Value {
  const [, height, width] = network.writer.shape(input) as [number, number, number];
  if (kind === 'mean') return written(network, network.writer.add(node.name, { op: 'globalAvgPool', input }));
  const kernel: Pair = [height, width];
  return written(network, network.writer.add(node.name, { op: 'maxPool', input, kernel, stride: kernel, padding: [0, 0, 0, 0] }));
}

function written(network: Lowering, node: string): Value {
  return { node, axes: ownAxes(network.writer.shape(node)) };
}
