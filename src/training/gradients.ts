import { inputsOf, type Graph } from '../graph/graph.js';
import type { OnnxBuilder } from '../onnx/builder.js';
import { differentiate } from './layers/index.js';
import type { Differentiated, NodeGradients, Operand, TrainingContext } from './layers/rule.js';

export interface ForwardPass {
  readonly logits: string;
  /** The ONNX value of a node of the graph. */
  valueOf(node: string): string;
  /** Reverse-mode differentiation from d loss / d logits. */
  backward(logitsGradient: string): Gradients;
}

/**
 * The gradient of every parameter by name, emitted when it is asked for. ONNX Runtime computes first what was added last:
 * asked for from the first layer to the last, each gradient of a weight is computed right after that of its output.
 * Otherwise all of those would stay in memory to the end of the backward pass.
 */
export interface Gradients {
  get(parameter: string): string | undefined;
}

/** Emits the training-mode forward pass of a whole graph, each node by `rule`. */
export function emitForward(context: TrainingContext, graph: Graph, rule: typeof differentiate = differentiate): ForwardPass {
  const steps = new Map<string, Differentiated>();
  const operand = (name: string): Operand => (name === graph.input.name ? { value: name } : steps.get(name)!);
  for (const node of graph.nodes) steps.set(node.name, rule(context, node, inputsOf(node).map(operand)));
  return {
    logits: operand(graph.output).value,
    valueOf: (node) => operand(node).value,
    backward: (gradient) => emitBackward(context.onnx, graph, steps, gradient),
  };
}

function emitBackward(onnx: OnnxBuilder, graph: Graph, steps: ReadonlyMap<string, Differentiated>, logitsGradient: string): Gradients {
  const arriving = new Map<string, string[]>([[graph.output, [logitsGradient]]]);
  const owners = new Map<string, NodeGradients>();
  for (const node of [...graph.nodes].reverse()) {
    const gradients = arriving.get(node.name);
    if (!gradients) continue;
    const inputs = inputsOf(node);
    const needsInput = inputs.some((input) => input !== graph.input.name);
    const back = steps.get(node.name)!.backward(total(onnx, gradients), needsInput);
    for (const name of Object.keys(back.parameters)) owners.set(name, back);
    inputs.forEach((input, i) => {
      const gradient = back.inputs[i];
      if (input !== graph.input.name && gradient !== undefined) arriving.set(input, [...(arriving.get(input) ?? []), gradient]);
    });
  }
  return { get: (name) => owners.get(name)?.parameters[name] };
}

function total(onnx: OnnxBuilder, gradients: readonly string[]): string {
  return gradients.reduce((sum, gradient) => onnx.node('Add', [sum, gradient]));
}
