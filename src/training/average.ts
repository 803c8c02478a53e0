import type { ParameterSpec } from '../graph/parameters.js';
import type { OnnxBuilder } from '../onnx/builder.js';

/** Name of the exponential moving average (EMA) of a parameter or buffer, a state of training. */
export function averageName(parameter: string): string {
  return `${parameter}.ema`;
}

/**
 * Part of the old average that step `step`, from 1, keeps: `decay`, and less over the first steps, (1 + step) / (10 + step),
 * so that the initial weights are soon forgotten (as in TensorFlow's ExponentialMovingAverage with num_updates).
 */
export function averageDecayAt(decay: number, step: number): number {
  return Math.min(decay, (1 + step) / (10 + step));
}

export interface Averaged {
  readonly spec: ParameterSpec;
  readonly name: string;
  readonly value: string;
}

/** Emits average + (1 - decay) (next - average) for every parameter and buffer, from values named as the averages. */
export function emitAverages(onnx: OnnxBuilder, specs: readonly ParameterSpec[], decay: string, nextOf: (spec: ParameterSpec) => string): Averaged[] {
  const taken = onnx.node('Sub', [onnx.floats(1), decay]);
  return specs.map((spec) => {
    const name = averageName(spec.name);
    const difference = onnx.node('Sub', [nextOf(spec), name]);
    return { spec, name, value: onnx.node('Add', [name, onnx.node('Mul', [difference, taken])]) };
  });
}
