import type { ParameterSpec } from '../graph/parameters.js';
import { OnnxBuilder } from '../onnx/builder.js';

export const decayScopes = ['all', 'weights'] as const;
/**
 * What weight decay acts on: `all` parameters, as the papers train, or the `weights` of convolutions and linear layers
 * alone, sparing thresholds, steps, biases and batch normalisation.
 */
export type DecayScope = (typeof decayScopes)[number];

interface SharedOptions {
  /** Learning rate of thresholds and steps relative to that of the other parameters; 0 keeps them fixed. Default 1. */
  readonly thresholdRate?: number;
}
export interface SgdOptions extends SharedOptions {
  readonly kind: 'sgd';
  /** Default 0.9. */
  readonly momentum?: number;
  /** L2 decay added to the gradient of every parameter. Default 5e-4. */
  readonly weightDecay?: number;
  /** Default `all`. */
  readonly decay?: DecayScope;
  /** Look ahead along the momentum, as PyTorch does. Default false. */
  readonly nesterov?: boolean;
}
/** Loshchilov and Hutter 2019: decay apart from the gradient. */
export interface AdamWOptions extends SharedOptions {
  readonly kind: 'adamw';
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Default 0.01. */
  readonly weightDecay?: number;
  /** Default `all`. */
  readonly decay?: DecayScope;
}
export type OptimizerOptions = SgdOptions | AdamWOptions;
export const optimizerKinds = ['sgd', 'adamw'] as const;
export type OptimizerKind = (typeof optimizerKinds)[number];

/** Kinds of state that an optimiser keeps for each trained parameter. */
export function stateSuffixes(kind: OptimizerOptions['kind']): readonly string[] {
  return kind === 'sgd' ? ['momentum'] : ['moment1', 'moment2'];
}

/** Names of a parameter's state tensors, `<parameter>.<suffix>`; they start at 0. */
export function stateNames(kind: OptimizerKind, parameter: string): string[] {
  return stateSuffixes(kind).map((suffix) => `${parameter}.${suffix}`);
}

/** Thresholds and steps must stay positive whatever the learning rate. */
const smallestThreshold = 1e-4;

/** Values that the optimiser reads besides parameters, gradients and states: scalars. */
export interface OptimizerClock {
  readonly learningRate: string;
  /** Step number from 1; read by adamw alone. */
  readonly step: () => string;
}

/** New values of a parameter and its states. */
export interface Updated {
  readonly spec: ParameterSpec;
  readonly parameter: string;
  readonly states: readonly { readonly name: string; readonly value: string }[];
}

/** Emits one optimiser step for every trained parameter P, from values named `P` and `P.<state>`. */
export function emitOptimizer(
  onnx: OnnxBuilder,
  specs: readonly ParameterSpec[],
  options: OptimizerOptions,
  clock: OptimizerClock,
  gradientOf: (name: string) => string,
): Updated[] {
  const update = options.kind === 'sgd' ? sgd(onnx, options, clock) : adamW(onnx, options, clock);
  return specs
    .filter(({ role }) => role !== 'buffer')
    .map((spec) => {
      const states = stateNames(options.kind, spec.name);
      const next = update(spec, gradientOf(spec.name), states);
      const parameter = spec.role === 'threshold' ? onnx.node('Max', [next.parameter, onnx.floats(smallestThreshold)]) : next.parameter;
      return { spec, parameter, states: next.states.map((value, i) => ({ name: states[i]!, value })) };
    });
}

/**
 * optimizer_model.onnx. Inputs: `learning_rate` (scalar), with adamw `step` (scalar, from 1), and for each parameter P
 * `P`, `P.grad` and its states. Outputs: `P.next` and `<state>.next`.
 */
export function optimizerModel(specs: readonly ParameterSpec[], options: OptimizerOptions): Uint8Array<ArrayBuffer> {
  const onnx = new OnnxBuilder('optimizer');
  for (const { name, role, shape } of specs) {
    if (role === 'buffer') continue;
    for (const input of [name, `${name}.grad`, ...stateNames(options.kind, name)]) {
      onnx.input(input, 'float32', shape);
    }
  }
  const clock = { learningRate: onnx.input('learning_rate', 'float32', []), step: () => onnx.input('step', 'float32', []) };
  for (const { spec, parameter, states } of emitOptimizer(onnx, specs, options, clock, (name) => `${name}.grad`)) {
    onnx.output(parameter, `${spec.name}.next`, 'float32', spec.shape);
    for (const { name, value } of states) onnx.output(value, `${name}.next`, 'float32', spec.shape);
  }
  return onnx.build();
}

type Update = (spec: ParameterSpec, gradient: string, states: readonly string[]) => { parameter: string; states: string[] };

function decays({ role }: ParameterSpec, scope: DecayScope = 'all'): boolean {
  return scope === 'all' || role === 'weight';
}

function rateOf(onnx: OnnxBuilder, { role }: ParameterSpec, { thresholdRate = 1 }: OptimizerOptions, { learningRate }: OptimizerClock): string {
  return role === 'threshold' && thresholdRate !== 1 ? onnx.node('Mul', [learningRate, onnx.floats(thresholdRate)]) : learningRate;
}

function sgd(onnx: OnnxBuilder, options: SgdOptions, clock: OptimizerClock): Update {
  const { momentum = 0.9, weightDecay = 5e-4, nesterov = false, decay } = options;
  return (spec, gradient, [velocity]) => {
    const pull = onnx.node('Mul', [spec.name, onnx.floats(weightDecay)]);
    const decayed = decays(spec, decay) ? onnx.node('Add', [gradient, pull]) : gradient;
    const carried = onnx.floats(momentum);
    const next = onnx.node('Add', [onnx.node('Mul', [velocity!, carried]), decayed]);
    const direction = nesterov ? onnx.node('Add', [decayed, onnx.node('Mul', [next, carried])]) : next;
    return { parameter: onnx.node('Sub', [spec.name, onnx.node('Mul', [direction, rateOf(onnx, spec, options, clock)])]), states: [next] };
  };
}

function adamW(onnx: OnnxBuilder, options: AdamWOptions, clock: OptimizerClock): Update {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0.01 } = options;
  const step = clock.step();
  const [one, b1, b2] = [1, beta1, beta2].map((value) => onnx.floats(value)) as [string, string, string];
  const correction1 = onnx.node('Sub', [one, onnx.node('Pow', [b1, step])]);
  const correction2 = onnx.node('Sub', [one, onnx.node('Pow', [b2, step])]);
  return (spec, gradient, [moment1, moment2]) => {
    const rate = rateOf(onnx, spec, options, clock);
    const next1 = onnx.node('Add', [onnx.node('Mul', [moment1!, b1]), onnx.node('Mul', [gradient, onnx.floats(1 - beta1)])]);
    const squared = onnx.node('Mul', [gradient, gradient]);
    const next2 = onnx.node('Add', [onnx.node('Mul', [moment2!, b2]), onnx.node('Mul', [squared, onnx.floats(1 - beta2)])]);
    const spread = onnx.node('Sqrt', [onnx.node('Div', [next2, correction2])]);
    const direction = onnx.node('Div', [onnx.node('Div', [next1, correction1]), onnx.node('Add', [spread, onnx.floats(epsilon)])]);
    const keep = onnx.node('Sub', [one, onnx.node('Mul', [rate, onnx.floats(weightDecay)])]);
    const kept = decays(spec, options.decay) ? onnx.node('Mul', [spec.name, keep]) : spec.name;
    return { parameter: onnx.node('Sub', [kept, onnx.node('Mul', [direction, rate])]), states: [next1, next2] };
  };
}
