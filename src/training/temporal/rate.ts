import { inputsOf, type ActivationNode, type BatchNormNode, type Graph } from '../../graph/graph.js';
import { emitAffine } from '../layers/affine.js';
import { batchNormRule } from '../layers/batchNorm.js';
import { differentiate } from '../layers/index.js';
import { computedAfter } from '../layers/order.js';
import { penalised } from '../layers/penalty.js';
import { gate, Quantiser } from '../layers/quantiser.js';
import type { Differentiated, Normalised, Operand, TrainingContext } from '../layers/rule.js';
import { frozenBatchNormRule } from './batchNorm.js';
import { emitNeurons, fixedThreshold, hasFixedThreshold, type Fired } from './neurons.js';
import type { TemporalConfig } from './options.js';
import { temporalRule, type Rule } from './rules.js';

/**
 * Rate-based backpropagation (Yu et al., NeurIPS 2024): the spiking network runs forwards over T steps, and the gradient
 * goes back once, through means over time. All layers but the neurons are linear, so each gives the mean of its output from
 * that of its input; the mean of a neuron is theta x spikes / T, with the derivative of clip(mean current, 0, theta):
 * straight through, as in dense training of qcfs, where the paper has the mean of a surrogate. Values are means, [N, ...].
 */
export function rateRule(graph: Graph, config: TemporalConfig): Rule {
  const overTime = new Map<string, Operand>();
  const normalised = new Map<string, Normalised>();
  const fired = new Map<string, Fired>();
  const unrolled = temporalRule(graph, config, {
    batchNorm: (context, node, input) => normalisedSteps(context, node, normalised.get(node.name)!, input),
    neurons: (context, node, input, steady) => {
      const neurons = emitNeurons(context, node, input, steady, config);
      fired.set(node.name, neurons);
      return { value: neurons.value, backward: neverBackward };
    },
  });
  const meanOf: Rule = (context, node, inputs) => {
    if (node.op !== 'batchNorm') return differentiate(context, node, inputs);
    const mean = (config.batchStatistics ? batchNormRule : frozenBatchNormRule)(context, node, inputs);
    normalised.set(node.name, mean);
    return mean;
  };
  const unroll: Rule = (context, node, inputs) => unrolled(context, node, inputsOf(node).map((name, i) => overTime.get(name) ?? inputs[i]!));
  return (context, node, inputs) => {
    if (node.op === 'activation') {
      overTime.set(node.name, unroll(context, node, inputs));
      return meanSpikes(context, node, inputs[0]!, fired.get(node.name)!, config);
    }
    const mean = meanOf(context, node, inputs);
    overTime.set(node.name, unroll(context, node, inputs));
    return mean;
  };
}

/** Each step by the statistics that the mean is normalised with. */
function normalisedSteps({ onnx, shapes }: TrainingContext, node: BatchNormNode, mean: Normalised, input: Operand): Differentiated {
  const affine = mean.affineOf(input.value);
  return {
    affine,
    get value() {
      return emitAffine(onnx, affine, shapes.get(node.input)!, node.name);
    },
    backward: neverBackward,
  };
}

function meanSpikes(context: TrainingContext, node: ActivationNode, input: Operand, { spikes }: Fired, config: TemporalConfig): Differentiated {
  const { onnx } = context;
  const quantiser = new Quantiser(context, node, input, 0);
  const { inside } = quantiser.clip(quantiser.scaled, 0, quantiser.levels);
  const counted = onnx.node('Sum', spikes.map((spike) => onnx.node('Cast', [spike], { to: 1 })));
  const level = computedAfter(onnx, onnx.node('Mul', [counted, onnx.floats(quantiser.levels / config.timeSteps)]), inside);
  return {
    value: quantiser.value(level),
    backward: (gradient) => {
      const passed = gate(context, inside, penalised(quantiser, gradient, level));
      const ofThreshold = (): string => (node.activation.kind === 'lsq' ? quantiser.stepGradient(gradient, passed, level) : quantiser.thresholdGradient(gradient, passed, level));
      const trained = config.trainThresholds && !hasFixedThreshold(node);
      return { inputs: [passed], parameters: trained ? { [quantiser.parameter]: ofThreshold() } : fixedThreshold(onnx, node) };
    },
  };
}

function neverBackward(): never {
  throw new Error('the gradient goes back through means over time');
}
