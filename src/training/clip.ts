import type { OnnxBuilder } from '../onnx/builder.js';

export interface ClippedGradients {
  /** Euclidean norm of all gradients together, before clipping: a scalar. */
  readonly norm: string;
  readonly gradientOf: (parameter: string) => string;
}

/** As PyTorch's `clip_grad_norm_`: every gradient times min(1, largest / (norm + 1e-6)). */
export function emitClip(onnx: OnnxBuilder, parameters: readonly string[], gradientOf: (parameter: string) => string, largest: number): ClippedGradients {
  const squares = parameters.map((name) => onnx.node('ReduceSumSquare', [gradientOf(name)], { keepdims: 0 }));
  const norm = onnx.node('Sqrt', [onnx.node('Sum', squares)], {}, 'gradientNorm');
  const ratio = onnx.node('Div', [onnx.floats(largest), onnx.node('Add', [norm, onnx.floats(1e-6)])]);
  const factor = onnx.node('Min', [ratio, onnx.floats(1)]);
  return { norm, gradientOf: (name) => onnx.node('Mul', [gradientOf(name), factor]) };
}
