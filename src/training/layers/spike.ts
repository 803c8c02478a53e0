import type { ActivationNode, SpikeActivation } from '../../graph/graph.js';
import { defaultSigma } from '../method.js';
import { penalised } from './penalty.js';
import { gate, Quantiser } from './quantiser.js';
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
  const { level, inside } = quantiser.round(membrane, 0.5, 1.5);
  if (!activation.trainable) context.updateBuffer(quantiser.parameter, quantiser.parameter);
  return {
    value: quantiser.value(level),
    backward: (gradient) => {
      const arriving = penalised(quantiser, gradient, level);
      const passed =
        method.surrogate === 'rectangle'
          ? gate(onnx, inside, arriving)
          : onnx.node('Mul', [arriving, method.surrogate === 'gaussian' ? gaussian(context, scaled) : arctan(context, membrane)], {}, 'dX');
      if (!activation.trainable) return { inputs: [passed], parameters: {} };
      return { inputs: [passed], parameters: { [quantiser.parameter]: quantiser.thresholdGradient(gradient, passed, level) } };
    },
  };
}

/** theta times the density of the random membrane at the threshold; `scaled` is m / theta without noise. */
function gaussian({ onnx, method }: TrainingContext, scaled: string): string {
  const sigma = method.noiseSigma || defaultSigma;
  const away = onnx.node('Sub', [scaled, onnx.floats(1)]);
  const exponent = onnx.node('Mul', [onnx.node('Mul', [away, away]), onnx.floats(-1 / (2 * sigma ** 2))]);
  return onnx.node('Mul', [onnx.node('Exp', [exponent]), onnx.floats(1 / (sigma * Math.sqrt(2 * Math.PI)))]);
}

/** 1 / (1 + (pi (m / theta - 1))^2): ATan with alpha = 2 (Fang et al., ICCV 2021). */
function arctan({ onnx }: TrainingContext, membrane: string): string {
  const away = onnx.node('Mul', [onnx.node('Sub', [membrane, onnx.floats(1)]), onnx.floats(Math.PI)]);
  return onnx.node('Reciprocal', [onnx.node('Add', [onnx.node('Mul', [away, away]), onnx.floats(1)])]);
}
