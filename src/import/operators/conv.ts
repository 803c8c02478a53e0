import type { Padding, Pair } from '../../graph/graph.js';
import { ownAxes, type Lowering, type Operator, type Value } from '../lowering.js';
import type { OnnxNode } from '../node.js';
import { invalidFile, Refusal } from '../problems.js';
import type { Constant } from '../tensor.js';

/** Conv: 2-D, in groups, dilated (a larger kernel with zeros), with any padding. */
export const conv: Operator = async (network, node) => {
  const weight = await network.required(node, 1);
  const bias = await network.constant(node, 2);
  if (weight.dims.length !== 4) throw new Refusal(`its kernel has ${weight.dims.length - 2} dimensions`, 'Networks here are of images: two dimensions.');
  const value = network.value(node);
  const groups = node.int('group', 1);
  if (network.writer.shape(value.node).length === 1) return [linearOfPoint(network, node, value, weight, bias)];
  const { kernel, data } = dilate(weight, pairOf(node, 'dilations'));
  const stride = pairOf(node, 'strides');
  const { node: input, padding } = network.padded(value);
  const [outChannels, perGroup] = weight.dims as [number, number];
  if (network.writer.shape(input)[0] !== perGroup * groups) throw invalidFile(`Conv "${node.name}" has weights of another number of channels than its input`);
  const all = addPadding(padding, windowPadding(network, node, input, kernel, stride, padding));
  const name = network.writer.add(node.name, { op: 'conv2d', input, outChannels, kernel, stride, padding: all, groups, bias: bias !== undefined });
  network.writer.parameter(name, 'weight', [outChannels, perGroup, ...kernel], data);
  if (bias) network.writer.parameter(name, 'bias', [outChannels], bias.data);
  return [{ node: name, axes: ownAxes(network.writer.shape(name)) }];
};

/** A convolution of a vector that stands as a map of one position. */
function linearOfPoint(network: Lowering, node: OnnxNode, value: Value, { dims, data }: Constant, bias: Constant | undefined): Value {
  const [outFeatures, features, height, width] = dims as [number, number, number, number];
  const padded = windowPaddings(node)?.some((n) => n !== 0) ?? false;
  if (height !== 1 || width !== 1 || padded || node.int('group', 1) !== 1 || value.order || value.axes[1] !== 'C') {
    throw new Refusal('it reads a flattened map', 'Convolve before the Flatten.');
  }
  const name = network.writer.add(node.name, { op: 'linear', input: network.vector(value), outFeatures, bias: bias !== undefined });
  network.writer.parameter(name, 'weight', [outFeatures, features], data);
  if (bias) network.writer.parameter(name, 'bias', [outFeatures], bias.data);
  return { node: name, axes: ['N', 'C', '1', '1'] };
}

/** The kernel with `dilation - 1` zeros between its taps. */
function dilate({ dims, data }: Constant, [down, right]: Pair): { readonly kernel: Pair; readonly data: Constant['data'] } {
  const [outer, inner, height, width] = dims as [number, number, number, number];
  const kernel: Pair = [(height - 1) * down + 1, (width - 1) * right + 1];
  if (down === 1 && right === 1) return { kernel, data };
  const larger = new Float32Array(outer * inner * kernel[0] * kernel[1]);
  data.forEach((w, i) => {
    const [filter, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
    larger[(filter * kernel[0] + y * down) * kernel[1] + x * right] = w;
  });
  return { kernel, data: larger };
}

/** Two numbers of an attribute, 1 and 1 where it is missing. */
export function pairOf(node: OnnxNode, attribute: string): Pair {
  const values = node.ints(attribute) ?? [1, 1];
  if (values.length !== 2) throw new Refusal(`its ${attribute} are ${values.length}`, 'Networks here are of images: two dimensions.');
  return values as unknown as Pair;
}

export function addPadding(a: Padding, b: Padding): Padding {
  return a.map((n, i) => n + b[i]!) as unknown as Padding;
}

/** What `pads` says; undefined where `auto_pad` decides. */
function windowPaddings(node: OnnxNode): Padding | undefined {
  const mode = node.text('auto_pad', 'NOTSET');
  if (mode === 'SAME_UPPER' || mode === 'SAME_LOWER') return undefined;
  const pads = mode === 'VALID' ? [0, 0, 0, 0] : (node.ints('pads') ?? [0, 0, 0, 0]);
  if (pads.length !== 4 || pads.some((n) => n < 0)) throw new Refusal(`its pads are [${pads.join(', ')}]`, 'Give four numbers from 0 on.');
  return pads as unknown as Padding;
}

/** The padding of a window of its own, over a map that may have zeros around it already. */
export function windowPadding(network: Lowering, node: OnnxNode, input: string, kernel: Pair, stride: Pair, around: Padding): Padding {
  const stated = windowPaddings(node);
  if (stated) return stated;
  const [, height, width] = network.writer.shape(input) as [number, number, number];
  const total = [height + around[0] + around[2], width + around[1] + around[3]].map((size, axis) =>
    Math.max(0, (Math.ceil(size / stride[axis]!) - 1) * stride[axis]! + kernel[axis]! - size),
  ) as unknown as Pair;
  const less = total.map((n) => Math.floor(n / 2)) as unknown as Pair;
  const more: Pair = [total[0] - less[0], total[1] - less[1]];
  return node.text('auto_pad', '') === 'SAME_UPPER' ? [less[0], less[1], more[0], more[1]] : [more[0], more[1], less[0], less[1]];
}
