import type { Conv2dNode, Graph, LinearNode, WeightBits } from './graph.js';

/** A node that has weights. */
export type WeightedNode = Conv2dNode | LinearNode;

/** The largest integer of a symmetric width: 127 for 8 bits. */
export function largestInteger(bits: WeightBits): number {
  return 2 ** (bits - 1) - 1;
}

/** Smallest scale of a channel, so that one of zeros stays zeros. */
export const smallestScale = 1e-30;

/** The graph with the weights of every convolution and linear layer rounded to `bits` before use. */
export function withWeightBits(graph: Graph, bits: WeightBits): Graph {
  const nodes = graph.nodes.map((node) => (node.op === 'conv2d' || node.op === 'linear' ? { ...node, weightBits: bits } : node));
  return { ...graph, nodes };
}

/** Integers of a weight, row-major, and the real value of 1 of each output channel. */
export interface IntegerWeight {
  readonly integers: Int32Array;
  readonly scales: Float32Array;
}

/**
 * round(w / scale) with `weightBits`, scale being max|w| / 127 of the output channel. Divides and rounds in float32, as the
 * ONNX graphs do (`emitWeight`), so both find the same integers.
 */
export function integerWeight(node: WeightedNode, bits: WeightBits, weight: Float32Array): IntegerWeight {
  const limit = largestInteger(bits);
  const channels = node.op === 'conv2d' ? node.outChannels : node.outFeatures;
  const fanIn = weight.length / channels;
  const integers = new Int32Array(weight.length);
  const scales = Float32Array.from({ length: channels }, (_, c) => {
    const channel = weight.subarray(c * fanIn, (c + 1) * fanIn);
    const largest = channel.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
    const scale = Math.max(Math.fround(largest / limit), Math.fround(smallestScale));
    channel.forEach((w, i) => (integers[c * fanIn + i] = roundHalfEven(Math.fround(w / scale))));
    return scale;
  });
  return { integers, scales };
}

/** The weights that a node computes with, in float64: as they are, or with `weightBits` integers times scale. */
export function effectiveWeight(node: WeightedNode, weight: Float32Array): Float64Array {
  const { weightBits } = node;
  if (weightBits === undefined) return Float64Array.from(weight);
  const { integers, scales } = integerWeight(node, weightBits, weight);
  const fanIn = weight.length / scales.length;
  return Float64Array.from(integers, (w, i) => w * scales[Math.floor(i / fanIn)]!);
}

function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
