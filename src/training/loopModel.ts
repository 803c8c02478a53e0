import type { Normalization } from '../data/dataset.js';
import type { Graph } from '../graph/graph.js';
import { parameterSpecs, type ParameterSpec } from '../graph/parameters.js';
import { OnnxBuilder } from '../onnx/builder.js';
import type { Precision } from '../onnx/device.js';
import { MixedPrecisionBuilder } from '../onnx/mixedPrecision.js';
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

/** Over time they are about thirty times as large: without batch statistics nothing takes the scale of the weights out. */
const temporalLossScale = 256;

interface LoopState {
  readonly name: string;
  readonly spec: ParameterSpec;
}

/** Everything that goes from one step to the next: parameters, buffers and the states of training. */
function loopStates(graph: Graph, options: LoopOptions): LoopState[] {
  const specs = parameterSpecs(graph);
  return [...specs.map((spec) => ({ name: spec.name, spec })), ...trainingStates(specs, options).map(({ name, of }) => ({ name, spec: of }))];
}

/**
 * training_loop.onnx: K whole training steps, optimiser included, in one ONNX `Loop`, whose state stays on the device.
 * Inputs: `images` uint8 [K, N, C, H, W]; `labels_of_steps` int64 [K, N]; `learning_rates`, with adamw `step_numbers` (from 1),
 * with a moving average `average_decays`, float32 [K]; each state S as `S.now`; with measured `nq` the scalars
 * `<activation>.sigma`; with a noise warm-up `noise_share`; with Mixup `mixed_labels_of_steps` int64 [K, N] and
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
  if (options.mixup) {
    onnx.input('mixed_labels_of_steps', 'int64', ['K', 'N']);
    onnx.input('mixed_weights', 'float32', ['K']);
  }
  if (options.ema > 0) onnx.input('average_decays', 'float32', ['K']);
  if (measuresSigma(options)) for (const node of noisyActivations(graph, options.noise)) onnx.input(sigmaInput(node), 'float32', []);
  if (warmsUp(options)) onnx.input('noise_share', 'float32', []);
  const states = loopStates(graph, options);
  for (const { name, spec } of states) onnx.input(`${name}.now`, 'float32', spec.shape);

  const body = loopBody(graph, normalization, options, states);
  const steps = onnx.node('Gather', [onnx.node('Shape', ['labels_of_steps']), onnx.ints([0], true)]);
  const perStep = ['losses', 'corrects', ...(options.clipNorm > 0 ? ['gradient_norms'] : [])];
  const outputs = [...states.map(({ name }) => `${name}.final`), ...perStep.map((name) => `${name}_of_steps`)];
  onnx.nodeNamed('Loop', [steps, '', ...states.map(({ name }) => `${name}.now`)], outputs, { body: { graph: body } });
  for (const { name, spec } of states) onnx.output(`${name}.final`, `${name}.next`, 'float32', spec.shape);
  for (const name of perStep) onnx.output(`${name}_of_steps`, name, 'float32', ['K']);
  return onnx.build();
}

function loopBody(graph: Graph, normalization: Normalization, options: LoopOptions, states: readonly LoopState[]): OnnxBuilder {
  const mixed = options.precision === 'mixed';
  const body = mixed ? new MixedPrecisionBuilder('step', 'step/') : new OnnxBuilder('step', 'step/');
  const index = body.input('step/index', 'int64', []);
  body.input('step/go_on', 'bool', []);
  for (const { name, spec } of states) body.input(name, 'float32', spec.shape);
  const pick = (from: string, to?: string): string => {
    const value = body.node('Gather', [from, index]);
    if (to !== undefined) body.nodeNamed('Identity', [value], [to]);
    return value;
  };
  pick('labels_of_steps', 'labels');
  if (options.mixup) {
    pick('mixed_labels_of_steps', mixedLabels.labels);
    pick('mixed_weights', mixedLabels.weight);
  }
  body.nodeNamed('Identity', [normalize(body, pick('images'), normalization)], [graph.input.name]);

  const scale = options.temporal ? temporalLossScale : mixedLossScale;
  const target = { device: 'cuda', lossScale: mixed ? scale : 1 } as const;

  const step = emitTrainingStep(body, graph, options, target, generator(body, options));
  const clock = { learningRate: pick('learning_rates'), step: () => pick('step_numbers'), averageDecay: () => pick('average_decays') };
  const next = new Map(parameterSpecs(graph).filter(({ role }) => role === 'buffer').map(({ name }) => [name, step.bufferOf(name)]));
  const optimized = emitOptimizer(body, parameterSpecs(graph), options.optimizer, clock, step, { ...options, skipOverflow: mixed });
  for (const updated of optimized.updates) {
    next.set(updated.spec.name, updated.parameter);
    for (const { name, value } of updated.states) next.set(name, value);
  }
  for (const { name, value } of optimized.averages) next.set(name, value);
  body.output(body.node('Identity', ['step/go_on']), 'step/go_on.next', 'bool', []);
  for (const { name, spec } of states) body.output(next.get(name)!, `${name}.after`, 'float32', spec.shape);
  body.output(step.loss, 'step/loss', 'float32', []);
  body.output(step.correct, 'step/correct', 'float32', []);
  if (optimized.gradientNorm !== undefined) body.output(optimized.gradientNorm, 'step/gradient_norm', 'float32', []);
  return body;
}

/** Bytes to (pixel / 255 - mean) / std. */
function normalize(onnx: OnnxBuilder, bytes: string, { mean, std }: Normalization): string {
  const scale = onnx.floats(std.map((s) => 1 / (255 * s)));
  const shift = onnx.floats(mean.map((m, c) => -m / std[c]!));
  const pixels = onnx.node('Cast', [bytes], { to: 1 });
  const base = onnx instanceof MixedPrecisionBuilder ? onnx.halve(pixels) : pixels;
  return emitAffine(onnx, { base, scale, shift }, mean.length);
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
