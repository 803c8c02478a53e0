import type { Conv2dNode, Shape } from '../graph/graph.js';
import type { ParameterSpec } from '../graph/parameters.js';
import { OnnxBuilder } from '../onnx/builder.js';
import { convAttributes } from '../onnx/layers.js';
import { elementCount } from '../tensor.js';
import { weightGradient } from './layers/convWeightGradient.js';
import { emitOptimizer, trainingStates } from './optimizers.js';

/** A convolution of one input of the layer; an identity is one of each channel with itself, which is not trained. */
export interface ReconstructedConv {
  readonly node: Conv2dNode;
  /** Shape of its input, [C, H, W]. */
  readonly inputShape: Shape;
  /** Largest value of each window first, in this order. */
  readonly maxPools: readonly { readonly kernel: readonly number[]; readonly stride: readonly number[]; readonly padding: readonly number[] }[];
  /** Then the sum of each window; padding none. */
  readonly sumPool?: { readonly kernel: readonly number[]; readonly stride: readonly number[] };
  /** Shape behind the pools. */
  readonly pooledShape: Shape;
  readonly trained: boolean;
  /** Of each output channel: the weight of the model times it is the weight of the layer. Where it is not trained, the weight. */
  readonly scale: Float32Array;
}

const optimizer = { kind: 'adamw', weightDecay: 0 } as const;

/** Parameters of {@link reconstructionModel}: `<conv>.weight` [out, in / groups, kh, kw] and `bias` [out]. */
export function reconstructionSpecs(convs: readonly ReconstructedConv[]): ParameterSpec[] {
  const { outChannels } = convs[0]!.node;
  const weights = convs.filter(({ trained }) => trained).map(({ node, pooledShape }): ParameterSpec => ({
    name: `${node.name}.weight`,
    shape: [outChannels, pooledShape[0]! / node.groups, ...node.kernel],
    role: 'weight',
  }));
  return [...weights, { name: 'bias', shape: [outChannels], role: 'bias' }];
}

/** Names of what goes from one step to the next: parameters and what the optimiser keeps of them. */
export function reconstructionState(specs: readonly ParameterSpec[]): ParameterSpec[] {
  return [...specs, ...trainingStates(specs, { optimizer, ema: 0 }).map(({ name, of }): ParameterSpec => ({ ...of, name }))];
}

/**
 * One AdamW step on the mean square error of clip(sum of convolutions + bias, 0, 1) against `target`: the layer-wise
 * reconstruction of SNN Calibration, in standard ONNX operators. The gradient goes straight through the clip: where both
 * are clipped there is none, and a neuron that should be active and is not still gets one.
 *
 * Inputs: `<conv>.input` [N, ...inputShape], `target` [N, ...shape], `learning_rate` and `step` (from 1), and the
 * {@link reconstructionState}. Outputs: `loss` (scalar) and `<name>.next` of each state.
 */
export function reconstructionModel(convs: readonly ReconstructedConv[], shape: Shape): Uint8Array<ArrayBuffer> {
  const onnx = new OnnxBuilder('reconstruction');
  const specs = reconstructionSpecs(convs);
  for (const { name, shape: dimensions } of reconstructionState(specs)) onnx.input(name, 'float32', dimensions);
  onnx.input('target', 'float32', ['N', ...shape]);
  const [learningRate, step] = ['learning_rate', 'step'].map((name) => onnx.input(name, 'float32', [])) as [string, string];
  const inputs = convs.map((conv) => emitInput(onnx, conv));
  const bias = onnx.node('Reshape', ['bias', onnx.ints([1, -1, 1, 1])]);
  const sum = convs.reduce((before, conv, i) => onnx.node('Add', [before, emitConv(onnx, conv, inputs[i]!)]), bias);
  const error = onnx.node('Sub', [onnx.node('Clip', [sum, onnx.floats(0), onnx.floats(1)]), 'target']);
  const loss = onnx.node('ReduceMean', [onnx.node('Mul', [error, error])], { keepdims: 0 });
  const images = onnx.node('Cast', [onnx.node('Shape', ['target'], { start: 0, end: 1 })], { to: 1 });
  const share = onnx.node('Div', [onnx.floats(2 / elementCount(shape)), images]);
  const gradient = onnx.node('Mul', [error, onnx.node('Squeeze', [share])]);
  const gradientOf = (name: string): string => {
    const i = convs.findIndex(({ node }) => name === `${node.name}.weight`);
    if (i < 0) return onnx.node('ReduceSum', [gradient, onnx.ints([0, 2, 3])], { keepdims: 0 });
    const { node, pooledShape } = convs[i]!;
    const plain = weightGradient(onnx, 'cpu', { node, input: pooledShape, output: shape }, inputs[i]!, gradient);
    return onnx.node('Mul', [plain, scaleOf(onnx, convs[i]!)]);
  };
  const { updates } = emitOptimizer(onnx, specs, optimizer, { learningRate, step: () => step, averageDecay: () => step }, { gradientOf, bufferOf: (name) => name });
  onnx.output(loss, 'loss', 'float32', []);
  for (const { spec, parameter, states } of updates) {
    for (const { name, value } of [{ name: spec.name, value: parameter }, ...states]) onnx.output(value, `${name}.next`, 'float32', spec.shape);
  }
  return onnx.build();
}

function emitInput(onnx: OnnxBuilder, { node, inputShape, maxPools, sumPool }: ReconstructedConv): string {
  const input = onnx.input(`${node.name}.input`, 'float32', ['N', ...inputShape]);
  const largest = maxPools.reduce((value, { kernel, stride, padding }) => {
    return onnx.node('MaxPool', [value], { kernel_shape: kernel, strides: stride, pads: padding });
  }, input);
  if (!sumPool) return largest;
  const mean = onnx.node('AveragePool', [largest], { kernel_shape: sumPool.kernel, strides: sumPool.stride });
  return onnx.node('Mul', [mean, onnx.floats(sumPool.kernel[0]! * sumPool.kernel[1]!)]);
}

function emitConv(onnx: OnnxBuilder, conv: ReconstructedConv, input: string): string {
  const scale = scaleOf(onnx, conv);
  const weight = conv.trained ? onnx.node('Mul', [`${conv.node.name}.weight`, scale]) : scale;
  return onnx.node('Conv', [input, weight], convAttributes(conv.node));
}

function scaleOf(onnx: OnnxBuilder, { node, scale }: ReconstructedConv): string {
  return onnx.floats([...scale], [node.outChannels, 1, 1, 1]);
}
