import {
  inputsOf,
  levelsOf,
  type Activation,
  type ActivationNode,
  type AvgPoolNode,
  type Conv2dNode,
  type Graph,
  type GraphNode,
  type MaxPoolNode,
  type ReluActivation,
  type SlipReluActivation,
} from '../graph/graph.js';
import { activationParameter } from '../graph/parameters.js';
import { largestInteger, smallestScale, type WeightedNode } from '../graph/weights.js';
import type { OnnxBuilder } from './builder.js';

export function convAttributes(node: Conv2dNode): Record<string, number | readonly number[]> {
  return { kernel_shape: node.kernel, strides: node.stride, pads: node.padding, group: node.groups };
}

export function poolAttributes(node: AvgPoolNode | MaxPoolNode): Record<string, number | readonly number[]> {
  return { kernel_shape: node.kernel, strides: node.stride, pads: node.op === 'maxPool' ? node.padding : [0, 0, 0, 0] };
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
      return onnx.node('Conv', weighted(onnx, node, inputs), convAttributes(node), node.name);
    case 'linear':
      return onnx.node('Gemm', weighted(onnx, node, inputs), { transB: 1 }, node.name);
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
    case 'maxPool':
      return onnx.node('MaxPool', inputs, poolAttributes(node), node.name);
    case 'concat':
      return onnx.node('Concat', inputs, { axis: 1 }, node.name);
    case 'globalAvgPool':
      return onnx.node('GlobalAveragePool', inputs, {}, node.name);
    case 'flatten':
      return onnx.node('Flatten', inputs, { axis: 1 }, node.name);
  }
}

function weighted(onnx: OnnxBuilder, node: WeightedNode, [input]: readonly string[]): string[] {
  return [input!, emitWeight(onnx, node), ...(node.bias ? [`${node.name}.bias`] : [])];
}

/** The weights that a node computes with: `<node>.weight`, or with `weightBits` rounded as `effectiveWeight` says. */
export function emitWeight(onnx: OnnxBuilder, node: WeightedNode): string {
  const weight = `${node.name}.weight`;
  if (node.weightBits === undefined) return weight;
  const axes = node.op === 'conv2d' ? [1, 2, 3] : [1];
  const largest = onnx.node('ReduceMax', [onnx.node('Abs', [weight]), onnx.ints(axes)], { keepdims: 1 });
  const exact = onnx.node('Div', [largest, onnx.floats(largestInteger(node.weightBits))]);
  const scale = onnx.node('Max', [exact, onnx.floats(smallestScale)]);
  return onnx.node('Mul', [onnx.node('Round', [onnx.node('Div', [weight, scale])]), scale], {}, `${node.name}.rounded`);
}

function emitActivation(onnx: OnnxBuilder, activation: Activation, input: string, parameter: string | undefined): string {
  switch (activation.kind) {
    case 'relu':
      return emitRelu(onnx, activation, input);
    case 'tcl':
      return onnx.node('Clip', [input, onnx.floats(0), parameter!]);
    case 'slip-relu':
      return emitSlipRelu(onnx, activation, input, parameter!);
    case 'qcfs':
    case 'lsq':
    case 'spike': {
      const step = emitStep(onnx, activation, parameter!);
      const levels = emitQuantise(onnx, onnx.node('Div', [input, step]), levelsOf(activation));
      return onnx.node('Mul', [levels, step]);
    }
  }
}

/** max(z, 0), at most the cap. */
export function emitRelu(onnx: OnnxBuilder, { cap }: ReluActivation, input: string): string {
  return cap === undefined ? onnx.node('Relu', [input]) : onnx.node('Clip', [input, onnx.floats(0), onnx.floats(cap)]);
}

function emitSlipRelu(onnx: OnnxBuilder, activation: SlipReluActivation, input: string, parameter: string): string {
  const { levels, slope } = activation;
  const step = emitStep(onnx, activation, parameter);
  const scaled = onnx.node('Div', [input, step]);
  const clipped = onnx.node('Clip', [scaled, onnx.floats(0), onnx.floats(levels)]);
  const rounded = emitQuantise(onnx, scaled, levels);
  const parts = [onnx.node('Mul', [clipped, onnx.floats(slope)]), onnx.node('Mul', [rounded, onnx.floats(1 - slope)])];
  return onnx.node('Mul', [onnx.node('Add', parts), step]);
}

/** Real value of one level: theta / L (qcfs, slip-relu), s (lsq) or theta (spike, tcl). */
export function emitStep(onnx: OnnxBuilder, activation: Activation, parameter: string): string {
  const divided = activation.kind === 'qcfs' || activation.kind === 'slip-relu';
  return divided ? onnx.node('Div', [parameter, onnx.floats(activation.levels)]) : parameter;
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
