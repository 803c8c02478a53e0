import type { Normalization } from '../data/dataset.js';
import type { Graph } from '../graph/graph.js';
import { parameterSpecs, type ParameterSpec } from '../graph/parameters.js';
import { OnnxBuilder } from '../onnx/builder.js';
import { emitAffine } from './layers/affine.js';
import { sigmaInput } from './layers/activation.js';
import { drawLaw, measuresSigma, resolveMethod } from './method.js';
import { emitTrainingStep, noisyActivations, type NoiseSource, type TrainingGraphOptions } from './models.js';
import { emitOptimizer, stateNames, type OptimizerOptions } from './optimizers.js';

export interface LoopOptions extends TrainingGraphOptions {
  readonly optimizer: OptimizerOptions;
}

interface LoopState {
  readonly name: string;
  readonly spec: ParameterSpec;
}

/** Everything that goes from one step to the next: parameters, buffers and the optimiser's states. */
function loopStates(graph: Graph, { kind }: OptimizerOptions): LoopState[] {
  return parameterSpecs(graph).flatMap((spec) => {
    const states = spec.role === 'buffer' ? [] : stateNames(kind, spec.name).map((name) => ({ name, spec }));
    return [{ name: spec.name, spec }, ...states];
  });
}

/**
 * training_loop.onnx: K whole training steps, optimiser included, in one ONNX `Loop`, whose state stays on the device.
 * Inputs: `images` uint8 [K, N, C, H, W]; `labels_of_steps` int64 [K, N]; `learning_rates`, with adamw `step_numbers` (from 1),
 * float32 [K]; each state S as `S.now`; with measured `nq` the scalars `<activation>.sigma`,
 * with a noise warm-up `noise_share`. Outputs: `losses`, `corrects` [K];
 * each state as `S.next`. Noise comes from the runtime's generators, which are parallel on a GPU.
 */
export function trainingLoopModel(graph: Graph, normalization: Normalization, options: LoopOptions): Uint8Array<ArrayBuffer> {
  const onnx = new OnnxBuilder('training_loop');
  const { shape } = graph.input;
  onnx.input('images', 'uint8', ['K', 'N', ...shape]);
  onnx.input('labels_of_steps', 'int64', ['K', 'N']);
  onnx.input('learning_rates', 'float32', ['K']);
  if (options.optimizer.kind === 'adamw') onnx.input('step_numbers', 'float32', ['K']);
  if (measuresSigma(options)) for (const node of noisyActivations(graph, options.noise)) onnx.input(sigmaInput(node), 'float32', []);
  if (warmsUp(options)) onnx.input('noise_share', 'float32', []);
  const states = loopStates(graph, options.optimizer);
  for (const { name, spec } of states) onnx.input(`${name}.now`, 'float32', spec.shape);

  const body = loopBody(graph, normalization, options, states);
  const steps = onnx.node('Gather', [onnx.node('Shape', ['labels_of_steps']), onnx.ints([0], true)]);
  const outputs = [...states.map(({ name }) => `${name}.final`), 'losses_of_steps', 'corrects_of_steps'];
  onnx.nodeNamed('Loop', [steps, '', ...states.map(({ name }) => `${name}.now`)], outputs, { body: { graph: body } });
  for (const { name, spec } of states) onnx.output(`${name}.final`, `${name}.next`, 'float32', spec.shape);
  onnx.output('losses_of_steps', 'losses', 'float32', ['K']);
  onnx.output('corrects_of_steps', 'corrects', 'float32', ['K']);
  return onnx.build();
}

function loopBody(graph: Graph, normalization: Normalization, options: LoopOptions, states: readonly LoopState[]): OnnxBuilder {
  const body = new OnnxBuilder('step', 'step/');
  const index = body.input('step/index', 'int64', []);
  body.input('step/go_on', 'bool', []);
  for (const { name, spec } of states) body.input(name, 'float32', spec.shape);
  const pick = (from: string, to?: string): string => {
    const value = body.node('Gather', [from, index]);
    if (to !== undefined) body.nodeNamed('Identity', [value], [to]);
    return value;
  };
  pick('labels_of_steps', 'labels');
  body.nodeNamed('Identity', [normalize(body, pick('images'), normalization)], [graph.input.name]);

  const step = emitTrainingStep(body, graph, options, generator(body, options));
  const clock = { learningRate: pick('learning_rates'), step: () => pick('step_numbers') };
  const next = new Map(parameterSpecs(graph).filter(({ role }) => role === 'buffer').map(({ name }) => [name, step.bufferOf(name)]));
  for (const updated of emitOptimizer(body, parameterSpecs(graph), options.optimizer, clock, step.gradientOf)) {
    next.set(updated.spec.name, updated.parameter);
    for (const { name, value } of updated.states) next.set(name, value);
  }
  body.output(body.node('Identity', ['step/go_on']), 'step/go_on.next', 'bool', []);
  for (const { name, spec } of states) body.output(next.get(name)!, `${name}.after`, 'float32', spec.shape);
  body.output(step.loss, 'step/loss', 'float32', []);
  body.output(step.correct, 'step/correct', 'float32', []);
  return body;
}

/** Bytes to (pixel / 255 - mean) / std. */
function normalize(onnx: OnnxBuilder, bytes: string, { mean, std }: Normalization): string {
  const scale = onnx.floats(std.map((s) => 1 / (255 * s)));
  const shift = onnx.floats(mean.map((m, c) => -m / std[c]!));
  return emitAffine(onnx, { base: onnx.node('Cast', [bytes], { to: 1 }), scale, shift }, mean.length);
}

function generator(onnx: OnnxBuilder, options: TrainingGraphOptions): NoiseSource {
  const { shape, scale } = drawLaw(resolveMethod(options));
  const draw: NoiseSource =
    shape === 'uniform'
      ? (like) => onnx.node('RandomUniformLike', [like], { dtype: 1, low: { float: -scale }, high: { float: scale } })
      : (like) => onnx.node('RandomNormalLike', [like], { dtype: 1, scale: { float: scale } });
  return warmsUp(options) ? (like) => onnx.node('Mul', [draw(like), 'noise_share']) : draw;
}

function warmsUp({ noise, noiseWarmupEpochs = 0 }: TrainingGraphOptions): boolean {
  return noise !== 'none' && noiseWarmupEpochs > 0;
}
