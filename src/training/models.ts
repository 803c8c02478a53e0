import { mixes } from '../data/augment/mixing.js';
import type { ActivationNode, Graph } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { parameterSpecs } from '../graph/parameters.js';
import { inferShapes } from '../graph/shapes.js';
import { OnnxBuilder } from '../onnx/builder.js';
import { emitGraph, emitInference } from '../onnx/layers.js';
import { emitForward, type ForwardPass } from './gradients.js';
import { sigmaInput } from './layers/activation.js';
import type { Device } from '../onnx/device.js';
import { emitJoin, type JoinedParameter } from './joined.js';
import type { Measured, NoiseKind } from './layers/rule.js';
import { emitTeachers } from './distillation.js';
import { crossEntropy, emitBatchSize, mixedLabels, trainingLoss, type Loss, type LossInputs, type LossOptions } from './loss.js';
import { checkMethodFits, measuresSigma, resolveMethod, type MethodOptions } from './method.js';
import type { TemporalConfig } from './temporal/options.js';
import { emitTemporalStep } from './temporal/step.js';

/** `input` [N, C, H, W], `labels` int64 [N], and each parameter and buffer by its name. */
export function declareInputs(onnx: OnnxBuilder, graph: Graph): void {
  onnx.input(graph.input.name, 'float32', ['N', ...graph.input.shape]);
  onnx.input('labels', 'int64', ['N']);
  for (const { name, shape } of parameterSpecs(graph)) onnx.input(name, 'float32', shape);
}

/** The activations that noise goes into, in the order of the graph. */
export function noisyActivations(graph: Graph, noise: NoiseKind): ActivationNode[] {
  if (noise === 'none') return [];
  return graph.nodes.filter((node): node is ActivationNode => node.op === 'activation' && node.activation.kind !== 'relu');
}

/** What decides the training graph besides the network. */
export interface TrainingGraphOptions extends MethodOptions, LossOptions {
  /** Unrolls the spiking network over time instead of the quantised one. */
  readonly temporal?: TemporalConfig;
  /** To whose mean logits `distillation` holds the network. */
  readonly teachers?: readonly TrainedNetwork[];
}

/** Where and how a training step is computed. */
export interface StepTarget {
  readonly device: Device;
  /** Default 1. A power of two. */
  readonly lossScale?: number;
}

/** How the training graph comes by its noise; called once an activation. */
export type NoiseSource = (like: string) => string;

export interface TrainingStep {
  readonly loss: string;
  readonly correct: string;
  readonly gradientOf: (parameter: JoinedParameter) => string;
  /** The next value of a buffer; the buffer itself where no rule updates it. */
  readonly bufferOf: (buffer: JoinedParameter) => string;
}

/** Emits forward, loss and backward for values named as the graph's input, `labels` and every parameter. */
export function emitTrainingStep(
  onnx: OnnxBuilder,
  graph: Graph,
  options: TrainingGraphOptions,
  target: StepTarget,
  drawNoise: NoiseSource,
): TrainingStep {
  if (options.temporal) return emitTemporalStep(onnx, graph, options, options.temporal, target);
  const { device, lossScale = 1 } = target;
  const shapes = inferShapes(graph);
  const batchSize = emitBatchSize(onnx, 'labels');
  const buffers = new Map<string, Measured>();
  const updateBuffer = (name: string, measured: Measured): void => void buffers.set(name, measured);
  const method = resolveMethod(options);
  checkMethodFits(method, graph);
  const forward = emitForward({ onnx, shapes, batchSize, method, lossScale, device, drawNoise, updateBuffer }, graph);
  const loss = trainingLoss(onnx, lossInputs(onnx, graph, options, forward.logits, batchSize), options);
  return differentiateStep(onnx, loss, lossScale, forward, buffers);
}

/** Of logits [N, classes] of the graph whose input and labels are values of a training graph. */
export function lossInputs(onnx: OnnxBuilder, graph: Graph, { teachers = [] }: TrainingGraphOptions, logits: string, batchSize: string): LossInputs {
  const classes = inferShapes(graph).get(graph.output)![0]!;
  return { logits, labels: 'labels', mixed: mixedLabels, teacher: emitTeachers(onnx, teachers, graph.input.name), classes, batchSize };
}

