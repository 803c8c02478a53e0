import type { OnnxBuilder } from '../onnx/builder.js';

export interface ClippedGradients {
  /** Euclidean norm of all gradients together, before clipping: a scalar. */
  readonly norm: string;
  readonly gradientOf: (parameter: string) => string;
}

/**
 * As PyTorch's `clip_grad_norm_`: every gradient times min(1, largest / (norm + 1e-6)).
 * @param skipOverflow gradients that are not finite count as 0, as the step of a gradient scaler that is skipped
 */
export function emitClip(
  onnx: OnnxBuilder,
  parameters: readonly string[],
  gradientOf: (parameter: string) => string,
  largest: number,
  skipOverflow = false,
): ClippedGradients {
  const squares = parameters.map((name) => onnx.node('ReduceSumSquare', [gradientOf(name)], { keepdims: 0 }));
  const norm = onnx.node('Sqrt', [onnx.node('Sum', squares)], {}, 'gradientNorm');
  const ratio = onnx.node('Div', [onnx.floats(largest), onnx.node('Add', [norm, onnx.floats(1e-6)])]);
  const factor = onnx.node('Min', [ratio, onnx.floats(1)]);
  const clipped = (name: string): string => onnx.node('Mul', [gradientOf(name), factor]);
  if (!skipOverflow) return { norm, gradientOf: clipped };
  const finite = onnx.node('Less', [norm, onnx.floats(1e30)]);
  const orZero = (value: string): string => onnx.node('Where', [finite, value, onnx.floats(0)]);
  return { norm: orZero(norm), gradientOf: (name) => orZero(clipped(name)) };
}
