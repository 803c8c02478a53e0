import type { ActivationNode, AvgPoolNode, BatchNormNode, Conv2dNode, Graph, GraphNode, LinearNode, MaxPoolNode, Shape } from '../../src/graph/graph.js';
import { inputsOf, levelsOf } from '../../src/graph/graph.js';
import { activationParameter } from '../../src/graph/parameters.js';
import { inferShapes } from '../../src/graph/shapes.js';
import { elementCount } from '../../src/tensor.js';

/** Parameters and values in float64: a slow, obvious evaluation that finite differences can trust. */
export type Values = Map<string, Float64Array>;

type ParameterValues = ReadonlyMap<string, ArrayLike<number>>;

export interface ForwardOptions {
  /** Batch statistics instead of the running ones. */
  readonly training: boolean;
  /**
   * Rounding residuals q - clip(u) per activation. When given they are kept, so that a finite difference is the
   * straight-through derivative; otherwise they are computed and, with `record`, written there.
   */
  readonly frozen?: Values;
  readonly record?: Values;
  /** Takes the place of the activations, such as spiking neurons. */
  readonly activate?: (node: ActivationNode, input: Float64Array) => Float64Array;
  /** Takes the place of max-pooling; `largest` is the plain one, `where` says at which positions it finds them. */
  readonly pool?: (
    node: MaxPoolNode,
    input: Float64Array,
    largest: (values: Float64Array) => Float64Array,
    where: (values: Float64Array) => Int32Array,
  ) => Float64Array;
}

/** Every value of the graph for a batch of `count` images. */
export function denseForward(
  graph: Graph,
  parameters: ParameterValues,
  images: Float64Array,
  count: number,
  options: ForwardOptions,
): Values {
  const shapes = inferShapes(graph);
  const values: Values = new Map([[graph.input.name, images]]);
  for (const node of graph.nodes) {
    const inputs = inputsOf(node).map((name) => values.get(name)!);
    values.set(node.name, evaluate(node, inputs, shapes, parameters, count, options));
  }
  return values;
}

function evaluate(node: GraphNode, inputs: Float64Array[], shapes: ReadonlyMap<string, Shape>, parameters: ParameterValues, count: number, options: ForwardOptions): Float64Array {
  const input = inputs[0]!;
  switch (node.op) {
    case 'conv2d':
      return conv2d(node, input, shapes.get(node.input)!, shapes.get(node.name)!, parameters, count);
    case 'linear':
      return linear(node, input, shapes.get(node.input)![0]!, parameters, count);
    case 'batchNorm':
      return batchNorm(node, input, shapes.get(node.input)!, parameters, count, options);
    case 'activation':
      return options.activate?.(node, input) ?? activation(node, input, parameters, options);
    case 'add':
      return input.map((value, i) => value + inputs[1]![i]!);
    case 'avgPool':
      return avgPool(node, input, shapes.get(node.input)!, shapes.get(node.name)!, count);
    case 'maxPool': {
      const where = (values: Float64Array): Int32Array => maxima(node, values, shapes.get(node.input)!, shapes.get(node.name)!, count);
      const largest = (values: Float64Array): Float64Array => Float64Array.from(where(values), (at) => values[at]!);
      return options.pool?.(node, input, largest, where) ?? largest(input);
    }
    case 'concat': {
      const perImage = inputs.map((values) => values.length / count);
      return Float64Array.from(Array.from({ length: count }, (_, n) => inputs.flatMap((values, i) => [...values.subarray(n * perImage[i]!, (n + 1) * perImage[i]!)])).flat());
    }
    case 'globalAvgPool': {
      const [channels, height, width] = shapes.get(node.input) as [number, number, number];
      const area = height * width;
      return Float64Array.from({ length: count * channels }, (_, i) => input.subarray(i * area, (i + 1) * area).reduce((a, b) => a + b) / area);
    }
    case 'flatten':
      return input;
  }
}

function conv2d(node: Conv2dNode, input: Float64Array, inShape: Shape, outShape: Shape, parameters: ParameterValues, count: number): Float64Array {
  const [inC, inH, inW] = inShape as [number, number, number];
  const [outC, outH, outW] = outShape as [number, number, number];
  const [kh, kw] = node.kernel;
  const weight = parameters.get(`${node.name}.weight`)!;
  const bias = node.bias ? parameters.get(`${node.name}.bias`)! : undefined;
  const [inPer, outPer] = [inC / node.groups, outC / node.groups];
  const out = new Float64Array(count * outC * outH * outW);
  let at = 0;
  for (let n = 0; n < count; n++) for (let o = 0; o < outC; o++) for (let y = 0; y < outH; y++) for (let x = 0; x < outW; x++) {
    let sum = bias?.[o] ?? 0;
    for (let i = 0; i < inPer; i++) for (let ky = 0; ky < kh; ky++) for (let kx = 0; kx < kw; kx++) {
      const iy = y * node.stride[0] + ky - node.padding[0];
      const ix = x * node.stride[1] + kx - node.padding[1];
      if (iy < 0 || ix < 0 || iy >= inH || ix >= inW) continue;
      const channel = Math.floor(o / outPer) * inPer + i;
      sum += input[((n * inC + channel) * inH + iy) * inW + ix]! * weight[((o * inPer + i) * kh + ky) * kw + kx]!;
    }
    out[at++] = sum;
  }
  return out;
}

