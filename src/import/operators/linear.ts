import type { Lowering, Operator, Value } from '../lowering.js';
import { Refusal } from '../problems.js';
import type { Constant } from '../tensor.js';

/** alpha A B + beta C, with B a constant; the product of a matrix that depends on the image with another such is attention. */
export const gemm: Operator = async (network, node) => {
  if (node.int('transA', 0) !== 0) throw new Refusal('it transposes the images', 'Export the network with the batch as the first dimension.');
  const alpha = node.float('alpha', 1);
  const weight = await network.required(node, 1);
  const bias = await network.constant(node, 2);
  const value = network.value(node);
  const result = linear(network, node.name, value, node.int('transB', 0) === 1 ? weight : transposed(weight), alpha);
  if (!bias) return [result];
  const beta = node.float('beta', 1);
  const terms = network.perChannel(bias, result);
  const { outFeatures } = network.writer.find(result.node) as { outFeatures: number };
  network.writer.addBias(result.node, Float64Array.from({ length: outFeatures }, (_, o) => beta * (terms[o] ?? terms[0]!)));
  return [result];
};

/** A B, with B a constant: of vectors, or of each position of a map whose channels stand last. */
export const matMul: Operator = async (network, node) => {
  if (network.isConstant(node, 0)) throw new Refusal('it multiplies a constant from the left', 'Write it as value times weight.');
  const weight = await network.required(node, 1);
  if (weight.dims.length !== 2) throw new Refusal(`its weight is [${weight.dims.join(', ')}]`, 'Take a matrix.');
  const value = network.plain(network.value(node));
  const wide = value.axes.filter((axis) => axis !== '1');
  if (wide.length === 2) return [linear(network, node.name, value, transposed(weight), 1)];
  if (value.axes.at(-1) !== 'C' || value.axes.length !== 4) throw new Refusal('it multiplies along another dimension than the channels', 'Take a convolution.');
  const [outChannels, inChannels] = [weight.dims[1]!, weight.dims[0]!];
  const convolution = { op: 'conv2d', input: value.node, outChannels, kernel: [1, 1], stride: [1, 1], padding: [0, 0, 0, 0], groups: 1, bias: false } as const;
  const name = network.writer.add(node.name, convolution);
  network.writer.parameter(name, 'weight', [outChannels, inChannels, 1, 1], transposed(weight).data);
  return [{ node: name, axes: value.axes }];
};

/** @param weight [outFeatures, inFeatures], in the order of the value's features */
function linear(network: Lowering, name: string, value: Value, { dims, data }: Constant, factor: number): Value {
  const [outFeatures, features] = dims as [number, number];
  const input = network.vector(value);
  if (network.writer.shape(input)[0] !== features) throw new Refusal(`its weight takes ${features} features of ${network.writer.shape(input)[0]}`, 'Export the network again.');
  const node = network.writer.add(name, { op: 'linear', input, outFeatures, bias: false });
  network.writer.parameter(node, 'weight', [outFeatures, features], arranged(data, features, factor, value.order));
  const axes = value.axes.at(-1) === 'C' ? value.axes : (['N', 'C'] as const);
  return { node, axes };
}

/** The weights times `factor`, those of feature i at its place `order[i]`. */
function arranged(data: Constant['data'], features: number, factor: number, order: readonly number[] | undefined): Constant['data'] {
  if (factor === 1 && !order) return data;
  const weight = new Float32Array(data.length);
  for (let at = 0; at < data.length; at += features) {
    for (let i = 0; i < features; i++) weight[at + (order ? order[i]! : i)] = factor * data[at + i]!;
  }
  return weight;
}

function transposed({ dims, data }: Constant): Constant {
  const [rows, columns] = dims as [number, number];
  const turned = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) turned[c * rows + r] = data[r * columns + c]!;
  return { dims: [columns, rows], data: turned };
}
