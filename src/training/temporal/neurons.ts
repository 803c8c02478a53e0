import { activationParameter } from '../../graph/parameters.js';
import type { ActivationNode } from '../../graph/graph.js';
import { emitThreshold } from '../../onnx/layers.js';
import type { OnnxBuilder } from '../../onnx/builder.js';
import { elementCount } from '../../tensor.js';
import { dotPerChannel, emitAffine, spread, sumPerChannel } from '../layers/affine.js';
import type { Affine, Differentiated, Operand, TrainingContext } from '../layers/rule.js';
import type { TemporalConfig } from './options.js';
import { emitSurrogate } from '../layers/surrogate.js';

/** What an integrate-and-fire neuron did at each step. */
export interface Fired {
  /** u = v / theta before the reset. */
  readonly charged: readonly string[];
  /** 1 where it spiked, else 0; bool. */
  readonly spikes: readonly string[];
}

/**
 * Integrate-and-fire in units of the threshold: u(0) = 1/2, u += current, spike where u >= 1, u -= spike.
 *
 * @param currents one a step, divided by the threshold
 */
export function emitIntegrateAndFire(onnx: OnnxBuilder, currents: readonly string[]): Fired {
  const one = onnx.floats(1);
  let residual = onnx.floats(0.5);
  const charged: string[] = [];
  const spikes: string[] = [];
  for (const [t, current] of currents.entries()) {
    const now = onnx.node('Add', [current, residual], {}, 'charged');
    const spike = onnx.node('GreaterOrEqual', [now, one], {}, 'spike');
    charged.push(now);
    spikes.push(spike);
    if (t < currents.length - 1) residual = onnx.node('Sub', [now, onnx.node('Cast', [spike], { to: 1 })]);
  }
  return { charged, spikes };
}

/** The pieces of a value [T N, ...] that belong to each step. */
export function splitSteps(onnx: OnnxBuilder, value: string, timeSteps: number): string[] {
  return timeSteps === 1 ? [value] : onnx.nodes('Split', [value], timeSteps, { axis: 0, num_outputs: timeSteps });
}

export function joinSteps(onnx: OnnxBuilder, steps: readonly string[], hint?: string): string {
  return steps.length === 1 ? steps[0]! : onnx.node('Concat', steps, { axis: 0 }, hint);
}

/** A value [N, ...] for every step: [T N, ...]. */
export function repeatSteps(onnx: OnnxBuilder, value: string, timeSteps: number): string {
  return joinSteps(onnx, new Array<string>(timeSteps).fill(value));
}

/** A quantised activation as spiking neurons over time. */
export interface Firing extends Fired {
  readonly neurons: Neurons;
  /** Spikes of amplitude theta, [T N, ...]. */
  readonly value: string;
}

/** @param input current, [N, ...] (`steady`) or [T N, ...] */
export function emitNeurons(context: TrainingContext, node: ActivationNode, input: Operand, steady: boolean, config: TemporalConfig): Firing {
  const { onnx } = context;
  const { timeSteps } = config;
  const neurons = new Neurons(context, node, input, config);
  const currents = steady ? new Array<string>(timeSteps).fill(neurons.current) : splitSteps(onnx, neurons.current, timeSteps);
  const fired = emitIntegrateAndFire(onnx, currents);
  const value = onnx.node('Mul', [onnx.node('Cast', [joinSteps(onnx, fired.spikes)], { to: 1 }), neurons.threshold], {}, node.name);
  return { ...fired, neurons, value };
}

/**
 * Backpropagation through time. With h_t the surrogate, G_t the gradient of the output and D_t that of the current:
 * D_t = G_t h_t + D_{t+1} with the reset detached, else D_t = G_t h_t + D_{t+1} (1 - h_t);
 * d loss / d theta = sum(G_t s_t) - sum(D_t I_t) / theta, the spike being a function of v / theta.
 */
export function neuronRule(context: TrainingContext, node: ActivationNode, input: Operand, steady: boolean, config: TemporalConfig): Differentiated {
  const { onnx } = context;
  const { neurons, charged, value } = emitNeurons(context, node, input, steady, config);
  return {
    value,
    backward: (gradient) => {
      const perStep = neurons.currentGradients(splitSteps(onnx, neurons.penalised(gradient), config.timeSteps), charged);
      const current = steady ? total(onnx, perStep) : joinSteps(onnx, perStep, 'dX');
      return { inputs: [current], parameters: neurons.thresholdGradient(gradient, value, current) };
    },
  };
}