/** From the loss back to the parameters, with gradients `lossScale` times as large on the way. */
export function differentiateStep(
  onnx: OnnxBuilder,
  loss: Loss,
  lossScale: number,
  { backward }: Pick<ForwardPass, 'backward'>,
  buffers: ReadonlyMap<string, Measured>,
): TrainingStep {
  const scaled = (value: string, factor: number): string =>
    lossScale === 1 ? value : onnx.node('Mul', [onnx.node('Cast', [value], { to: 1 }), onnx.floats(factor)]);
  const gradients = backward(scaled(loss.gradient(), lossScale));
  return {
    loss: loss.value,
    correct: loss.correct,
    gradientOf: (parameter) => scaled(emitJoin(onnx, parameter, ({ name }) => gradients.get(name)!), 1 / lossScale),
    bufferOf: (buffer) => nextBuffer(onnx, buffer, buffers),
  };
}

function nextBuffer(onnx: OnnxBuilder, buffer: JoinedParameter, measured: ReadonlyMap<string, Measured>): string {
  const found = buffer.members.map(({ name }) => measured.get(name));
  if (found.every((one) => one === undefined)) return buffer.spec.name;
  const share = found[0]?.share;
  if (share === undefined || found.some((one) => one?.share !== share)) {
    return emitJoin(onnx, buffer, (spec) => nextBuffer(onnx, { spec, members: [spec] }, measured));
  }
  const kept = onnx.node('Mul', [buffer.spec.name, onnx.floats(1 - share)]);
  const value = emitJoin(onnx, buffer, ({ name }) => measured.get(name)!.value);
  return onnx.node('Add', [kept, onnx.node('Mul', [value, onnx.floats(share)])]);
}

/**
 * training_model.onnx. With noise also `noise` [P], samples of its law, and `noise_offsets` int64, for each noisy
 * activation where in `noise` this step's draw begins; with measured `nq` one scalar `<activation>.sigma` each besides.
 * Where batches are mixed also `mixed_labels` int64 [N] and `mixed_weight`, the weight of `labels`.
 * Outputs: `loss`, `correct` (scalars), `P.grad` for each trained parameter, `B.next` for each buffer.
 */
export function trainingModel(graph: Graph, options: TrainingGraphOptions): Uint8Array<ArrayBuffer> {
  const onnx = new OnnxBuilder('training');
  declareInputs(onnx, graph);
  const noisy = noisyActivations(graph, options.noise);
  if (measuresSigma(options)) for (const node of noisy) onnx.input(sigmaInput(node), 'float32', []);
  if (mixes(options)) {
    onnx.input(mixedLabels.labels, 'int64', ['N']);
    onnx.input(mixedLabels.weight, 'float32', []);
  }
  const step = emitTrainingStep(onnx, graph, options, { device: 'cpu' }, noisy.length > 0 ? noiseReader(onnx, noisy.length) : unreachable);
  onnx.output(step.loss, 'loss', 'float32', []);
  onnx.output(step.correct, 'correct', 'float32', []);
  for (const spec of parameterSpecs(graph)) {
    const { name, shape, role } = spec;
    const alone = { spec, members: [spec] };
    if (role === 'buffer') onnx.output(step.bufferOf(alone), `${name}.next`, 'float32', shape);
    else onnx.output(step.gradientOf(alone), `${name}.grad`, 'float32', shape);
  }
  return onnx.build();
}

/**
 * Draws by reading the `noise` input at this step's offsets: the runtime's own random operators fill one value at a
 * time on one thread, and took a quarter of a step.
 */
function noiseReader(onnx: OnnxBuilder, draws: number): NoiseSource {
  onnx.input('noise', 'float32', ['P']);
  onnx.input('noise_offsets', 'int64', [draws]);
  let next = 0;
  return (like) => {
    const start = onnx.node('Gather', ['noise_offsets', onnx.ints([next++])]);
    const end = onnx.node('Add', [start, onnx.node('Size', [like])]);
    const drawn = onnx.node('Slice', ['noise', start, end]);
    return onnx.node('Reshape', [drawn, onnx.node('Shape', [like])]);
  };
}

function unreachable(): never {
  throw new Error('no noise was asked for');
}

/** eval_model.onnx: the network in inference mode. Outputs: `loss`, `correct` (scalars) and `logits` [N, classes]. */
export function evalModel(graph: Graph): Uint8Array<ArrayBuffer> {
  const onnx = new OnnxBuilder('eval');
  declareInputs(onnx, graph);
  const values = emitGraph(graph, graph.input.name, (node, inputs) => emitInference(onnx, node, inputs));
  const logits = values.get(graph.output)!;
  const classes = inferShapes(graph).get(graph.output)![0]!;
  const loss = crossEntropy(onnx, logits, 'labels', classes, emitBatchSize(onnx, 'labels'));
  onnx.output(loss.value, 'loss', 'float32', []);
  onnx.output(loss.correct, 'correct', 'float32', []);
  onnx.output(logits, 'logits', 'float32', ['N', classes]);
  return onnx.build();
}
