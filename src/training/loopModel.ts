import { mixes } from '../data/augment/mixing.js';
import type { Normalization } from '../data/dataset.js';
import type { Graph, Shape } from '../graph/graph.js';
import { parameterSpecs } from '../graph/parameters.js';
import { OnnxBuilder } from '../onnx/builder.js';
import type { Precision } from '../onnx/device.js';
import { MixedPrecisionBuilder } from '../onnx/mixedPrecision.js';
import { emitJoin, emitSplit, joinSmall, type JoinedParameter } from './joined.js';
import { emitAffine } from './layers/affine.js';
import { sigmaInput } from './layers/activation.js';
import { mixedLabels } from './loss.js';
import { drawLaw, measuresSigma, resolveMethod } from './method.js';
import { emitTrainingStep, noisyActivations, type NoiseSource, type TrainingGraphOptions } from './models.js';
import { emitOptimizer, trainingStates, type OptimizerOptions, type StepRecipe } from './optimizers.js';

export interface LoopOptions extends TrainingGraphOptions, StepRecipe {
  readonly optimizer: OptimizerOptions;
  readonly precision: Precision;
}

/**
 * Gradients of a map are about 1e-4 / batch size; float16 holds 6e-8 to 65504. With this factor they keep five decades
 * above the smallest, and their sums stay two below the largest.
 */
const mixedLossScale = 4096;

/** Over time their norm was up to thirty times as large on ResNet-18, but not by rates with batch statistics. */
const temporalLossScale = 256;

/** What goes from one step to the next: a parameter, a buffer or a state of training, of one or several joined ones. */
interface LoopState {
  readonly name: string;
  readonly joined: JoinedParameter;
  /** What comes in and goes out. */
  readonly members: readonly { readonly name: string; readonly shape: Shape }[];
}

function loopStates(parameters: readonly JoinedParameter[], options: LoopOptions): LoopState[] {
  const states = trainingStates(parameters.map(({ spec }) => spec), options);
  return parameters.flatMap((joined) => {
    const suffixes = ['', ...states.filter(({ of }) => of === joined.spec).map(({ name }) => name.slice(joined.spec.name.length))];
    return suffixes.map((suffix): LoopState => {
      const members = joined.members.map(({ name, shape }) => ({ name: `${name}${suffix}`, shape }));
      return { name: `${joined.spec.name}${suffix}`, joined, members };
    });
  });
}

/**
 * training_loop.onnx: K whole training steps, optimiser included, in one ONNX `Loop`, whose state stays on the device.
 * Inputs: `images` uint8 [K, N, C, H, W]; `labels_of_steps` int64 [K, N]; `learning_rates`, with adamw `step_numbers` (from 1),
 * with a moving average `average_decays`, float32 [K]; each state S as `S.now`; with measured `nq` the scalars
 * `<activation>.sigma`; with a noise warm-up `noise_share`; where batches are mixed `mixed_labels_of_steps` int64 [K, N] and
 * `mixed_weights` [K]. Outputs: `losses`, `corrects`, with clipping `gradient_norms` [K]; each state as `S.next`. Noise comes
 * from the runtime's generators, which are parallel on a GPU.
 */
export function trainingLoopModel(graph: Graph, normalization: Normalization, options: LoopOptions): Uint8Array<ArrayBuffer> {
  const onnx = new OnnxBuilder('training_loop');
  const { shape } = graph.input;
  onnx.input('images', 'uint8', ['K', 'N', ...shape]);
  onnx.input('labels_of_steps', 'int64', ['K', 'N']);
  onnx.input('learning_rates', 'float32', ['K']);
  if (options.optimizer.kind === 'adamw') onnx.input('step_numbers', 'float32', ['K']);
  if (mixes(options)) {
    onnx.input('mixed_labels_of_steps', 'int64', ['K', 'N']);
    onnx.input('mixed_weights', 'float32', ['K']);
  }
  if (options.ema > 0) onnx.input('average_decays', 'float32', ['K']);
  if (measuresSigma(options)) for (const node of noisyActivations(graph, options.noise)) onnx.input(sigmaInput(node), 'float32', []);
  if (warmsUp(options)) onnx.input('noise_share', 'float32', []);
  const parameters = joinSmall(parameterSpecs(graph));
  const states = loopStates(parameters, options);
  for (const { members } of states) for (const { name, shape } of members) onnx.input(`${name}.now`, 'float32', shape);
  const initial = states.map(({ joined, members }) => emitJoin(onnx, joined, (spec) => `${members[joined.members.indexOf(spec)]!.name}.now`));

  const body = loopBody(graph, normalization, options, parameters, states);
  const steps = onnx.node('Gather', [onnx.node('Shape', ['labels_of_steps']), onnx.ints([0], true)]);
  const perStep = ['losses', 'corrects', ...(options.clipNorm > 0 ? ['gradient_norms'] : [])];
  const outputs = [...states.map(({ name }) => `${name}.final`), ...perStep.map((name) => `${name}_of_steps`)];
  onnx.nodeNamed('Loop', [steps, '', ...initial], outputs, { body: { graph: body } });
  for (const state of states) outputState(onnx, state);
  for (const name of perStep) onnx.output(`${name}_of_steps`, name, 'float32', ['K']);
  return onnx.build();
}