function linear(node: LinearNode, input: Float64Array, features: number, parameters: ParameterValues, count: number): Float64Array {
  const weight = parameters.get(`${node.name}.weight`)!;
  const bias = node.bias ? parameters.get(`${node.name}.bias`)! : undefined;
  return Float64Array.from({ length: count * node.outFeatures }, (_, at) => {
    const [n, o] = [Math.floor(at / node.outFeatures), at % node.outFeatures];
    let sum = bias?.[o] ?? 0;
    for (let i = 0; i < features; i++) sum += input[n * features + i]! * weight[o * features + i]!;
    return sum;
  });
}

function batchNorm(node: BatchNormNode, input: Float64Array, shape: Shape, parameters: ParameterValues, count: number, { training }: ForwardOptions): Float64Array {
  const channels = shape[0]!;
  const area = elementCount(shape) / channels;
  const [weight, bias] = ['weight', 'bias'].map((suffix) => parameters.get(`${node.name}.${suffix}`)!) as [ArrayLike<number>, ArrayLike<number>];
  const out = new Float64Array(input.length);
  for (let c = 0; c < channels; c++) {
    const positions = Array.from({ length: count * area }, (_, i) => (Math.floor(i / area) * channels + c) * area + (i % area));
    let mean = parameters.get(`${node.name}.running_mean`)![c]!;
    let variance = parameters.get(`${node.name}.running_var`)![c]!;
    if (training) {
      mean = positions.reduce((sum, at) => sum + input[at]!, 0) / positions.length;
      variance = positions.reduce((sum, at) => sum + (input[at]! - mean) ** 2, 0) / positions.length;
    }
    for (const at of positions) out[at] = ((input[at]! - mean) / Math.sqrt(variance + node.epsilon)) * weight[c]! + bias[c]!;
  }
  return out;
}

function activation(node: ActivationNode, input: Float64Array, parameters: ParameterValues, { frozen, record }: ForwardOptions): Float64Array {
  const { activation: kind } = node;
  if (kind.kind === 'relu') return input.map((z) => Math.min(Math.max(z, 0), kind.cap ?? Infinity));
  const levels = levelsOf(kind);
  const parameter = parameters.get(activationParameter(node)!)![0]!;
  const step = kind.kind === 'qcfs' || kind.kind === 'slip-relu' ? parameter / levels : parameter;
  const clipped = input.map((z) => Math.min(Math.max(z / step, 0), levels));
  if (kind.kind === 'tcl') return clipped.map((u) => step * u);
  const residual = frozen?.get(node.name) ?? clipped.map((u) => Math.floor(u + 0.5) - u);
  record?.set(node.name, residual);
  return clipped.map((u, i) => step * (u + residual[i]!));
}

function avgPool(node: AvgPoolNode, input: Float64Array, inShape: Shape, outShape: Shape, count: number): Float64Array {
  const [channels, inH, inW] = inShape as [number, number, number];
  const [, outH, outW] = outShape as [number, number, number];
  const [kh, kw] = node.kernel;
  const out = new Float64Array(count * channels * outH * outW);
  let at = 0;
  for (let m = 0; m < count * channels; m++) for (let y = 0; y < outH; y++) for (let x = 0; x < outW; x++) {
    let sum = 0;
    for (let ky = 0; ky < kh; ky++) for (let kx = 0; kx < kw; kx++) sum += input[(m * inH + y * node.stride[0] + ky) * inW + x * node.stride[1] + kx]!;
    out[at++] = sum / (kh * kw);
  }
  return out;
}

/** Where the first maximum of every window stands. */
function maxima(node: MaxPoolNode, input: Float64Array, inShape: Shape, outShape: Shape, count: number): Int32Array {
  const [channels, inH, inW] = inShape as [number, number, number];
  const [, outH, outW] = outShape as [number, number, number];
  const out = new Int32Array(count * channels * outH * outW);
  let at = 0;
  for (let m = 0; m < count * channels; m++) for (let y = 0; y < outH; y++) for (let x = 0; x < outW; x++) {
    let most = -1;
    for (let ky = 0; ky < node.kernel[0]; ky++) for (let kx = 0; kx < node.kernel[1]; kx++) {
      const [iy, ix] = [y * node.stride[0] + ky - node.padding[0], x * node.stride[1] + kx - node.padding[1]];
      const here = (m * inH + iy) * inW + ix;
      if (iy >= 0 && ix >= 0 && iy < inH && ix < inW && (most < 0 || input[here]! > input[most]!)) most = here;
    }
    out[at++] = most;
  }
  return out;
}

/** Mean cross-entropy of logits [count, classes]. */
export function crossEntropyOf(logits: Float64Array, labels: readonly number[]): number {
  const classes = logits.length / labels.length;
  return labels.reduce((sum, label, n) => {
    const row = logits.subarray(n * classes, (n + 1) * classes);
    const top = Math.max(...row);
    return sum + top + Math.log(row.reduce((total, z) => total + Math.exp(z - top), 0)) - row[label]!;
  }, 0) / labels.length;
}
