import { inputsOf, type ActivationNode, type BatchNormNode, type Graph, type GraphNode, type Shape } from '../../graph/graph.js';
import type { OnnxBuilder } from '../../onnx/builder.js';
import { batchNormRule } from '../layers/batchNorm.js';
import { differentiate } from '../layers/index.js';
import type { Differentiated, Operand, TrainingContext } from '../layers/rule.js';
import { frozenBatchNormRule } from './batchNorm.js';
import { neuronRule, repeatSteps } from './neurons.js';
import type { TemporalConfig } from './options.js';
import { maxPoolOverTimeRule } from './pooling.js';

export type Rule = (context: TrainingContext, node: GraphNode, inputs: readonly Operand[]) => Differentiated;

/** Of the nodes that are not the same at every step of a network unrolled over time. */
export interface UnrolledRules {
  /** @param steady whether the input [N, ...] is that of every step, or [T N, ...] */
  batchNorm(context: TrainingContext, node: BatchNormNode, input: Operand, steady: boolean): Differentiated;
  /** @param steady the same of the current */
  neurons(context: TrainingContext, node: ActivationNode, input: Operand, steady: boolean): Differentiated;
}

/** The spiking network that is converted, and backpropagation through time. */
function throughTime(config: TemporalConfig): UnrolledRules {
  return {
    batchNorm: (context, node, input) => frozenBatchNormRule(context, node, [input]),
    neurons: (context, node, input, steady) => neuronRule(context, node, input, steady, config),
  };
}

/** The same by the statistics of each batch, over images and time steps (Zheng et al., AAAI 2021, with the threshold left to the neurons). */
export function throughTimeByBatch(config: TemporalConfig): UnrolledRules {
  return { ...throughTime(config), batchNorm: (context, node, input, steady) => batchNormRule(steady ? context : overTime(context, config.timeSteps), node, [input]) };
}

function overTime(context: TrainingContext, timeSteps: number): TrainingContext {
  const { onnx, batchSize } = context;
  return { ...context, batchSize: onnx.node('Mul', [batchSize, onnx.floats(timeSteps)]) };
}

/**
 * The rules of a network unrolled over T steps. Values are [T N, ...], the steps one after the other; what comes before
 * the first neurons is the same at every step, so it stays [N, ...] and its gradient is the sum over the steps.
 */
export function temporalRule(graph: Graph, config: TemporalConfig, rules = throughTime(config)): Rule {
  const steady = new Set([graph.input.name]);
  return (context, node, inputs) => {
    if (node.op === 'maxPool' && !steady.has(node.input)) return maxPoolOverTimeRule(context, node, inputs[0]!, config.timeSteps);
    if (node.op === 'activation') return rules.neurons(context, node, inputs[0]!, steady.has(node.input));
    const rule = (of: readonly Operand[]): Differentiated => (node.op === 'batchNorm' ? rules.batchNorm(context, node, of[0]!, steady.has(node.input)) : differentiate(context, node, of));
    const still = inputsOf(node).filter((name) => steady.has(name));
    if (still.length === 0) return rule(inputs);
    if (still.length === inputs.length) {
      steady.add(node.name);
      return rule(inputs);
    }
    return repeatSteady(context, node, inputs, steady, config.timeSteps, rule);
  };
}

/** A node that some inputs of are steady: these are repeated for every step. */
function repeatSteady(
  { onnx, shapes }: TrainingContext,
  node: GraphNode,
  inputs: readonly Operand[],
  steady: ReadonlySet<string>,
  timeSteps: number,
  rule: (inputs: readonly Operand[]) => Differentiated,
): Differentiated {
  const names = inputsOf(node);
  const repeated = inputs.map((input, i) =>
    steady.has(names[i]!) ? { value: repeatSteps(onnx, input.value, timeSteps) } : input,
  );
  const result = rule(repeated);
  return {
    value: result.value,
    backward: (gradient, needsInput) => {
      const back = result.backward(gradient, needsInput);
      const summed = back.inputs.map((ofInput, i) =>
        ofInput !== undefined && steady.has(names[i]!) ? sumSteps(onnx, ofInput, timeSteps, shapes.get(names[i]!)!) : ofInput,
      );
      return { ...back, inputs: summed };
    },
  };
}

/** [T N, ...] -> [N, ...]. */
function sumSteps(onnx: OnnxBuilder, value: string, timeSteps: number, shape: Shape): string {
  const apart = onnx.node('Reshape', [value, onnx.ints([timeSteps, -1])]);
  const sum = onnx.node('ReduceSum', [apart, onnx.ints([0])], { keepdims: 0 });
  return onnx.node('Reshape', [sum, onnx.ints([-1, ...shape])]);
}