function outputState(onnx: OnnxBuilder, { name, joined, members }: LoopState): void {
  const parts = members.length === 1 ? [`${name}.final`] : members.map((member) => `${member.name}.last`);
  if (members.length > 1) emitSplit(onnx, joined, `${name}.final`, parts);
  for (const [i, member] of members.entries()) onnx.output(parts[i]!, `${member.name}.next`, 'float32', member.shape);
}

function loopBody(
  graph: Graph,
  normalization: Normalization,
  options: LoopOptions,
  parameters: readonly JoinedParameter[],
  states: readonly LoopState[],
): OnnxBuilder {
  const mixed = options.precision === 'mixed';
  const body = mixed ? new MixedPrecisionBuilder('step', 'step/') : new OnnxBuilder('step', 'step/');
  const index = body.input('step/index', 'int64', []);
  body.input('step/go_on', 'bool', []);
  for (const { name, joined } of states) body.input(name, 'float32', joined.spec.shape);
  for (const joined of parameters) {
    if (joined.members.length > 1) emitSplit(body, joined, joined.spec.name, joined.members.map(({ name }) => name));
  }
  const pick = (from: string, to?: string): string => {
    const value = body.node('Gather', [from, index]);
    if (to !== undefined) body.nodeNamed('Identity', [value], [to]);
    return value;
  };
  pick('labels_of_steps', 'labels');
  if (mixes(options)) {
    pick('mixed_labels_of_steps', mixedLabels.labels);
    pick('mixed_weights', mixedLabels.weight);
  }
  body.nodeNamed('Identity', [normalize(body, pick('images'), normalization, graph.input.shape)], [graph.input.name]);

  const { temporal } = options;
  const scale = temporal && !(temporal.gradient === 'rate' && temporal.batchStatistics) ? temporalLossScale : mixedLossScale;
  const target = { device: 'cuda', lossScale: mixed ? scale : 1 } as const;

  const step = emitTrainingStep(body, graph, options, target, generator(body, options));
  const clock = { learningRate: pick('learning_rates'), step: () => pick('step_numbers'), averageDecay: () => pick('average_decays') };
  const byName = new Map(parameters.map((joined) => [joined.spec.name, joined]));
  const source = {
    gradientOf: (name: string): string => step.gradientOf(byName.get(name)!),
    bufferOf: (name: string): string => step.bufferOf(byName.get(name)!),
  };
  const specs = parameters.map(({ spec }) => spec);
  const next = new Map(specs.filter(({ role }) => role === 'buffer').map(({ name }) => [name, source.bufferOf(name)]));
  const optimized = emitOptimizer(body, specs, options.optimizer, clock, source, { ...options, skipOverflow: mixed });
  for (const updated of optimized.updates) {
    next.set(updated.spec.name, updated.parameter);
    for (const { name, value } of updated.states) next.set(name, value);
  }
  for (const { name, value } of optimized.averages) next.set(name, value);
  body.output(body.node('Identity', ['step/go_on']), 'step/go_on.next', 'bool', []);
  for (const { name, joined } of states) body.output(next.get(name)!, `${name}.after`, 'float32', joined.spec.shape);
  body.output(step.loss, 'step/loss', 'float32', []);
  body.output(step.correct, 'step/correct', 'float32', []);
  if (optimized.gradientNorm !== undefined) body.output(optimized.gradientNorm, 'step/gradient_norm', 'float32', []);
  return body;
}

/** Bytes to (pixel / 255 - mean) / std. */
function normalize(onnx: OnnxBuilder, bytes: string, { mean, std }: Normalization, shape: Shape): string {
  const scale = onnx.floats(std.map((s) => 1 / (255 * s)));
  const shift = onnx.floats(mean.map((m, c) => -m / std[c]!));
  const pixels = onnx.node('Cast', [bytes], { to: 1 });
  const base = onnx instanceof MixedPrecisionBuilder ? onnx.halve(pixels) : pixels;
  return emitAffine(onnx, { base, scale, shift }, shape);
}

function generator(onnx: OnnxBuilder, options: TrainingGraphOptions): NoiseSource {
  const { shape, scale } = drawLaw(resolveMethod(options));
  // RandomNormalLike with scale 0 ends the whole process.
  if (scale === 0) return (like) => onnx.node('Mul', [like, onnx.floats(0)]);
  const draw: NoiseSource =
    shape === 'uniform'
      ? (like) => onnx.node('RandomUniformLike', [like], { dtype: 1, low: { float: -scale }, high: { float: scale } })
      : (like) => onnx.node('RandomNormalLike', [like], { dtype: 1, scale: { float: scale } });
  return warmsUp(options) ? (like) => onnx.node('Mul', [draw(like), 'noise_share']) : draw;
}

function warmsUp({ noise, noiseWarmupEpochs = 0 }: TrainingGraphOptions): boolean {
  return noise !== 'none' && noiseWarmupEpochs > 0;
}
