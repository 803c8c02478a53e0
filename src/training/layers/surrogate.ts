import type { OnnxBuilder } from '../../onnx/builder.js';

export const surrogateKinds = ['rectangle', 'triangle', 'arctan', 'gaussian'] as const;
/**
 * Stand-in for the derivative of the spike H(u - 1) by u = v / theta, with x = u - 1. Each has area 1 and, unless told
 * another width, is 1 at the threshold:
 * - `rectangle`: 1[|x| <= 1/2], as wide as the threshold (STBP, Wu et al. 2018).
 * - `triangle`: max(0, 1 - |x|) (Esser et al. 2016).
 * - `arctan`: 1 / (1 + (pi x)^2) (Fang et al. 2021, alpha = 2).
 * - `gaussian`: the density of N(0, sigma^2), by default exp(-pi x^2) (Yin et al. 2020).
 */
export type SurrogateKind = (typeof surrogateKinds)[number];

/**
 * @param charged u before the reset, in units of the threshold
 * @param sigma of `gaussian`
 */
export function emitSurrogate(onnx: OnnxBuilder, kind: SurrogateKind, charged: string, sigma = 1 / Math.sqrt(2 * Math.PI)): string {
  if (kind === 'rectangle') {
    const clipped = onnx.node('Clip', [charged, onnx.floats(0.5), onnx.floats(1.5)]);
    return onnx.node('Cast', [onnx.node('Equal', [charged, clipped])], { to: 1 });
  }
  const one = onnx.floats(1);
  const x = onnx.node('Sub', [charged, one]);
  if (kind === 'triangle') return onnx.node('Relu', [onnx.node('Sub', [one, onnx.node('Abs', [x])])]);
  const square = onnx.node('Mul', [x, x]);
  if (kind === 'gaussian') {
    const bell = onnx.node('Exp', [onnx.node('Mul', [square, onnx.floats(-1 / (2 * sigma ** 2))])]);
    return onnx.node('Mul', [bell, onnx.floats(1 / (sigma * Math.sqrt(2 * Math.PI)))]);
  }
  return onnx.node('Reciprocal', [onnx.node('Add', [one, onnx.node('Mul', [square, onnx.floats(Math.PI ** 2)])])]);
}