class Neurons {
  readonly threshold: string;
  /** In units of the threshold. */
  readonly current: string;
  readonly #z: Affine;

  constructor(
    readonly context: TrainingContext,
    readonly node: ActivationNode,
    input: Operand,
    readonly config: TemporalConfig,
  ) {
    const { onnx, shapes } = context;
    const shape = shapes.get(node.input)!;
    const channels = shape[0]!;
    const perChannel = (value: number): string => onnx.floats(new Array<number>(channels).fill(value));
    this.threshold = emitThreshold(onnx, node);
    this.#z = input.affine ?? { base: input.value, scale: perChannel(1), shift: perChannel(0) };
    const thresholds = spread(onnx, this.threshold, channels);
    const [scale, shift] = [this.#z.scale, this.#z.shift].map((vector) => onnx.node('Div', [vector, thresholds])) as [string, string];
    this.current = emitAffine(onnx, { base: this.#z.base, scale, shift }, shape);
  }

  /** The gradient of the output with that of the activity penalty: weight * mean spikes of a neuron and step. */
  penalised(gradient: string): string {
    const { onnx, shapes, method, batchSize, lossScale } = this.context;
    if (method.activityPenalty === 0) return gradient;
    const perElement = (lossScale * method.activityPenalty) / (elementCount(shapes.get(this.node.name)!) * this.config.timeSteps);
    const slope = onnx.node('Div', [onnx.floats(perElement), onnx.node('Mul', [batchSize, this.threshold])]);
    return onnx.node('Add', [gradient, slope]);
  }

  /** Backwards through time: the gradient of each step's current from those of each step's output. */
  currentGradients(gradients: readonly string[], charged: readonly string[]): string[] {
    const { onnx } = this.context;
    const { surrogate, detachReset } = this.config;
    const results: string[] = [];
    let later: string | undefined;
    for (const [t, gradient] of [...gradients.entries()].reverse()) {
      const ofSpike = later === undefined || detachReset ? gradient : onnx.node('Sub', [gradient, later]);
      const passed = onnx.node('Mul', [ofSpike, emitSurrogate(onnx, surrogate, charged[t]!)]);
      later = later === undefined ? passed : onnx.node('Add', [passed, later]);
      results.unshift(later);
    }
    return results;
  }

  /** Of the activation's parameter: theta, or s with theta = s p. */
  thresholdGradient(gradient: string, value: string, currentGradient: string): Record<string, string> {
    const { onnx, shapes } = this.context;
    const { activation } = this.node;
    const parameter = activationParameter(this.node)!;
    if (!this.config.trainThresholds) return fixedThreshold(onnx, this.node);
    if (hasFixedThreshold(this.node)) return {};
    const shape = shapes.get(this.node.input)!;
    const overOutput = onnx.node('ReduceSum', [dotPerChannel(onnx, gradient, value, shapes.get(this.node.name)!)], { keepdims: 0 });
    const overBase = onnx.node('Mul', [dotPerChannel(onnx, currentGradient, this.#z.base, shape), this.#z.scale]);
    const overShift = onnx.node('Mul', [sumPerChannel(onnx, currentGradient, shape), this.#z.shift]);
    const overCurrent = onnx.node('ReduceSum', [onnx.node('Add', [overBase, overShift])], { keepdims: 0 });
    const gap = onnx.node('Sub', [overOutput, overCurrent]);
    // lsq: d theta / d s = p and theta = s p, so the quotient is that by s.
    return { [parameter]: onnx.node('Div', [gap, activation.kind === 'lsq' ? parameter : this.threshold]) };
  }
}

/** The gradient of a threshold that is not trained: 0, and none of a buffer. */
export function fixedThreshold(onnx: OnnxBuilder, node: ActivationNode): Record<string, string> {
  return hasFixedThreshold(node) ? {} : { [activationParameter(node)!]: onnx.floats(0) };
}

/** Whether the threshold is stored as a buffer and not trained. */
export function hasFixedThreshold({ activation }: ActivationNode): boolean {
  return activation.kind === 'spike' && !activation.trainable;
}

function total(onnx: OnnxBuilder, values: readonly string[]): string {
  return values.length === 1 ? values[0]! : onnx.node('Sum', values, {}, 'dX');
}
