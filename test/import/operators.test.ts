import { describe, expect, it } from 'vitest';
import type { GraphNode } from '../../src/graph/graph.js';
import { readOnnx } from '../../src/import/readOnnx.js';
import type { OnnxBuilder } from '../../src/onnx/builder.js';
import { elementCount } from '../../src/tensor.js';
import { compareWithFile, onnxModel, weight } from '../support/onnxFiles.js';

type Body = (b: OnnxBuilder, x: string) => string;
const map = [4, 7, 6];

/** Averages and a linear layer behind a map of `channels`, so that the values of all its positions count. */
function head(b: OnnxBuilder, x: string, shape: readonly number[]): string {
  return b.node('Gemm', [b.node('Flatten', [x]), weight(b, 'head', [3, elementCount(shape)]), weight(b, 'head.bias', [3])], { transB: 1 });
}
const conv = (b: OnnxBuilder, x: string, shape: readonly number[], attributes = {}): string =>
  b.node('Conv', [x, weight(b, `w${shape.join('x')}`, shape), weight(b, `b${shape[0]}`, [shape[0]!])], attributes);
const relu = (b: OnnxBuilder, x: string): string => b.node('Relu', [x]);
const floats = (b: OnnxBuilder, values: readonly number[], shape: readonly number[]): string => b.floats(values, shape);
const far = Number.MAX_SAFE_INTEGER;

