import type { MaxPoolNode } from '../../graph/graph.js';
import type { OnnxBuilder } from '../../onnx/builder.js';
import { poolAttributes } from '../../onnx/layers.js';
import { maxPoolRule } from '../layers/pooling.js';
import type { Differentiated, Operand, TrainingContext } from '../layers/rule.js';

/**
 * Max-pooling of values [T N, ...], the steps one after the other, as the spiking network has it: after each step, what the
 * output has given so far is the largest of what the positions of its window have.
 */
export function emitMaxPoolOverTime(onnx: OnnxBuilder, node: MaxPoolNode, value: string, timeSteps: number): string {
  const pooled = onnx.node('MaxPool', [sumOverTime(onnx, value, timeSteps)], poolAttributes(node), node.name);
  return subtractNeighbour(onnx, pooled, timeSteps, 'before');
}

/** With C_t the sums of x up to t and m the positions of their maxima: y_t = C_t[m_t] - C_{t-1}[m_{t-1}]. */
export function maxPoolOverTimeRule(context: TrainingContext, node: MaxPoolNode, input: Operand, timeSteps: number): Differentiated {
  const { onnx } = context;
  const pooled = maxPoolRule(context, node, [{ value: sumOverTime(onnx, input.value, timeSteps) }]);
  return {
    value: subtractNeighbour(onnx, pooled.value, timeSteps, 'before'),
    backward: (gradient, needsInput) => {
      const back = pooled.backward(subtractNeighbour(onnx, gradient, timeSteps, 'behind'), needsInput);
      return { ...back, inputs: [sumOverTime(onnx, back.inputs[0]!, timeSteps, true)] };
    },
  };
}

/** Sums over the steps up to each, or with `backwards` from each on. */
function sumOverTime(onnx: OnnxBuilder, value: string, timeSteps: number, backwards = false): string {
  if (timeSteps === 1) return value;
  return perStep(onnx, value, timeSteps, (apart) => onnx.node('CumSum', [apart, onnx.ints([0], true)], { reverse: backwards ? 1 : 0 }));
}

/** Each step less the one before or behind it. */
function subtractNeighbour(onnx: OnnxBuilder, value: string, timeSteps: number, side: 'before' | 'behind'): string {
  if (timeSteps === 1) return value;
  const [from, to, pads] = side === 'before' ? [0, timeSteps - 1, [1, 0, 0, 0]] : [1, timeSteps, [0, 0, 1, 0]];
  return perStep(onnx, value, timeSteps, (apart) => {
    const neighbours = onnx.node('Slice', [apart, onnx.ints([from]), onnx.ints([to]), onnx.ints([0])]);
    return onnx.node('Sub', [apart, onnx.node('Pad', [neighbours, onnx.ints(pads)])]);
  });
}

/** A value [T N, ...] as [T, ...], and what is made of it as it was. */
function perStep(onnx: OnnxBuilder, value: string, timeSteps: number, change: (apart: string) => string): string {
  const apart = onnx.node('Reshape', [value, onnx.ints([timeSteps, -1])]);
  return onnx.node('Reshape', [change(apart), onnx.node('Shape', [value])]);
}
