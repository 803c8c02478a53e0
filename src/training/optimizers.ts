import type { ParameterSpec } from '../graph/parameters.js';
import { OnnxBuilder } from '../onnx/builder.js';
import { averageName, emitAverages, type Averaged } from './average.js';
import { emitClip } from './clip.js';

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

/** What an optimiser step does besides its rule. */
export interface StepRecipe {
  /** Decay of the moving average of the weights; 0 keeps none. */
  readonly ema: number;
  /** Largest norm of all gradients together; 0 does not clip. */
  readonly clipNorm: number;
  /** With clipping: a step whose gradients are not finite adds none. Default false. */
  readonly skipOverflow?: boolean;
}
const plainRecipe: StepRecipe = { ema: 0, clipNorm: 0 };

/** Kinds of state that an optimiser keeps for each trained parameter. */
export function stateSuffixes(kind: OptimizerOptions['kind']): readonly string[] {
  return kind === 'sgd' ? ['momentum'] : ['moment1', 'moment2'];
}

/** Names of the tensors that the optimiser keeps of a parameter, `<parameter>.<suffix>`. */
function stateNames(kind: OptimizerKind, parameter: string): string[] {
  return stateSuffixes(kind).map((suffix) => `${parameter}.${suffix}`);
}

/** A tensor of the training state besides the parameters and buffers, of the shape of one of them. */
export interface StateSpec {
  readonly name: string;
  readonly of: ParameterSpec;
  readonly startsAt: 'zero' | 'parameter';
}

/** Everything that goes from one step to the next besides parameters and buffers. */
export function trainingStates(specs: readonly ParameterSpec[], { optimizer, ema }: { readonly optimizer: OptimizerOptions; readonly ema: number }): StateSpec[] {
  return specs.flatMap((of): StateSpec[] => {
    const names = of.role === 'buffer' ? [] : stateNames(optimizer.kind, of.name);
    const kept = names.map((name): StateSpec => ({ name, of, startsAt: 'zero' }));
    return ema > 0 ? [...kept, { name: averageName(of.name), of, startsAt: 'parameter' }] : kept;
  });
}

/** Thresholds and steps must stay positive whatever the learning rate. */
const smallestThreshold = 1e-4;

/** Values that the optimiser reads besides parameters, gradients and states: scalars. */
export interface OptimizerClock {
  readonly learningRate: string;
  /** Step number from 1; read by adamw alone. */
  readonly step: () => string;
  /** Part of the moving average that stays; read with one alone. */
  readonly averageDecay: () => string;
}

/** What the training graph gives the optimiser, by the name of the parameter or buffer. */
export interface OptimizerSource {
  readonly gradientOf: (parameter: string) => string;
  /** The new value of a buffer; read with a moving average alone. */
  readonly bufferOf: (buffer: string) => string;
}

/** New values of a parameter and the optimiser's states of it. */
export interface Updated {
  readonly spec: ParameterSpec;
  readonly parameter: string;
  readonly states: readonly { readonly name: string; readonly value: string }[];
}

export interface OptimizerStep {
  readonly updates: readonly Updated[];
  /** Of every parameter and buffer, with a moving average. */
  readonly averages: readonly Averaged[];
  /** With clipping: a scalar. */
  readonly gradientNorm?: string;
}

/** Emits one optimiser step for every trained parameter P, from values named `P` and `P.<state>`. */
export function emitOptimizer(
  onnx: OnnxBuilder,
  specs: readonly ParameterSpec[],
  options: OptimizerOptions,
  clock: OptimizerClock,
  source: OptimizerSource,
  recipe: StepRecipe = plainRecipe,
): OptimizerStep {
  const update = options.kind === 'sgd' ? sgd(onnx, options, clock) : adamW(onnx, options, clock);
  const trained = specs.filter(({ role }) => role !== 'buffer');
  const clipped = recipe.clipNorm > 0 ? emitClip(onnx, trained.map(({ name }) => name), source.gradientOf, recipe.clipNorm, recipe.skipOverflow) : undefined;
  const gradientOf = clipped?.gradientOf ?? source.gradientOf;
  const updates = trained.map((spec) => {
    const states = stateNames(options.kind, spec.name);
    const next = update(spec, gradientOf(spec.name), states);
    const parameter = spec.role === 'threshold' ? onnx.node('Max', [next.parameter, onnx.floats(smallestThreshold)]) : next.parameter;
    return { spec, parameter, states: next.states.map((value, i) => ({ name: states[i]!, value })) };
  });
  const parameters = new Map(updates.map(({ spec, parameter }) => [spec.name, parameter]));
  const nextOf = ({ name }: ParameterSpec): string => parameters.get(name) ?? source.bufferOf(name);
  const averages = recipe.ema > 0 ? emitAverages(onnx, specs, clock.averageDecay(), nextOf) : [];
  return { updates, averages, ...(clipped ? { gradientNorm: clipped.norm } : {}) };
}

/**
 * optimizer_model.onnx. Inputs: `learning_rate` (scalar), with adamw `step` (scalar, from 1), and for each parameter P
 * `P`, `P.grad` and its states. Outputs: `P.next` and `<state>.next`. With a moving average also the inputs
 * `average_decay` (scalar), `P.ema`, and for each buffer B `B.next` and `B.ema`, and the outputs `P.ema.next` and
 * `B.ema.next`. With clipping also the output `gradient_norm` (scalar, before clipping).
 */
export function optimizerModel(specs: readonly ParameterSpec[], options: OptimizerOptions, recipe: StepRecipe = plainRecipe): Uint8Array<ArrayBuffer> {
  const onnx = new OnnxBuilder('optimizer');
  for (const { name, role, shape } of specs) {
    if (role === 'buffer') continue;
    for (const input of [name, `${name}.grad`]) onnx.input(input, 'float32', shape);
  }
  for (const { name, of } of trainingStates(specs, { optimizer: options, ema: recipe.ema })) onnx.input(name, 'float32', of.shape);
  const shapes = new Map(specs.map(({ name, shape }) => [name, shape]));
  const scalar = (name: string): string => onnx.input(name, 'float32', []);
  const clock = { learningRate: scalar('learning_rate'), step: () => scalar('step'), averageDecay: () => scalar('average_decay') };
  const source = {
    gradientOf: (name: string): string => `${name}.grad`,
    bufferOf: (name: string): string => onnx.input(`${name}.next`, 'float32', shapes.get(name)!),
  };
  const step = emitOptimizer(onnx, specs, options, clock, source, recipe);
  for (const { spec, parameter, states } of step.updates) {
    onnx.output(parameter, `${spec.name}.next`, 'float32', spec.shape);
    for (const { name, value } of states) onnx.output(value, `${name}.next`, 'float32', spec.shape);
  }
  for (const { spec, name, value } of step.averages) onnx.output(value, `${name}.next`, 'float32', spec.shape);
  if (step.gradientNorm !== undefined) onnx.output(step.gradientNorm, 'gradient_norm', 'float32', []);
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