/** One small file for each operator and setting: what it shows, the shape at its head, how it is written; [shape of the image]. */
const files: Record<string, readonly [shape: readonly number[], body: Body, input?: readonly number[], version?: number]> = {
  'Conv with dilation and uneven padding': [[6, 8, 7], (b, x) => conv(b, x, [6, 4, 2, 3], { dilations: [2, 2], pads: [1, 2, 2, 3] })],
  'Conv in groups with stride': [[6, 4, 3], (b, x) => conv(b, x, [6, 2, 3, 3], { group: 2, strides: [2, 2], pads: [1, 1, 1, 1] })],
  'Conv, auto_pad SAME_UPPER': [[2, 4, 3], (b, x) => conv(b, x, [2, 4, 4, 3], { auto_pad: 'SAME_UPPER', strides: [2, 2] })],
  'Conv, auto_pad SAME_LOWER': [[2, 4, 3], (b, x) => conv(b, x, [2, 4, 4, 3], { auto_pad: 'SAME_LOWER', strides: [2, 2] })],
  'Conv, auto_pad VALID': [[2, 5, 4], (b, x) => conv(b, x, [2, 4, 3, 3], { auto_pad: 'VALID' })],
  'Pad before Conv': [[2, 7, 8], (b, x) => conv(b, b.node('Pad', [x, b.ints([0, 0, 0, 1, 0, 0, 2, 2])]), [2, 4, 3, 2], {})],
  'Pad as attributes': [[4, 8, 8], (b, x) => b.node('Pad', [x], { pads: [0, 0, 0, 1, 0, 0, 1, 1] }), map, 9],
  'Pad of named axes': [[4, 7, 8], (b, x) => b.node('Pad', [relu(b, x), b.ints([1, 1]), b.floats(0), b.ints([-1])])],
  'Pad that crops': [[4, 6, 5], (b, x) => b.node('Pad', [x, b.ints([0, 0, -1, 0, 0, 0, 0, -1])])],
  'option-A shortcut: strided Slice, Pad of channels': [
    [8, 4, 3],
    (b, x) => b.node('Pad', [b.node('Slice', [x, b.ints([0, 0]), b.ints([far, far]), b.ints([2, 3]), b.ints([2, 2])]), b.ints([0, 2, 0, 0, 0, 2, 0, 0])]),
  ],
  'Slice from an offset, Pad on top': [
    [4, 5, 6],
    (b, x) => b.node('Pad', [b.node('Slice', [x, b.ints([3]), b.ints([far]), b.ints([2])]), b.ints([0, 0, 1, 0, 0, 0, 0, 0])]),
  ],
  'Slice of channels': [[2, 7, 6], (b, x) => b.node('Slice', [x, b.ints([1]), b.ints([4]), b.ints([1]), b.ints([2])])],
  'Slice in old form': [[4, 5, 6], (b, x) => b.node('Slice', [x], { axes: [2], starts: [1], ends: [-1] }), map, 9],
  'Split of channels': [[4, 7, 6], (b, x) => b.node('Concat', b.nodes('Split', [x, b.ints([1, 3])], 2, { axis: 1 }).reverse(), { axis: 1 })],
  'MaxPool with ceil_mode': [[4, 3, 3], (b, x) => b.node('MaxPool', [x], { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1, pads: [0, 0, 0, 0] })],
  'MaxPool with ceil_mode, and a window behind the map that is none': [[4, 1, 1], (b, x) => b.node('GlobalAveragePool', [b.node('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1, pads: [1, 1, 1, 1] })])],
  'MaxPool, auto_pad': [[4, 4, 3], (b, x) => b.node('MaxPool', [x], { kernel_shape: [3, 3], strides: [2, 2], auto_pad: 'SAME_UPPER' })],
  'Pad before MaxPool of negative values': [[4, 4, 3], (b, x) => b.node('MaxPool', [b.node('Pad', [x, b.ints([0, 0, 1, 0, 0, 0, 0, 0])])], { kernel_shape: [2, 2], strides: [2, 2] })],
  'Pad before MaxPool of a rectifier': [[4, 4, 3], (b, x) => b.node('MaxPool', [b.node('Pad', [relu(b, x), b.ints([0, 0, 1, 0, 0, 0, 0, 0])])], { kernel_shape: [2, 2], strides: [2, 2] })],
  AveragePool: [[4, 3, 2], (b, x) => b.node('AveragePool', [x], { kernel_shape: [3, 3], strides: [2, 2] })],
  'AveragePool with padding that counts': [[4, 4, 3], (b, x) => b.node('AveragePool', [x], { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 1, 0], count_include_pad: 1 })],
  'Pad before AveragePool': [[4, 4, 3], (b, x) => b.node('AveragePool', [b.node('Pad', [x, b.ints([0, 0, 1, 0, 0, 0, 0, 0])])], { kernel_shape: [2, 2], strides: [2, 2] })],
  'AveragePool over the whole map': [[4, 1, 1], (b, x) => b.node('AveragePool', [x], { kernel_shape: [7, 6] })],
  GlobalMaxPool: [[4, 1, 1], (b, x) => b.node('GlobalMaxPool', [x])],
  'ReduceMax, dimensions dropped': [[4], (b, x) => b.node('ReduceMax', [x, b.ints([2, 3])], { keepdims: 0 })],
  'ReduceMean in old form, behind a Transpose': [[4, 1, 1], (b, x) => b.node('ReduceMean', [b.node('Transpose', [x], { perm: [0, 2, 3, 1] })], { axes: [-3, 2], keepdims: 1 }), map, 13],
  'Squeeze, then a channel-wise scale': [[4], (b, x) => b.node('Mul', [b.node('Squeeze', [b.node('GlobalAveragePool', [x]), b.ints([2, 3])]), floats(b, [1, -2, 3, 4], [4])])],
  'Unsqueeze and a convolution of one position': [[3, 1, 1], (b, x) => conv(b, b.node('Unsqueeze', [x, b.ints([2, -1])]), [3, 5, 1, 1]), [5]],
  'Concat of a rectifier and a map': [[8, 7, 6], (b, x) => b.node('Concat', [relu(b, x), x], { axis: -3 })],
  'Concat with the channels last': [[7, 6, 8], (b, x) => { const t = b.node('Transpose', [x], { perm: [0, 2, 3, 1] }); return b.node('Concat', [relu(b, t), t], { axis: 3 }); }],
  'MatMul of every position': [[7, 6, 5], (b, x) => b.node('Add', [b.node('MatMul', [b.node('Transpose', [x], { perm: [0, 2, 3, 1] }), weight(b, 'm', [4, 5])]), weight(b, 't', [5])])],
  'Gemm with alpha, beta and a scalar bias': [[5], (b, x) => b.node('Gemm', [x, weight(b, 'm', [6, 5]), b.floats([0.7])], { alpha: { float: 0.5 }, beta: { float: 2 } }), [6]],
  'Reshape by a shape that the file computes': [
    [168],
    (b, x) => b.node('Reshape', [x, b.node('Concat', [b.node('Shape', [x], { start: 0, end: 1 }), b.ints([-1])], { axis: 0 })]),
  ],
  'Reshape with zeros': [[4, 42], (b, x) => b.node('Reshape', [x, b.ints([0, -1])])],
  'a scale and a term for each channel': [[4, 7, 6], (b, x) => b.node('Sub', [b.node('Div', [x, floats(b, [1, 2, 4, 8], [4, 1, 1])]), floats(b, [1, 0, -1, 2], [1, 4, 1, 1])])],
  'a constant minus the value': [[4, 7, 6], (b, x) => relu(b, b.node('Sub', [b.floats(0.5), x]))],
  'Neg and Sum': [[4, 7, 6], (b, x) => b.node('Sum', [b.node('Neg', [relu(b, x)]), x, x])],
  'Max and Min with constants': [[4, 7, 6], (b, x) => b.node('Min', [b.node('Max', [b.floats(0), x]), b.floats(1.5)])],
  'Clip as attributes': [[4, 7, 6], (b, x) => b.node('Clip', [x], { min: { float: 0 }, max: { float: 0.8 } }), map, 9],
  'Clip to negative values': [[4, 7, 6], (b, x) => b.node('Clip', [x, b.floats(-0.5), b.floats(1)])],
  'Clip of a multiple': [[4, 7, 6], (b, x) => b.node('Mul', [b.node('Clip', [b.node('Div', [x, b.floats(1.3)]), b.floats(0), b.floats(1)]), b.floats(1.3)])],
  'Clip of a rectifier that others read': [[4, 7, 6], (b, x) => { const y = relu(b, x); return b.node('Add', [b.node('Clip', [y, b.floats(0), b.floats(0.5)]), y]); }],
  'Floor without a half': [[4, 7, 6], (b, x) => b.node('Clip', [b.node('Floor', [b.node('Mul', [x, b.floats(2)])]), b.floats(0), b.floats(3)])],
  'Round, then Clip per channel': [[4, 7, 6], (b, x) => { const s = floats(b, [0.2, 0.3, 0.4, 0.5], [4, 1, 1]); return b.node('Mul', [b.node('Clip', [b.node('Round', [b.node('Div', [x, s])]), b.floats(0), b.floats(3)]), s]); }],
  'bounds of a value scaled per channel': [[4, 7, 6], (b, x) => relu(b, b.node('Add', [b.node('Mul', [relu(b, x), floats(b, [1, -2, 3, -4], [4, 1, 1])]), b.floats(1)]))],
  'Cast, Identity, Dropout': [[4, 7, 6], (b, x) => b.node('Dropout', [b.node('Identity', [b.node('Cast', [x], { to: 1 })])])],
  'LogSoftmax left out': [[4], (b, x) => b.node('GlobalAveragePool', [x])],
};

describe('an operator computes what ONNX Runtime computes', () => {
  it.each(Object.entries(files))('%s', async (_, [shape, body, input = map, version]) => {
    const model = onnxModel(input, (b, x) => head(b, body(b, x), shape), version);
    const { worst, spread } = await compareWithFile(model, await readOnnx(model));
    expect(spread).toBeGreaterThan(0.1);
    expect(worst).toBeLessThan(1e-5 * Math.max(1, spread));
  });
});

const read = async (shape: readonly number[], body: Body): Promise<readonly GraphNode[]> => (await readOnnx(onnxModel(shape, body))).graph.nodes;

describe('the graph is as small as it can be', () => {
  it('a bias after a product joins it', async () => {
    const nodes = await read([6], (b, x) => b.node('Add', [b.node('MatMul', [x, weight(b, 'm', [6, 5])]), weight(b, 't', [5])]));
    expect(nodes.map(({ op }) => op)).toEqual(['linear']);
    expect(nodes[0]).toMatchObject({ bias: true, outFeatures: 5 });
  });

  it('zeros around a map join the padding of the convolution', async () => {
    const nodes = await read(map, (b, x) => head(b, conv(b, b.node('Pad', [x, b.ints([0, 0, 0, 1, 0, 0, 2, 2])]), [2, 4, 3, 2], { pads: [1, 1, 1, 1] }), [2, 9, 10]));
    expect(nodes.map(({ op }) => op)).toEqual(['conv2d', 'flatten', 'linear']);
    expect(nodes[0]).toMatchObject({ padding: [1, 2, 3, 3] });
  });

  it('a strided slice with blank channels is one convolution', async () => {
    const nodes = await read(map, (b, x) => head(b, files['option-A shortcut: strided Slice, Pad of channels']![1](b, x), [8, 4, 3]));
    expect(nodes[0]).toMatchObject({ op: 'conv2d', kernel: [1, 1], stride: [2, 2], outChannels: 8, groups: 1 });
    expect(nodes).toHaveLength(3);
  });

  it('a rectifier of a rectifier is one', async () => {
    const nodes = await read(map, (b, x) => head(b, relu(b, b.node('MaxPool', [relu(b, x)], { kernel_shape: [1, 1] })), map));
    expect(nodes.filter(({ op }) => op === 'activation')).toHaveLength(1);
  });
});
