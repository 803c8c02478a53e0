import { inputsOf, type ActivationNode, type Graph, type GraphNode } from '../graph/graph.js';
import { activationParameter, parameterSpecs } from '../graph/parameters.js';
import { OnnxBuilder } from '../onnx/builder.js';
import { emitInference, emitStep } from '../onnx/layers.js';

/** A value of the spiking network: the same at every step, or [T N, ...] with the steps one after the other. */
interface TimedValue {
  readonly name: string;
  readonly steady: boolean;
}

/**
 * gap_model.onnx: the clean quantised network and its spiking network of `timeSteps` steps side by side, in inference
 * mode. Input `input` [N, C, H, W] and every parameter. Outputs for each quantised activation A, over all its elements:
 * `A.gap_mean` and `A.gap_variance` (unbiased) of theta q - theta count / T (NQ, algorithm of the layer-wise
 * error-compensating strategy).
 */
export function gapModel(graph: Graph, timeSteps: number): Uint8Array<ArrayBuffer> {
  const onnx = new OnnxBuilder('gap');
  onnx.input(graph.input.name, 'float32', ['N', ...graph.input.shape]);
  for (const spec of parameterSpecs(graph)) onnx.input(spec.name, 'float32', spec.shape);
  const dense = new Map([[graph.input.name, graph.input.name]]);
  const spiking = new Map<string, TimedValue>([[graph.input.name, { name: graph.input.name, steady: true }]]);
  for (const node of graph.nodes) {
    if (node.name === graph.output) continue;
    dense.set(node.name, emitInference(onnx, node, inputsOf(node).map((name) => dense.get(name)!)));
    const inputs = inputsOf(node).map((name) => spiking.get(name)!);
    if (node.op === 'activation' && node.activation.kind !== 'relu') {
      const { spikes, rate } = emitNeurons(onnx, node, inputs[0]!, timeSteps);
      spiking.set(node.name, { name: spikes, steady: false });
      emitGap(onnx, node.name, onnx.node('Sub', [dense.get(node.name)!, rate]));
    } else {
      spiking.set(node.name, emitTimed(onnx, node, inputs, timeSteps));
    }
  }
  return onnx.build();
}

function emitTimed(onnx: OnnxBuilder, node: GraphNode, inputs: readonly TimedValue[], timeSteps: number): TimedValue {
  const steady = inputs.every((input) => input.steady);
  const names = inputs.map((input) => (input.steady && !steady ? repeatSteps(onnx, input.name, timeSteps) : input.name));
  return { name: emitInference(onnx, node, names), steady };
}

function repeatSteps(onnx: OnnxBuilder, value: string, timeSteps: number): string {
  return onnx.node('Concat', new Array<string>(timeSteps).fill(value), { axis: 0 });
}

/** Integrate-and-fire with v(0) = theta / 2 and reset by subtraction; spikes have amplitude theta. */
function emitNeurons(onnx: OnnxBuilder, node: ActivationNode, current: TimedValue, timeSteps: number): { spikes: string; rate: string } {
  const threshold = emitThreshold(onnx, node);
  const currents = current.steady
    ? new Array<string>(timeSteps).fill(current.name)
    : onnx.nodes('Split', [current.name], timeSteps, { axis: 0, num_outputs: timeSteps });
  let potential = onnx.node('Mul', [threshold, onnx.floats(0.5)]);
  const spikes: string[] = [];
  for (const now of timeSteps === 1 ? [current.name] : currents) {
    const charged = onnx.node('Add', [now, potential]);
    const fired = onnx.node('Cast', [onnx.node('GreaterOrEqual', [charged, threshold])], { to: 1 });
    const amplitude = onnx.node('Mul', [fired, threshold]);
    spikes.push(amplitude);
    potential = onnx.node('Sub', [charged, amplitude]);
  }
  const sum = spikes.length === 1 ? spikes[0]! : onnx.node('Sum', spikes);
  return { spikes: onnx.node('Concat', spikes, { axis: 0 }), rate: onnx.node('Mul', [sum, onnx.floats(1 / timeSteps)]) };
}

function emitThreshold(onnx: OnnxBuilder, node: ActivationNode): string {
  const { activation } = node;
  const parameter = activationParameter(node)!;
  if (activation.kind !== 'lsq') return parameter;
  return onnx.node('Mul', [emitStep(onnx, activation, parameter), onnx.floats(activation.levels)]);
}

function emitGap(onnx: OnnxBuilder, name: string, gap: string): void {
  const mean = onnx.node('ReduceMean', [gap], { keepdims: 0 });
  const centred = onnx.node('Sub', [gap, mean]);
  const freedom = onnx.node('Sub', [onnx.node('Cast', [onnx.node('Size', [gap])], { to: 1 }), onnx.floats(1)]);
  const squares = onnx.node('ReduceSum', [onnx.node('Mul', [centred, centred])], { keepdims: 0 });
  onnx.output(mean, `${name}.gap_mean`, 'float32', []);
  onnx.output(onnx.node('Div', [squares, freedom]), `${name}.gap_variance`, 'float32', []);
}
