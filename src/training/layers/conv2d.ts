import { elementCount } from '../../tensor.js';
import type { Conv2dNode, Shape } from '../../graph/graph.js';
import { convAttributes } from '../../onnx/layers.js';
import type { OnnxBuilder } from '../../onnx/builder.js';
import type { LayerRule } from './rule.js';

export const conv2dRule: LayerRule<Conv2dNode> = ({ onnx, shapes }, node, [input]) => {
  const weight = `${node.name}.weight`;
  const bias = `${node.name}.bias`;
  const geometry = convGeometry(node, shapes);
  return {
    value: onnx.node('Conv', node.bias ? [input!.value, weight, bias] : [input!.value, weight], convAttributes(node), node.name),
    backward: (gradient, needsInput) => ({
      inputs: [needsInput ? inputGradient(onnx, geometry, weight, gradient) : undefined],
      parameters: {
        get [weight]() {
          return weightGradient(onnx, geometry, input!.value, gradient);
        },
        ...(node.bias ? { [bias]: onnx.node('ReduceSum', [gradient, onnx.ints([0, 2, 3])], { keepdims: 0 }) } : {}),
      },
    }),
  };
};

interface ConvGeometry {
  readonly node: Conv2dNode;
  readonly input: Shape;
  readonly output: Shape;
}

function convGeometry(node: Conv2dNode, shapes: ReadonlyMap<string, Shape>): ConvGeometry {
  return { node, input: shapes.get(node.input)!, output: shapes.get(node.name)! };
}

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

function weightGradient(onnx: OnnxBuilder, geometry: ConvGeometry, input: string, gradient: string): string {
  const { node, input: inShape } = geometry;
  const taps = node.groups === 1 ? batchLastTaps(onnx, geometry, input, gradient) : groupedTaps(onnx, geometry, input, gradient);
  const shape = [node.outChannels, inShape[0]! / node.groups, ...node.kernel];
  if (taps.length === 1) return onnx.node('Reshape', [taps[0]!, onnx.ints(shape)], {}, 'dW');
  const flat = taps.map((tap) => onnx.node('Reshape', [tap, onnx.ints([elementCount(shape.slice(0, 2)), 1])]));
  const joined = onnx.node('Concat', flat, { axis: 1 });
  return onnx.node('Reshape', [joined, onnx.ints(shape)], {}, 'dW');
}

/**
 * One product over all positions and images a tap, on maps laid out [C, H, W, N]: a plain matrix transpose makes that
 * layout, and a tap is then a slice of long runs. Measured faster than products per image, than the layout [H, W, N, C]
 * (whose transpose costs 20 times as much) and than one convolution with batch and channels swapped. Padded before the
 * transpose: the CUDA provider has a fast kernel for the last two axes of four; any other padding took 0.4 of a step.
 */
function batchLastTaps(onnx: OnnxBuilder, { node, input, output }: ConvGeometry, value: string, gradient: string): string[] {
  const [channels, height, width] = input as [number, number, number];
  const [top, left, bottom, right] = node.padding;
  const padded = isPadded(node) ? onnx.node('Pad', [value, onnx.ints([0, 0, top, left, 0, 0, bottom, right])]) : value;
  const [rowsPadded, columnsPadded] = [height + top + bottom, width + left + right];
  const flat = batchLast(onnx, padded, [channels, rowsPadded, columnsPadded]);
  const maps = onnx.node('Reshape', [flat, onnx.ints([channels, rowsPadded, columnsPadded, -1])]);
  const rows = onnx.node('Reshape', [batchLast(onnx, gradient, output), onnx.ints([node.outChannels, -1])]);
  return tapOffsets(node).map(([y, x]) => {
    const tap = sliceTap(onnx, node, output, maps, [1, 2], y, x);
    const columns = onnx.node('Transpose', [onnx.node('Reshape', [tap, onnx.ints([channels, -1])])], { perm: [1, 0] });
    return onnx.node('MatMul', [rows, columns]);
  });
}

/** [N, C, H, W] -> [C H W, N]. */
function batchLast(onnx: OnnxBuilder, value: string, shape: Shape): string {
  return onnx.node('Transpose', [onnx.node('Reshape', [value, onnx.ints([-1, elementCount(shape)])])], { perm: [1, 0] });
}

/** A product per image and group a tap, summed over the images. */
function groupedTaps(onnx: OnnxBuilder, { node, input, output }: ConvGeometry, value: string, gradient: string): string[] {
  const { groups } = node;
  const positions = output[1]! * output[2]!;
  const [top, left, bottom, right] = node.padding;
  const padded = isPadded(node) ? onnx.node('Pad', [value, onnx.ints([0, 0, top, left, 0, 0, bottom, right])]) : value;
  const rows = onnx.node('Reshape', [gradient, onnx.ints([-1, groups, node.outChannels / groups, positions])]);
  return tapOffsets(node).map(([y, x]) => {
    const tap = sliceTap(onnx, node, output, padded, [2, 3], y, x);
    const maps = onnx.node('Reshape', [tap, onnx.ints([-1, groups, input[0]! / groups, positions])]);
    if (groups === input[0]! && groups === node.outChannels) {
      return onnx.node('ReduceSum', [onnx.node('Mul', [rows, maps]), onnx.ints([0, 3])], { keepdims: 0 });
    }
    const columns = onnx.node('Transpose', [maps], { perm: [0, 1, 3, 2] });
    return onnx.node('ReduceSum', [onnx.node('MatMul', [rows, columns]), onnx.ints([0])], { keepdims: 0 });
  });
}

function isPadded(node: Conv2dNode): boolean {
  return node.padding.some((pad) => pad > 0);
}

function tapOffsets(node: Conv2dNode): [number, number][] {
  const [kh, kw] = node.kernel;
  return Array.from({ length: kh * kw }, (_, i) => [Math.floor(i / kw), i % kw]);
}

/** The values of a padded map that one kernel tap meets, on the two map axes `axes`. */
function sliceTap(onnx: OnnxBuilder, node: Conv2dNode, output: Shape, padded: string, axes: [number, number], y: number, x: number): string {
  const [sy, sx] = node.stride;
  const end = [y + (output[1]! - 1) * sy + 1, x + (output[2]! - 1) * sx + 1];
  return onnx.node('Slice', [padded, onnx.ints([y, x]), onnx.ints(end), onnx.ints(axes), onnx.ints([sy, sx])]);
}
