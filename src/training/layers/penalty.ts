import type { OnnxBuilder } from '../../onnx/builder.js';
import { elementCount } from '../../tensor.js';
import { sumPerChannel } from './affine.js';
import type { Quantiser } from './quantiser.js';

/**
 * The gradient of z, before the quantiser's own window, with that of the activity penalty added. Of the levels l of one
 * activation, n elements in a batch: `l1` is weight max(0, mean(l) / levels - budget), `hoyer` weight
 * (sum l)^2 / (sum l^2) / n (DeepHoyer, Yang et al., ICLR 2020, over n). Each straight through, dl/dz = 1 / step.
 */
export function penalised(quantiser: Quantiser, gradient: string, level: string): string {
  const { onnx, shapes, method, batchSize, lossScale } = quantiser.context;
  if (method.activityPenalty === 0) return gradient;
  const shape = shapes.get(quantiser.node.name)!;
  const perElement = (lossScale * method.activityPenalty) / elementCount(shape);
  const total = (value: string): string => onnx.node('ReduceSum', [sumPerChannel(onnx, value, shape)], { keepdims: 0 });
  const perStep = (weight: number): string => onnx.node('Div', [onnx.floats(weight), onnx.node('Mul', [batchSize, quantiser.step])]);
  const slope = perStep(perElement / quantiser.levels);
  if (method.penalty === 'l1' && method.spikeBudget === 0) return onnx.node('Add', [gradient, slope]);
  // At most 1, so that sums over a map stay within float16.
  const rate = quantiser.levels === 1 ? level : onnx.node('Mul', [level, onnx.floats(1 / quantiser.levels)]);
  if (method.penalty === 'hoyer') return onnx.node('Add', [gradient, hoyerSlope(onnx, rate, total, slope)]);
  const mean = onnx.node('Div', [total(rate), onnx.node('Mul', [batchSize, onnx.floats(elementCount(shape))])]);
  const above = onnx.node('Greater', [mean, onnx.floats(method.spikeBudget)]);
  return onnx.node('Add', [gradient, onnx.node('Mul', [slope, onnx.node('Cast', [above], { to: 1 })])]);
}

/** 2 slope c (1 - c r) of rates r, with c = sum(r) / sum(r^2); 0 of a silent activation. */
function hoyerSlope(onnx: OnnxBuilder, rate: string, total: (value: string) => string, slope: string): string {
  const squares = onnx.node('Max', [total(onnx.node('Mul', [rate, rate])), onnx.floats(1e-6)]);
  const ratio = onnx.node('Div', [total(rate), squares]);
  const rest = onnx.node('Sub', [onnx.floats(2), onnx.node('Mul', [rate, onnx.node('Mul', [ratio, onnx.floats(2)])])]);
  return onnx.node('Mul', [rest, onnx.node('Mul', [slope, ratio])]);
}
