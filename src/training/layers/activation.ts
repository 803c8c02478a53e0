import { NoisefloorError } from '../../errors.js';
import type { ActivationNode, LsqActivation, QcfsActivation } from '../../graph/graph.js';
import { emitStep } from '../../onnx/layers.js';
import { elementCount } from '../../tensor.js';
import { dotPerChannel, emitAffine, spread, sumPerChannel } from './affine.js';
import { computedAfter } from './order.js';
import type { Affine, Differentiated, LayerRule, Operand, TrainingContext } from './rule.js';

/** Name of the training graph's input with the noise strength of an activation, in units of the activation. */
export function sigmaInput(node: ActivationNode): string {
  return `${node.name}.sigma`;
}

export const activationRule: LayerRule<ActivationNode> = (context, node, [input]) => {
  const { activation } = node;
  switch (activation.kind) {
    case 'relu':
      return relu(context, input!.value);
    case 'qcfs':
      return qcfs(context, node, activation, input!);
    case 'lsq':
      return lsq(context, node, activation, input!);
  }
};

function relu(context: TrainingContext, input: string): Differentiated {
  const { onnx } = context;
  return {
    value: onnx.node('Relu', [input]),
    backward: (gradient) => ({ inputs: [gate(context, onnx.node('Greater', [input, onnx.floats(0)]), gradient)], parameters: {} }),
  };
}

/**
 * y = theta q - sigma n with u = z / theta, q = floor(clip(u, 0, 1) L + 1/2) / L, n ~ N(0, 1) per element.
 * dy/dz = 1[0 <= u <= 1]; dy/dtheta = q - u 1[0 <= u <= 1]; the noise has no gradient (NQ, MPLayer).
 */
function qcfs(context: TrainingContext, node: ActivationNode, activation: QcfsActivation, input: Operand): Differentiated {
  if (context.noise === 'adaptor') throw wrongNoise(node, 'adaptor', 'lsq');
  const { onnx } = context;
  const quantiser = new Quantiser(context, node, activation, input);
  const rounded = quantiser.round(quantiser.scaled, 0.5, activation.levels + 0.5);
  const clean = onnx.node('Mul', [rounded.level, quantiser.step], {}, node.name);
  return {
    value: context.noise === 'nq' ? addNoise(context, clean, sigmaInput(node)) : clean,
    backward: (gradient) => {
      const passed = gate(context, rounded.inside, quantiser.penalised(gradient));
      const perStep = quantiser.stepGradient(gradient, passed, rounded.level);
      return { inputs: [passed], parameters: { [quantiser.parameter]: onnx.node('Div', [perStep, onnx.floats(activation.levels)]) } };
    },
  };
}

function addNoise({ onnx, drawNoise }: TrainingContext, clean: string, sigma: string): string {
  return onnx.node('Sub', [clean, onnx.node('Mul', [drawNoise(clean), sigma])]);
}

/**
 * y = s r with u = z / s + eps, r = floor(clip(u, 0, p) + 1/2), eps ~ U(-1/2, 1/2) per element with noise `adaptor`
 * (Noise Adaptor, variant A) and 0 without. dy/dz = 1[0 < u < p];
 * dL/ds = sum(g ((r - z / s) 1[0 < u < p] + p 1[u >= p])) / sqrt(B p), the noise being a constant (LSQ).
 */
function lsq(context: TrainingContext, node: ActivationNode, activation: LsqActivation, input: Operand): Differentiated {
  if (context.noise === 'nq') throw wrongNoise(node, 'nq', 'qcfs');
  const { onnx } = context;
  const quantiser = new Quantiser(context, node, activation, input);
  const { scaled } = quantiser;
  const noisy = context.noise === 'adaptor' ? onnx.node('Add', [scaled, context.drawNoise(scaled)]) : scaled;
  const rounded = quantiser.round(noisy, 0.5 + 2 ** -24, floatBelow(activation.levels + 0.5));
  return {
    value: onnx.node('Mul', [rounded.level, quantiser.step], {}, node.name),
    backward: (gradient) => {
      const passed = gate(context, rounded.inside, quantiser.penalised(gradient));
      const perStep = quantiser.stepGradient(gradient, passed, rounded.level);
      const damping = onnx.node('Sqrt', [onnx.node('Mul', [context.batchSize, onnx.floats(activation.levels)])]);
      return { inputs: [passed], parameters: { [quantiser.parameter]: onnx.node('Div', [perStep, damping]) } };
    },
  };
}

