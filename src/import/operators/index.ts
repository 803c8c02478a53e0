import type { Lowering, Operator } from '../lowering.js';
import type { OnnxNode } from '../node.js';
import { Refusal } from '../problems.js';
import { conv } from './conv.js';
import { cast, concat, dropout, flatten, pad, reshape, same, slice, split, squeeze, transpose, unsqueeze } from './layout.js';
import { gemm, matMul } from './linear.js';
import * as pointwise from './pointwise.js';
import { averagePool, globalAveragePool, globalMaxPool, maxPool, reduce } from './pool.js';

/** Softmax at the end: the largest logit stays the largest, so top-1 and the order of classes stay as they are. */
const softmax: Operator = (network, node) => {
  if (node.outputs[0] !== network.outputName) throw new Refusal('it stands inside the network', 'Spikes are weighted by constants only: train a network without attention.');
  network.notes.push(`${node.op} "${node.name}" at the end is left out: it changes no order of the classes.`);
  return same(network, node);
};

/** Every operator that is read. */
export const operators: Readonly<Record<string, Operator>> = {
  Add: pointwise.add,
  AveragePool: averagePool,
  BatchNormalization: pointwise.batchNormalization,
  Cast: cast,
  Clip: pointwise.clip,
  Concat: concat,
  Conv: conv,
  DequantizeLinear: pointwise.dequantizeLinear,
  Div: pointwise.divide,
  Dropout: dropout,
  Flatten: flatten,
  Floor: pointwise.floor,
  Gemm: gemm,
  GlobalAveragePool: globalAveragePool,
  GlobalMaxPool: globalMaxPool,
  Identity: same,
  LogSoftmax: softmax,
  MatMul: matMul,
  Max: pointwise.bound('low'),
  MaxPool: maxPool,
  Min: pointwise.bound('high'),
  Mul: pointwise.multiply,
  Neg: pointwise.negate,
  Pad: pad,
  QuantizeLinear: pointwise.quantizeLinear,
  ReduceMax: reduce('maximum'),
  ReduceMean: reduce('mean'),
  Relu: pointwise.relu,
  Reshape: reshape,
  Round: pointwise.round,
  Slice: slice,
  Softmax: softmax,
  Split: split,
  Squeeze: squeeze,
  Sub: pointwise.subtract,
  Sum: pointwise.sum,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
};

const curved = ['Sigmoid', 'HardSigmoid', 'Tanh', 'Erf', 'Gelu', 'Elu', 'Selu', 'Celu', 'HardSwish', 'Swish', 'Mish', 'Softplus', 'Softsign', 'Exp', 'Pow', 'Sqrt'];
const perImage = ['LayerNormalization', 'InstanceNormalization', 'GroupNormalization', 'LRN', 'LpNormalization', 'MeanVarianceNormalization'];
const reasons: Readonly<Record<string, readonly [why: string, remedy: string]>> = {
  ...Object.fromEntries(curved.map((op) => [op, ['neurons that fire at a rate give a straight line between 0 and a threshold, and this function is curved', 'Replace it by Relu and train again.']])),
  ...Object.fromEntries(perImage.map((op) => [op, ['its factor depends on the image', 'Replace it by BatchNormalization and train again.']])),
  LeakyRelu: ['spikes are never negative, and it gives negative values', 'Replace it by Relu and train again.'],
  PRelu: ['spikes are never negative, and it gives negative values', 'Replace it by Relu and train again.'],
  ConvTranspose: ['networks here classify: they have no layer that enlarges a map', 'Give the network up to the classifier.'],
  Resize: ['networks here classify: they have no layer that enlarges a map', 'Give the network up to the classifier.'],
  Upsample: ['networks here classify: they have no layer that enlarges a map', 'Give the network up to the classifier.'],
  ArgMax: ['a class is no logit', 'Name the value before it as the output: --logits NAME (option output).'],
  TopK: ['a class is no logit', 'Name the value before it as the output: --logits NAME (option output).'],
  If: ['it branches', 'Export without control flow: trace the network instead of scripting it.'],
  Loop: ['it loops', 'Export without control flow: trace the network instead of scripting it.'],
  Scan: ['it loops', 'Export without control flow: trace the network instead of scripting it.'],
};

/** Reads an operator that stands in no list: always a refusal, with the reason where there is one to give. */
export function refuseOperator(op: string): never {
  const [why, remedy] = reasons[op] ?? ['this operator is not read', `Replace it by one of: ${Object.keys(operators).join(', ')}.`];
  throw new Refusal(why, remedy);
}

export function operatorOf(node: OnnxNode): (network: Lowering, node: OnnxNode) => ReturnType<Operator> {
  return Object.hasOwn(operators, node.op) ? operators[node.op]! : () => refuseOperator(node.op);
}
