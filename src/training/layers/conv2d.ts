import type { Conv2dNode } from '../../graph/graph.js';
import { convAttributes, emitWeight } from '../../onnx/layers.js';
import type { OnnxBuilder } from '../../onnx/builder.js';
import { convGeometry, weightGradient, type ConvGeometry } from './convWeightGradient.js';
import type { LayerRule } from './rule.js';

export const conv2dRule: LayerRule<Conv2dNode> = ({ onnx, shapes, device }, node, [input]) => {
  const parameter = `${node.name}.weight`;
  const weight = emitWeight(onnx, node);
  const bias = `${node.name}.bias`;
  const geometry = convGeometry(node, shapes);
  return {
    value: onnx.node('Conv', node.bias ? [input!.value, weight, bias] : [input!.value, weight], convAttributes(node), node.name),
    backward: (gradient, needsInput) => ({
      inputs: [needsInput ? inputGradient(onnx, geometry, weight, gradient) : undefined],
      parameters: {
        get [parameter]() {
          return weightGradient(onnx, device, geometry, input!.value, gradient);
        },
        ...(node.bias ? { [bias]: onnx.node('ReduceSum', [gradient, onnx.ints([0, 2, 3])], { keepdims: 0 }) } : {}),
      },
    }),
  };
};

function inputGradient(onnx: OnnxBuilder, geometry: ConvGeometry, weight: string, gradient: string): string {
  const { node, input, output } = geometry;
  const [kh, kw] = node.kernel;
  const [top, left, bottom, right] = node.padding;
  const pads = [kh - 1 - top, kw - 1 - left, kh - 1 - bottom, kw - 1 - right];
  // A plain convolution is measured 1.6 times as fast as ConvTranspose on the CPU.
  if (node.stride[0] === 1 && node.stride[1] === 1 && pads.every((pad) => pad >= 0)) {
    const turned = turnedWeight(onnx, geometry, weight);
    return onnx.node('Conv', [gradient, turned], { kernel_shape: [kh, kw], pads, strides: [1, 1], group: node.groups }, 'dX');
  }
  const outputPadding = [0, 1].map((axis) => {
    const covered = (output[axis + 1]! - 1) * node.stride[axis]! + node.kernel[axis]!;
    return input[axis + 1]! + node.padding[axis]! + node.padding[axis + 2]! - covered;
  });
  return onnx.node('ConvTranspose', [gradient, weight], { ...convAttributes(node), output_padding: outputPadding }, 'dX');
}

/** [Cout, Cin/g, kh, kw] -> [Cin, Cout/g, kh, kw], turned by 180 degrees. */
function turnedWeight(onnx: OnnxBuilder, { node, input }: ConvGeometry, weight: string): string {
  const [kh, kw] = node.kernel;
  const groups = node.groups;
  const [outPer, inPer] = [node.outChannels / groups, input[0]! / groups];
  let turned: string;
  if (groups === 1) {
    turned = onnx.node('Transpose', [weight], { perm: [1, 0, 2, 3] });
  } else {
    const split = onnx.node('Reshape', [weight, onnx.ints([groups, outPer, inPer, kh * kw])]);
    const swapped = onnx.node('Transpose', [split], { perm: [0, 2, 1, 3] });
    turned = onnx.node('Reshape', [swapped, onnx.ints([input[0]!, outPer, kh, kw])]);
  }
  if (kh === 1 && kw === 1) return turned;
  const minimum = -(2 ** 31);
  return onnx.node('Slice', [turned, onnx.ints([-1, -1]), onnx.ints([minimum, minimum]), onnx.ints([2, 3]), onnx.ints([-1, -1])]);
}

