import type { AvgPoolNode, FlattenNode, GlobalAvgPoolNode, MaxPoolNode } from '../../graph/graph.js';
import type { OnnxBuilder } from '../../onnx/builder.js';
import { poolAttributes } from '../../onnx/layers.js';
import type { LayerRule } from './rule.js';

export const avgPoolRule: LayerRule<AvgPoolNode> = ({ onnx, shapes }, node, [input]) => {
  const [channels, height, width] = shapes.get(node.input) as [number, number, number];
  const [, outHeight, outWidth] = shapes.get(node.name) as [number, number, number];
  const [kh, kw] = node.kernel;
  const tiles = node.stride[0] === kh && node.stride[1] === kw && outHeight * kh === height && outWidth * kw === width;
  return {
    value: onnx.node('AveragePool', [input!.value], poolAttributes(node), node.name),
    backward: (gradient) => {
      const share = onnx.node('Mul', [gradient, onnx.floats(1 / (kh * kw))]);
      if (tiles) return { inputs: [repeat(onnx, share, [channels, outHeight, outWidth], kh, kw)], parameters: {} };
      const ones = onnx.floats(new Array<number>(channels * kh * kw).fill(1), [channels, 1, kh, kw]);
      const padding = [height - ((outHeight - 1) * node.stride[0] + kh), width - ((outWidth - 1) * node.stride[1] + kw)];
      const attributes = { kernel_shape: node.kernel, strides: node.stride, group: channels, output_padding: padding };
      return { inputs: [onnx.node('ConvTranspose', [share, ones], attributes)], parameters: {} };
    },
  };
};

/** Every value of a [N, C, H, W] map kh x kw times. */
function repeat(onnx: OnnxBuilder, value: string, shape: readonly [number, number, number], kh: number, kw: number): string {
  const [channels, height, width] = shape;
  const apart = onnx.node('Reshape', [value, onnx.ints([-1, channels, height, 1, width, 1])]);
  const wide = onnx.node('Expand', [apart, onnx.ints([1, 1, 1, kh, 1, kw])]);
  return onnx.node('Reshape', [wide, onnx.ints([-1, channels, height * kh, width * kw])]);
}

/** The gradient goes to the largest value of a window, of several equal ones to the first, as in PyTorch. */
export const maxPoolRule: LayerRule<MaxPoolNode> = ({ onnx, shapes }, node, [input]) => {
  const [value, positions] = onnx.nodes('MaxPool', [input!.value], 2, poolAttributes(node), node.name) as [string, string];
  const flat = onnx.ints([-1]);
  return {
    value,
    backward: (gradient) => {
      const count = onnx.node('Reshape', [onnx.node('Size', [input!.value]), flat]);
      const zeros = onnx.node('Expand', [onnx.floats(0), count]);
      const updates = [positions, gradient].map((part) => onnx.node('Reshape', [part, flat]));
      const sums = onnx.node('ScatterElements', [zeros, ...updates], { axis: 0, reduction: 'add' });
      return { inputs: [onnx.node('Reshape', [sums, onnx.ints([-1, ...shapes.get(node.input)!])])], parameters: {} };
    },
  };
};

export const globalAvgPoolRule: LayerRule<GlobalAvgPoolNode> = ({ onnx, shapes }, node, [input]) => {
  const [, height, width] = shapes.get(node.input) as [number, number, number];
  return {
    value: onnx.node('GlobalAveragePool', [input!.value], {}, node.name),
    backward: (gradient) => {
      const share = onnx.node('Mul', [gradient, onnx.floats(1 / (height * width))]);
      return { inputs: [onnx.node('Expand', [share, onnx.ints([1, 1, height, width])])], parameters: {} };
    },
  };
};

export const flattenRule: LayerRule<FlattenNode> = ({ onnx, shapes }, node, [input]) => ({
  value: onnx.node('Flatten', [input!.value], { axis: 1 }, node.name),
  backward: (gradient) => ({
    inputs: [onnx.node('Reshape', [gradient, onnx.ints([-1, ...shapes.get(node.input)!])])],
    parameters: {},
  }),
});
