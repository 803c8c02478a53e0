import type { GraphNode } from '../../graph/graph.js';
import { activationRule } from './activation.js';
import { batchNormRule } from './batchNorm.js';
import { concatRule } from './concat.js';
import { conv2dRule } from './conv2d.js';
import { linearRule } from './linear.js';
import { avgPoolRule, flattenRule, globalAvgPoolRule, maxPoolRule } from './pooling.js';
import type { Differentiated, Operand, TrainingContext } from './rule.js';

/** Emits a node in training mode, by the rule of its kind. */
export function differentiate(context: TrainingContext, node: GraphNode, inputs: readonly Operand[]): Differentiated {
  switch (node.op) {
    case 'conv2d':
      return conv2dRule(context, node, inputs);
    case 'linear':
      return linearRule(context, node, inputs);
    case 'batchNorm':
      return batchNormRule(context, node, inputs);
    case 'activation':
      return activationRule(context, node, inputs);
    case 'avgPool':
      return avgPoolRule(context, node, inputs);
    case 'maxPool':
      return maxPoolRule(context, node, inputs);
    case 'concat':
      return concatRule(context, node, inputs);
    case 'globalAvgPool':
      return globalAvgPoolRule(context, node, inputs);
    case 'flatten':
      return flattenRule(context, node, inputs);
    case 'add':
      return {
        value: context.onnx.node('Add', inputs.map((input) => input.value), {}, node.name),
        backward: (gradient) => ({ inputs: [gradient, gradient], parameters: {} }),
      };
  }
}
