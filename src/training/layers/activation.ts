import type { ActivationNode } from '../../graph/graph.js';
import { measuresSigma } from '../method.js';
import { relu, slipRelu, tcl } from './clips.js';
import { penalised } from './penalty.js';
import { floatBelow, gate, Quantiser } from './quantiser.js';
import type { Differentiated, LayerRule, Operand, TrainingContext } from './rule.js';
import { spike } from './spike.js';

/** Name of the training graph's input with the measured noise strength of an activation, in units of the activation. */
export function sigmaInput(node: ActivationNode): string {
  return `${node.name}.sigma`;
}

export const activationRule: LayerRule<ActivationNode> = (context, node, [input]) => {
  const { activation } = node;
  switch (activation.kind) {
    case 'relu':
      return relu(context, activation, input!.value);
    case 'qcfs':
      return qcfs(context, node, input!);
    case 'lsq':
      return lsq(context, node, input!);
    case 'tcl':
      return tcl(context, node, input!);
    case 'slip-relu':
      return slipRelu(context, node, activation, input!);
    case 'spike':
      return spike(context, node, activation, input!);
  }
};

/**
 * y = theta q - sigma n with u = z / theta, q = floor(clip(u, 0, 1) L + 1/2) / L, n ~ N(0, 1) per element.
 * dy/dz = 1[0 <= u <= 1]; dy/dtheta = q - u 1[0 <= u <= 1]; the noise has no gradient (NQ, MPLayer).
 * sigma is measured, or a fixed share of theta that the draw is already scaled by.
 */
function qcfs(context: TrainingContext, node: ActivationNode, input: Operand): Differentiated {
  const { onnx, method } = context;
  const quantiser = new Quantiser(context, node, input);
  const { level, inside } = quantiser.round(quantiser.scaled, 0.5, quantiser.levels + 0.5);
  const clean = quantiser.value(level);
  const noisy = (): string => {
    const sigma = measuresSigma(method) ? sigmaInput(node) : quantiser.parameter;
    return onnx.node('Sub', [clean, onnx.node('Mul', [context.drawNoise(clean), sigma])]);
  };
  return {
    value: method.noise === 'nq' ? noisy() : clean,
    backward: (gradient) => {
      const passed = gate(context, inside, penalised(quantiser, gradient, level));
      return { inputs: [passed], parameters: { [quantiser.parameter]: quantiser.thresholdGradient(gradient, passed, level) } };
    },
  };
}

/**
 * With eps ~ U(-a, a) per element, 0 without noise: A, y = s r, r = floor(clip(u, 0, p) + 1/2) of u = z / s + eps; B, the same
 * without rounding, r = clip(u, 0, p); C, y = s (r + eps) of u = z / s (Noise Adaptor; variants are our reading).
 * dy/dz = 1[0 < u < p]; dL/ds = sum(g ((r - z / s) 1[0 < u < p] + p 1[u >= p])) / sqrt(B p), the noise being a constant (LSQ).
 */
function lsq(context: TrainingContext, node: ActivationNode, input: Operand): Differentiated {
  const { onnx, method } = context;
  const noise = method.noise === 'adaptor' ? method.noiseVariant : 'none';
  const quantiser = new Quantiser(context, node, input, noise === 'B' ? 0 : 0.5);
  const { scaled, levels } = quantiser;
  const drawn = noise === 'none' ? undefined : context.drawNoise(scaled);
  const entering = drawn !== undefined && noise !== 'C' ? onnx.node('Add', [scaled, drawn]) : scaled;
  const { level, inside } = noise === 'B' ? additive(quantiser, entering) : quantiser.round(entering, 0.5 + 2 ** -24, floatBelow(levels + 0.5));
  return {
    value: quantiser.value(drawn !== undefined && noise === 'C' ? onnx.node('Add', [level, drawn]) : level),
    backward: (gradient) => {
      const passed = gate(context, inside, penalised(quantiser, gradient, level));
      const perStep = quantiser.stepGradient(gradient, passed, level);
      const damping = onnx.node('Sqrt', [onnx.node('Mul', [context.batchSize, onnx.floats(levels)])]);
      return { inputs: [passed], parameters: { [quantiser.parameter]: onnx.node('Div', [perStep, damping]) } };
    },
  };
}

function additive(quantiser: Quantiser, value: string): { level: string; inside: string } {
  const { clipped, inside } = quantiser.clip(value, 0, quantiser.levels);
  return { level: clipped, inside };
}
