import type { OnnxBuilder } from '../../onnx/builder.js';

/**
 * `value` [N, ...], for whose use ONNX Runtime computes `first`, of the same shape, before. It runs an operator when its
 * result is asked for: without this the mask of an activation is made in the backward pass, and what it is made of, eight
 * times as large, stays in memory until then. Shape and Reshape touch no element.
 */
export function computedAfter(onnx: OnnxBuilder, value: string, first: string): string {
  return onnx.node('Reshape', [value, onnx.node('Shape', [first])]);
}
