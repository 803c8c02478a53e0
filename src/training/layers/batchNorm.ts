import { elementCount } from '../../tensor.js';
import type { BatchNormNode } from '../../graph/graph.js';
import type { OnnxBuilder } from '../../onnx/builder.js';
import { alignChannels, dotPerChannel, emitAffine, sumPerChannel } from './affine.js';
import type { LayerRule, Normalised, TrainingContext } from './rule.js';

/** Centred values are kept this much smaller, so that the sum of their squares over a map stays within float16. */
const shrink = 16;

/**
 * Batch statistics in standard operators. Over M = N H W values a channel, with xc = x - mean, var = mean(xc^2),
 * r = 1 / sqrt(var + eps) and a = gamma r: y = a xc + beta; dbeta = sum(dy); dgamma = r sum(dy xc);
 * dx = a dy - xc a r dgamma / M - a dbeta / M. The variance is taken of the centred values: mean(x^2) - mean^2 loses its
 * digits where the mean is much larger than the deviation.
 */
export const batchNormRule: LayerRule<BatchNormNode, Normalised> = (context, node, [input]) => {
  const { onnx } = context;
  const shape = context.shapes.get(node.input)!;
  const channels = shape[0]!;
  const [weight, bias] = [`${node.name}.weight`, `${node.name}.bias`];
  const count = onnx.node('Mul', [context.batchSize, onnx.floats(elementCount(shape) / channels)]);

  const mean = onnx.node('Div', [sumPerChannel(onnx, input!.value, shape), count]);
  const centring = onnx.node('Mul', [mean, onnx.floats(-1 / shrink)]);
  const centred = emitAffine(onnx, { base: input!.value, scale: onnx.floats(new Array<number>(channels).fill(1 / shrink)), shift: centring }, shape);
  const squares = onnx.node('Mul', [dotPerChannel(onnx, centred, centred, shape), onnx.floats(shrink ** 2)]);
  const variance = onnx.node('Div', [squares, count]);
  const inverse = onnx.node('Reciprocal', [onnx.node('Sqrt', [onnx.node('Add', [variance, onnx.floats(node.epsilon)])])]);
  const scale = onnx.node('Mul', [weight, inverse]);
  const enlarge = (vector: string): string => onnx.node('Mul', [vector, onnx.floats(shrink)]);
  const affine = { base: centred, scale: enlarge(scale), shift: bias };
  updateStatistics(onnx, node, mean, variance, count, (name, measured) => context.updateBuffer(name, measured));

  return {
    affine,
    affineOf: (base) => ({ base, scale, shift: onnx.node('Sub', [bias, onnx.node('Mul', [mean, scale])]) }),
    get value() {
      return emitAffine(onnx, affine, shape, node.name);
    },
    backward: (gradient, needsInput) => {
      const sum = sumPerChannel(onnx, gradient, shape);
      const weightGradient = onnx.node('Mul', [enlarge(dotPerChannel(onnx, gradient, centred, shape)), inverse]);
      const parameters = { [weight]: weightGradient, [bias]: sum };
      if (!needsInput) return { inputs: [undefined], parameters };
      const perCount = onnx.node('Div', [scale, count]);
      const slope = onnx.node('Mul', [onnx.node('Mul', [perCount, inverse]), weightGradient]);
      const offset = onnx.node('Neg', [onnx.node('Mul', [perCount, sum])]);
      const scaled = emitAffine(onnx, { base: gradient, scale, shift: offset }, shape);
      return { inputs: [onnx.node('Sub', [scaled, onnx.node('Mul', [centred, alignChannels(onnx, enlarge(slope), shape)])], {}, 'dX')], parameters };
    },
  };
};

function updateStatistics(
  onnx: OnnxBuilder,
  node: BatchNormNode,
  mean: string,
  variance: string,
  count: string,
  update: TrainingContext['updateBuffer'],
): void {
  const freedom = onnx.node('Max', [onnx.node('Sub', [count, onnx.floats(1)]), onnx.floats(1)]);
  update(`${node.name}.running_mean`, { value: mean, share: node.momentum });
  update(`${node.name}.running_var`, { value: onnx.node('Mul', [variance, onnx.node('Div', [count, freedom])]), share: node.momentum });
}
