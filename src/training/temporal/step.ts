import type { Graph } from '../../graph/graph.js';
import { poolsBehindActivations } from '../../graph/poolOrder.js';
import { inferShapes } from '../../graph/shapes.js';
import { OnnxBuilder } from '../../onnx/builder.js';
import { elementCount } from '../../tensor.js';
import { emitForward, type ForwardPass } from '../gradients.js';
import { sumPerChannel } from '../layers/affine.js';
import type { Measured, TrainingContext } from '../layers/rule.js';
import { crossEntropy, emitBatchSize, trainingLoss, type Loss, type LossInputs } from '../loss.js';
import { declareInputs, differentiateStep, lossInputs, type StepTarget, type TrainingGraphOptions, type TrainingStep } from '../models.js';
import { resolveMethod } from '../method.js';
import { repeatSteps } from './neurons.js';
import type { TemporalConfig } from './options.js';
import { rateRule } from './rate.js';
import { temporalRule, throughTimeByBatch } from './rules.js';

/** Emits forward, loss and backward of the spiking network unrolled over time; values as of `emitTrainingStep`. */
export function emitTemporalStep(
  onnx: OnnxBuilder,
  trained: Graph,
  options: TrainingGraphOptions,
  config: TemporalConfig,
  { device, lossScale = 1 }: StepTarget,
): TrainingStep {
  const graph = poolsBehindActivations(trained);
  const buffers = new Map<string, Measured>();
  const updateBuffer = (name: string, measured: Measured): void => void buffers.set(name, measured);
  const context = temporalContext(onnx, graph, { method: resolveMethod(options), lossScale, device, updateBuffer });
  if (config.gradient === 'rate') {
    const means = emitForward(context, graph, rateRule(graph, config));
    const loss = trainingLoss(onnx, lossInputs(onnx, graph, options, means.logits, context.batchSize), options);
    return differentiateStep(onnx, loss, lossScale, means, buffers);
  }
  const rules = config.batchStatistics ? throughTimeByBatch(config) : undefined;
  const forward = emitForward(context, graph, temporalRule(graph, config, rules));
  return differentiateStep(onnx, lossOverTime(context, graph, forward, config, options), lossScale, forward, buffers);
}

/**
 * spiking_eval_model.onnx: the spiking network over T steps. Inputs as of eval_model.onnx. Outputs: `loss` and `correct`
 * of the mean logits, `logits` [N, classes], that mean, and `spikes`: spikes of a neuron in one inference (T * d), the
 * mean over all neurons and images.
 */
export function spikingEvalModel(trained: Graph, config: TemporalConfig): Uint8Array<ArrayBuffer> {
  const graph = poolsBehindActivations(trained);
  const onnx = new OnnxBuilder('spiking_eval');
  declareInputs(onnx, graph);
  const context = temporalContext(onnx, graph, {});
  const forward = emitForward(context, graph, temporalRule(graph, config));
  const logits = meanOverTime(onnx, forward.logits, config.timeSteps, classesOf(context, graph));
  const loss = crossEntropy(onnx, logits, 'labels', classesOf(context, graph), context.batchSize);
  onnx.output(loss.value, 'loss', 'float32', []);
  onnx.output(loss.correct, 'correct', 'float32', []);
  onnx.output(logits, 'logits', 'float32', ['N', classesOf(context, graph)]);
  onnx.output(meanSpikes(context, graph, forward), 'spikes', 'float32', []);
  return onnx.build();
}

/** What the rules share, and no noise. */
export function temporalContext(onnx: OnnxBuilder, graph: Graph, settings: Partial<TrainingContext>): TrainingContext {
  const drawNoise = (): never => {
    throw new Error('the spiking network has no noise');
  };
  const defaults = { method: resolveMethod({ noise: 'none' }), lossScale: 1, device: 'cpu', updateBuffer: () => undefined } as const;
  return { ...defaults, ...settings, onnx, shapes: inferShapes(graph), batchSize: emitBatchSize(onnx, 'labels'), drawNoise };
}

function classesOf({ shapes }: TrainingContext, graph: Graph): number {
  return shapes.get(graph.output)![0]!;
}

/** [T N, classes] -> [N, classes]. */
function meanOverTime(onnx: OnnxBuilder, logits: string, timeSteps: number, classes: number): string {
  if (timeSteps === 1) return logits;
  const apart = onnx.node('Reshape', [logits, onnx.ints([timeSteps, -1, classes])]);
  return onnx.node('ReduceMean', [apart, onnx.ints([0])], { keepdims: 0 });
}

/** (1 - w) cross-entropy of the mean logits + w mean of the cross-entropies of every step; gradient [T N, classes]. */
function lossOverTime(
  context: TrainingContext,
  graph: Graph,
  { logits }: ForwardPass,
  { timeSteps, lossPerStep }: TemporalConfig,
  options: TrainingGraphOptions,
): Loss {
  const { onnx, batchSize } = context;
  const classes = classesOf(context, graph);
  const repeat = (value: string): string => repeatSteps(onnx, value, timeSteps);
  const weighted = (value: string, weight: number): string => onnx.node('Mul', [value, onnx.floats(weight)]);
  const inputs = lossInputs(onnx, graph, options, meanOverTime(onnx, logits, timeSteps, classes), batchSize);
  const ofMean = trainingLoss(onnx, inputs, options);
  const meanGradient = (): string => repeat(weighted(ofMean.gradient(), (1 - lossPerStep) / timeSteps));
  if (lossPerStep === 0) return { ...ofMean, gradient: meanGradient };
  const ofSteps = trainingLoss(onnx, { ...inputs, ...inputsOfSteps(inputs, repeat), logits, batchSize: weighted(batchSize, timeSteps) }, options);
  return {
    value: onnx.node('Add', [weighted(ofMean.value, 1 - lossPerStep), weighted(ofSteps.value, lossPerStep)]),
    correct: ofMean.correct,
    gradient: () => onnx.node('Add', [meanGradient(), weighted(ofSteps.gradient(), lossPerStep)]),
  };
}

/** Labels and teacher of every step: [N] -> [T N]; emitted where they are read. */
function inputsOfSteps({ labels, mixed, teacher }: LossInputs, repeat: (value: string) => string): Pick<LossInputs, 'labels' | 'mixed' | 'teacher'> {
  return {
    labels: repeat(labels),
    mixed: { weight: mixed.weight, labels: repeat(mixed.labels) },
    ...(teacher === undefined ? {} : { teacher: repeat(teacher) }),
  };
}

function meanSpikes({ onnx, shapes, batchSize }: TrainingContext, graph: Graph, forward: ForwardPass): string {
  const nodes = graph.nodes.filter((node) => node.op === 'activation');
  const counts = nodes.map(({ name }) => {
    const spikes = onnx.node('Cast', [onnx.node('Greater', [forward.valueOf(name), onnx.floats(0)])], { to: 1 });
    return onnx.node('ReduceSum', [sumPerChannel(onnx, spikes, shapes.get(name)!)], { keepdims: 0 });
  });
  const neurons = nodes.reduce((sum, { name }) => sum + elementCount(shapes.get(name)!), 0);
  const all = counts.reduce((sum, count) => onnx.node('Add', [sum, count]));
  return onnx.node('Div', [all, onnx.node('Mul', [batchSize, onnx.floats(neurons)])]);
}
