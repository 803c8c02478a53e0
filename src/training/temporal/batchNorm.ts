import type { BatchNormNode } from '../../graph/graph.js';
import { alignChannels, dotPerChannel, emitAffine, sumPerChannel } from '../layers/affine.js';
import type { Affine, LayerRule, Normalised } from '../layers/rule.js';

/**
 * Batch normalisation with its running statistics, as the spiking network has it: y = a x + beta - a mean with
 * a = gamma r, r = 1 / sqrt(var + eps). dx = a dy; dbeta = sum(dy); dgamma = r (sum(dy x) - mean sum(dy)).
 */
export const frozenBatchNormRule: LayerRule<BatchNormNode, Normalised> = (context, node, [input]) => {
  const { onnx } = context;
  const shape = context.shapes.get(node.input)!;
  const [weight, bias, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map((suffix) => `${node.name}.${suffix}`) as [string, string, string, string];
  const inverse = onnx.node('Reciprocal', [onnx.node('Sqrt', [onnx.node('Add', [variance, onnx.floats(node.epsilon)])])]);
  const scale = onnx.node('Mul', [weight, inverse]);
  const affineOf = (base: string): Affine => ({ base, scale, shift: onnx.node('Sub', [bias, onnx.node('Mul', [mean, scale])]) });
  const affine = affineOf(input!.value);
  return {
    affine,
    affineOf,
    get value() {
      return emitAffine(onnx, affine, shape, node.name);
    },
    backward: (gradient, needsInput) => {
      const sum = sumPerChannel(onnx, gradient, shape);
      const uncentred = dotPerChannel(onnx, gradient, affine.base, shape);
      const centred = onnx.node('Sub', [uncentred, onnx.node('Mul', [mean, sum])]);
      return {
        inputs: [needsInput ? onnx.node('Mul', [gradient, alignChannels(onnx, scale, shape)], {}, 'dX') : undefined],
        parameters: { [weight]: onnx.node('Mul', [centred, inverse]), [bias]: sum },
      };
    },
  };
};
