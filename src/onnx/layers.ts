import { inputsOf, type Activation, type ActivationNode, type AvgPoolNode, type Conv2dNode, type Graph, type GraphNode } from '../graph/graph.js';
import { activationParameter } from '../graph/parameters.js';
import type { OnnxBuilder } from './builder.js';

export function convAttributes(node: Conv2dNode): Record<string, number | readonly number[]> {
  return { kernel_shape: node.kernel, strides: node.stride, pads: node.padding, group: node.groups };
}

export function poolAttributes(node: AvgPoolNode): Record<string, number | readonly number[]> {
  return { kernel_shape: node.kernel, strides: node.stride, pads: [0, 0, 0, 0] };
}

/** Emits a whole graph node by node from `input`; the ONNX value of every node by its name. */
export function emitGraph(graph: Graph, input: string, emit: (node: GraphNode, inputs: readonly string[]) => string): Map<string, string> {
  const values = new Map([[graph.input.name, input]]);
  for (const node of graph.nodes) values.set(node.name, emit(node, inputsOf(node).map((name) => values.get(name)!)));
  return values;
}

/** Emits one node in inference mode (running statistics, no noise); parameters are values of their own names. */
export function emitInference(onnx: OnnxBuilder, node: GraphNode, inputs: readonly string[]): string {
  const parameter = (suffix: string): string => `${node.name}.${suffix}`;
  switch (node.op) {
    case 'conv2d':
      return onnx.node('Conv', withBias(inputs, parameter, node.bias), convAttributes(node), node.name);
    case 'linear':
      return onnx.node('Gemm', withBias(inputs, parameter, node.bias), { transB: 1 }, node.name);
    case 'batchNorm': {
      const statistics = ['weight', 'bias', 'running_mean', 'running_var'].map(parameter);
      return onnx.node('BatchNormalization', [inputs[0]!, ...statistics], { epsilon: { float: node.epsilon } }, node.name);
    }
    case 'activation':
      return emitActivation(onnx, node.activation, inputs[0]!, activationParameter(node));
    case 'add':
      return onnx.node('Add', inputs, {}, node.name);
    case 'avgPool':
      return onnx.node('AveragePool', inputs, poolAttributes(node), node.name);
    case 'globalAvgPool':
      return onnx.node('GlobalAveragePool', inputs, {}, node.name);
    case 'flatten':
      return onnx.node('Flatten', inputs, { axis: 1 }, node.name);
  }
}

function withBias(inputs: readonly string[], parameter: (suffix: string) => string, bias: boolean): string[] {
  return bias ? [inputs[0]!, parameter('weight'), parameter('bias')] : [inputs[0]!, parameter('weight')];
}

function emitActivation(onnx: OnnxBuilder, activation: Activation, input: string, parameter: string | undefined): string {
  if (activation.kind === 'relu') return onnx.node('Relu', [input]);
  const step = emitStep(onnx, activation, parameter!);
  const levels = emitQuantise(onnx, onnx.node('Div', [input, step]), activation.levels);
  return onnx.node('Mul', [levels, step]);
}

/** Real value of one quantisation level: theta / L (qcfs) or s (lsq). */
export function emitStep(onnx: OnnxBuilder, activation: Activation, parameter: string): string {
  return activation.kind === 'qcfs' ? onnx.node('Div', [parameter, onnx.floats(activation.levels)]) : parameter;
}

/** Threshold of the spiking neurons that a quantised activation becomes: theta (qcfs) or s p (lsq). */
export function emitThreshold(onnx: OnnxBuilder, node: ActivationNode): string {
  const { activation } = node;
  const parameter = activationParameter(node)!;
  return activation.kind === 'lsq' ? onnx.node('Mul', [parameter, onnx.floats(activation.levels)]) : parameter;
}

/** floor(clip(u, 0, levels) + 1/2): the level of `scaled`, 0 to `levels`. */
export function emitQuantise(onnx: OnnxBuilder, scaled: string, levels: number): string {
  const clipped = onnx.node('Clip', [scaled, onnx.floats(0), onnx.floats(levels)]);
  return onnx.node('Floor', [onnx.node('Add', [clipped, onnx.floats(0.5)])]);
}