/** What qcfs and lsq share: y = step * floor(clip(z / step) + 1/2), joined with a batch normalisation before it. */
class Quantiser {
  readonly parameter: string;
  /** Real value of one level: theta / L or s. */
  readonly step: string;
  /** z / step + 1/2. */
  readonly scaled: string;
  readonly #z: Affine;

  constructor(
    readonly context: TrainingContext,
    readonly node: ActivationNode,
    readonly activation: QcfsActivation | LsqActivation,
    input: Operand,
  ) {
    const { onnx } = context;
    this.parameter = activation.kind === 'qcfs' ? `${node.name}.threshold` : `${node.name}.scale`;
    this.step = emitStep(onnx, activation, this.parameter);
    const perChannel = (value: number): string => onnx.floats(new Array<number>(this.channels).fill(value));
    this.#z = input.affine ?? { base: input.value, scale: perChannel(1), shift: perChannel(0) };
    const steps = spread(onnx, this.step, this.channels);
    const shift = onnx.node('Add', [onnx.node('Div', [this.#z.shift, steps]), onnx.floats(0.5)]);
    this.scaled = emitAffine(onnx, { base: this.#z.base, scale: onnx.node('Div', [this.#z.scale, steps]), shift }, this.channels);
  }

  get channels(): number {
    return this.context.shapes.get(this.node.input)![0]!;
  }

  /** floor of `value` clipped to [lowest, highest], and where it was inside. */
  round(value: string, lowest: number, highest: number): { level: string; inside: string } {
    const { onnx } = this.context;
    const clipped = onnx.node('Clip', [value, onnx.floats(lowest), onnx.floats(highest)]);
    const inside = onnx.node('Equal', [value, clipped]);
    return { level: computedAfter(onnx, onnx.node('Floor', [clipped]), inside), inside };
  }

  /**
   * The gradient of z with that of the activity penalty: weight * mean(level / levels), whose derivative is
   * weight / (elements threshold) wherever the quantiser is not saturated.
   */
  penalised(gradient: string): string {
    const { onnx, shapes, activityPenalty, batchSize, lossScale } = this.context;
    if (activityPenalty === 0) return gradient;
    const perElement = (lossScale * activityPenalty) / (elementCount(shapes.get(this.node.name)!) * this.activation.levels);
    const slope = onnx.node('Div', [onnx.floats(perElement), onnx.node('Mul', [batchSize, this.step])]);
    return onnx.node('Add', [gradient, slope]);
  }

  /**
   * sum(g level) - sum(passed z / step): the levels are the clip bounds outside. The second sum is made of per-channel
   * sums that the batch normalisation before needs too.
   */
  stepGradient(gradient: string, passed: string, level: string): string {
    const { onnx, shapes } = this.context;
    const shape = shapes.get(this.node.input)!;
    const overLevel = onnx.node('ReduceSum', [dotPerChannel(onnx, gradient, level, shape)], { keepdims: 0 });
    const overBase = onnx.node('Mul', [dotPerChannel(onnx, passed, this.#z.base, shape), this.#z.scale]);
    const overShift = onnx.node('Mul', [sumPerChannel(onnx, passed, shape), this.#z.shift]);
    const overZ = onnx.node('ReduceSum', [onnx.node('Add', [overBase, overShift])], { keepdims: 0 });
    return onnx.node('Sub', [overLevel, onnx.node('Div', [overZ, this.step])]);
  }
}

/** The gradient where `mask` holds, 0 elsewhere. On the CPU Where takes twice as long as a product, on CUDA two thirds. */
function gate({ onnx, device }: TrainingContext, mask: string, gradient: string): string {
  if (device === 'cuda') return onnx.node('Where', [mask, gradient, onnx.floats(0)], {}, 'dX');
  return onnx.node('Mul', [gradient, onnx.node('Cast', [mask], { to: 1 })], {}, 'dX');
}

/** The largest float32 below `value`, which is a float32 itself. */
function floatBelow(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0]! -= 1;
  return new Float32Array(bits.buffer)[0]!;
}

function wrongNoise(node: ActivationNode, noise: string, needed: string): NoisefloorError {
  return new NoisefloorError(
    'INVALID_ARGUMENT',
    `Noise "${noise}" needs ${needed} activations, but "${node.name}" is ${node.activation.kind}: build the network with ${needed}.`,
  );
}
