import type { ActivationNode, ReluActivation, SlipReluActivation } from '../../graph/graph.js';
import { emitRelu } from '../../onnx/layers.js';
import { penalised } from './penalty.js';
import { gate, Quantiser } from './quantiser.js';
import type { Differentiated, Operand, TrainingContext } from './rule.js';

/** dy/dz = 1[z > 0], with a cap 1[0 < z < cap]. */
export function relu(context: TrainingContext, activation: ReluActivation, input: string): Differentiated {
  const { onnx } = context;
  return {
    value: emitRelu(onnx, activation, input),
    backward: (gradient) => {
      const passed = gate(context, onnx.node('Greater', [input, onnx.floats(0)]), gradient);
      if (activation.cap === undefined) return { inputs: [passed], parameters: {} };
      return { inputs: [gate(context, onnx.node('Less', [input, onnx.floats(activation.cap)]), passed)], parameters: {} };
    },
  };
}

/** y = clip(z, 0, theta); dy/dz = 1[0 <= z <= theta], dy/dtheta = 1[z > theta] (TCL). */
export function tcl(context: TrainingContext, node: ActivationNode, input: Operand): Differentiated {
  const quantiser = new Quantiser(context, node, input, 0);
  const { clipped, inside } = quantiser.clip(quantiser.scaled, 0, 1);
  return {
    value: quantiser.value(clipped),
    backward: (gradient) => {
      const passed = gate(context, inside, penalised(quantiser, gradient, clipped));
      return { inputs: [passed], parameters: { [quantiser.parameter]: quantiser.thresholdGradient(gradient, passed, clipped) } };
    },
  };
}

/**
 * With u = L z / theta: y = theta / L (a clip(u, 0, L) + (1 - a) clip(floor(u + 1/2), 0, L)). The floor comes before its clip:
 * L/theta dy/du = a 1[0 <= u <= L] + (1 - a) 1[-1/2 <= u < L + 1/2] (SlipReLU).
 */
export function slipRelu(context: TrainingContext, node: ActivationNode, { slope }: SlipReluActivation, input: Operand): Differentiated {
  const { onnx } = context;
  const quantiser = new Quantiser(context, node, input);
  const { scaled, levels } = quantiser;
  const ramp = quantiser.clip(scaled, 0.5, levels + 0.5);
  const stairs = quantiser.clip(onnx.node('Floor', [scaled]), 0, levels);
  const share = (value: string, part: number): string => onnx.node('Mul', [value, onnx.floats(part)]);
  const mask = (inside: string): string => onnx.node('Cast', [inside], { to: 1 });
  const aboveHalf = onnx.node('Sub', [ramp.clipped, onnx.floats(0.5)]);
  const level = onnx.node('Add', [share(aboveHalf, slope), share(stairs.clipped, 1 - slope)]);
  return {
    value: quantiser.value(level),
    backward: (gradient) => {
      const window = onnx.node('Add', [share(mask(ramp.inside), slope), share(mask(stairs.inside), 1 - slope)]);
      const passed = onnx.node('Mul', [penalised(quantiser, gradient, level), window], {}, 'dX');
      return { inputs: [passed], parameters: { [quantiser.parameter]: quantiser.thresholdGradient(gradient, passed, level) } };
    },
  };
}
