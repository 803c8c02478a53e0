import type { Conv2dNode, Shape } from '../../graph/graph.js';
import type { OnnxBuilder } from '../../onnx/builder.js';
import type { Device } from '../../onnx/device.js';
import { elementCount } from '../../tensor.js';

export interface ConvGeometry {
  readonly node: Conv2dNode;
  readonly input: Shape;
  readonly output: Shape;
}

export function convGeometry(node: Conv2dNode, shapes: ReadonlyMap<string, Shape>): ConvGeometry {
  return { node, input: shapes.get(node.input)!, output: shapes.get(node.name)! };
}

/** The gradient of a convolution's weights, [Cout, Cin / groups, kh, kw]. */
export function weightGradient(onnx: OnnxBuilder, device: Device, geometry: ConvGeometry, input: string, gradient: string): string {
  const { node, input: inShape } = geometry;
  if (device === 'cuda' && node.groups === 1) return stackedGradient(onnx, geometry, input, gradient);
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

/**
 * All taps in one product. Shifted copies of the maps, one a tap, stand beside each other as channels: the columns of the
 * kernel as copies of the input, its rows as copies of the gradient, so that six copies make nine taps. Strided
 * convolutions take every tap from the input. In float16 on an H100, a slice and a product per tap took 1.5 times as long,
 * copies by a depthwise convolution 4 times.
 */
function stackedGradient(onnx: OnnxBuilder, { node, input, output }: ConvGeometry, value: string, gradient: string): string {
  const [kh, kw] = node.kernel;
  const [top, left, bottom, right] = node.padding;
  const [channels, height] = input as [number, number, number];
  const [above, below] = [kh - 1 - top, kh - 1 - bottom];
  const [width, positions] = [output[2]!, output[1]! * output[2]!];
  if (node.stride.some((stride) => stride > 1) || above < 0 || below < 0) {
    const taps = stackTaps(onnx, value, tapOffsets(node), node, output);
    const product = channelProduct(onnx, gradient, taps, node.outChannels, channels * kh * kw, positions);
    return onnx.node('Reshape', [product, onnx.ints([node.outChannels, channels, kh, kw])], {}, 'dW');
  }
  const columnTaps = Array.from({ length: kw }, (_, x): [number, number] => [0, x]);
  const columns = stackTaps(onnx, value, columnTaps, { ...node, padding: [0, left, 0, right] }, [channels, height, width]);
  const shifts = Array.from({ length: kh }, (_, y) => top - y);
  const rows = stackRows(onnx, gradient, output, shifts, height);
  const product = channelProduct(onnx, rows, columns, node.outChannels * kh, channels * kw, height * width);
  const apart = onnx.node('Reshape', [product, onnx.ints([node.outChannels, kh, channels, kw])]);
  return onnx.node('Transpose', [apart], { perm: [0, 2, 1, 3] }, 'dW');
}

/** [N, C, H, W] -> [N, C, taps, H', W']: what each tap meets at every output position. */
function stackTaps(onnx: OnnxBuilder, value: string, taps: readonly [number, number][], node: Conv2dNode, output: Shape): string {
  const [top, left, bottom, right] = node.padding;
  const padded = isPadded(node) ? onnx.node('Pad', [value, onnx.ints([0, 0, top, left, 0, 0, bottom, right])]) : value;
  const slices = taps.map(([y, x]) => sliceTap(onnx, node, output, padded, [2, 3], y, x));
  if (slices.length === 1) return slices[0]!;
  return onnx.node('Concat', slices.map((slice) => onnx.node('Unsqueeze', [slice, onnx.ints([2])])), { axis: 2 });
}

/**
 * [N, C, H, W] -> [N, C, shifts, height W]: row y of copy s is row y + s, 0 outside. Rows lie behind each other in memory, so
 * that one Concat makes all copies.
 */
function stackRows(onnx: OnnxBuilder, value: string, [channels, height, width]: Shape, shifts: readonly number[], rows: number): string {
  if (shifts.length === 1 && shifts[0] === 0 && rows === height) return value;
  const flat = onnx.node('Reshape', [value, onnx.ints([-1, channels!, height! * width!])]);
  const images = onnx.node('Shape', [value], { start: 0, end: 1 });
  const zeros = (count: number): string[] =>
    count === 0 ? [] : [onnx.node('Expand', [onnx.floats(0), onnx.node('Concat', [images, onnx.ints([channels!, count * width!])], { axis: 0 })])];
  const parts = shifts.flatMap((shift) => {
    const [first, end] = [clamp(shift, height!), clamp(rows + shift, height!)];
    const whole = first === 0 && end === height;
    const kept = whole ? flat : onnx.node('Slice', [flat, onnx.ints([first * width!]), onnx.ints([end * width!]), onnx.ints([2])]);
    const before = Math.min(rows, Math.max(0, -shift));
    return [...zeros(before), ...(end > first ? [kept] : []), ...zeros(rows - before - (end - first))];
  });
  return onnx.node('Concat', parts, { axis: 2 });
}

function clamp(value: number, highest: number): number {
  return Math.min(Math.max(value, 0), highest);
}

/** Positions below which products per image would write more than they read. */
const fewPositions = 128;

/** Sum over images and positions of a (x) b, from maps [N, A, P] and [N, B, P]: [A, B]. */
function channelProduct(onnx: OnnxBuilder, a: string, b: string, rows: number, columns: number, positions: number): string {
  if (positions >= fewPositions) {
    const left = onnx.node('Reshape', [a, onnx.ints([-1, rows, positions])]);
    const right = onnx.node('Transpose', [onnx.node('Reshape', [b, onnx.ints([-1, columns, positions])])], { perm: [0, 2, 1] });
    return onnx.node('ReduceSum', [onnx.node('MatMul', [left, right]), onnx.ints([0])], { keepdims: 0 });
  }
  const last = (value: string, channels: number): string => {
    const flat = onnx.node('Transpose', [onnx.node('Reshape', [value, onnx.ints([-1, channels * positions])])], { perm: [1, 0] });
    return onnx.node('Reshape', [flat, onnx.ints([channels, -1])]);
  };
  return onnx.node('MatMul', [last(a, rows), onnx.node('Transpose', [last(b, columns)], { perm: [1, 0] })]);
}
