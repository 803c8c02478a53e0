import type { ActivationNode, SpikeActivation } from '../../graph/graph.js';
import { defaultSigma } from '../method.js';
import { penalised } from './penalty.js';
import { gate, Quantiser } from './quantiser.js';
import { emitSurrogate } from './surrogate.js';
import type { Differentiated, Operand, TrainingContext } from './rule.js';

/**
 * x = theta s, s = 1[m >= theta], m = z + theta / 2 + theta n: one step of an integrate-and-fire neuron whose membrane is
 * drawn anew for each element, n ~ N(0, sigma^2) or U(-1/2, 1/2), and 0 without noise (Jiang and Zhang 2023; our reading).
 * dx/dz = theta h with h the surrogate of ds/dm; dx/dtheta = s - z h, the derivative of theta Phi((z / theta - 1/2) / sigma)
 * for the Gaussian law, and LSQ's for the rectangle. The noise is a constant.
 */
export function spike(context: TrainingContext, node: ActivationNode, activation: SpikeActivation, input: Operand): Differentiated {
  const { onnx, method } = context;
  const quantiser = new Quantiser(context, node, input);
  const { scaled } = quantiser;
  const membrane = method.noise === 'single-step' ? onnx.node('Add', [scaled, context.drawNoise(scaled)]) : scaled;
  const { clipped, inside } = quantiser.clip(membrane, 0.5, 1.5);
  const level = onnx.node('Floor', [clipped]);
  // The Gaussian is the density of the random membrane at the threshold, so it is taken without the noise.
  const surrogate = (): string =>
    method.surrogate === 'gaussian'
      ? emitSurrogate(onnx, 'gaussian', scaled, method.noiseSigma || defaultSigma)
      : emitSurrogate(onnx, method.surrogate, membrane);
  return {
    value: quantiser.value(level),
    backward: (gradient) => {
      const arriving = penalised(quantiser, gradient, level);
      const passed =
        method.surrogate === 'rectangle'
          ? gate(context, inside, arriving)
          : onnx.node('Mul', [arriving, surrogate()], {}, 'dX');
      if (!activation.trainable) return { inputs: [passed], parameters: {} };
      return { inputs: [passed], parameters: { [quantiser.parameter]: quantiser.thresholdGradient(gradient, passed, level) } };
    },
  };
}
