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

/**
 * The weights that a node computes with, in float64: as they are, or with `weightBits` round(w / scale) scale, scale being
 * max|w| / 127 of the output channel. Divides and rounds in float32, as the ONNX graphs do (`emitWeight`), so both find the
 * same integers.
 */
export function effectiveWeight(node: WeightedNode, weight: Float32Array): Float64Array {
  const { weightBits } = node;
  if (weightBits === undefined) return Float64Array.from(weight);
  const limit = largestInteger(weightBits);
  const fanIn = weight.length / (node.op === 'conv2d' ? node.outChannels : node.outFeatures);
  const effective = new Float64Array(weight.length);
  for (let begin = 0; begin < weight.length; begin += fanIn) {
    const channel = weight.subarray(begin, begin + fanIn);
    const largest = channel.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
    const scale = Math.max(Math.fround(largest / limit), Math.fround(smallestScale));
    channel.forEach((w, i) => (effective[begin + i] = roundHalfEven(Math.fround(w / scale)) * scale));
  }
  return effective;
}

function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
