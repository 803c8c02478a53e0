import { inputsOf, type ActivationNode, type Graph, type GraphNode } from '../graph/graph.js';
import { poolsBehindActivations } from '../graph/poolOrder.js';
import { parameterSpecs } from '../graph/parameters.js';
import { OnnxBuilder } from '../onnx/builder.js';
import { emitInference, emitThreshold } from '../onnx/layers.js';
import { emitIntegrateAndFire, joinSteps, repeatSteps, splitSteps } from './temporal/neurons.js';
import { emitMaxPoolOverTime } from './temporal/pooling.js';

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
  const { nodes, output } = poolsBehindActivations(graph);
  for (const node of nodes) {
    if (node.name === output) continue;
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
  if (node.op === 'maxPool' && !steady) return { name: emitMaxPoolOverTime(onnx, node, inputs[0]!.name, timeSteps), steady };
  const names = inputs.map((input) => (input.steady && !steady ? repeatSteps(onnx, input.name, timeSteps) : input.name));
  return { name: emitInference(onnx, node, names), steady };
}

/** Integrate-and-fire neurons; spikes have amplitude theta. */
function emitNeurons(onnx: OnnxBuilder, node: ActivationNode, current: TimedValue, timeSteps: number): { spikes: string; rate: string } {
  const threshold = emitThreshold(onnx, node);
  const scaled = onnx.node('Div', [current.name, threshold]);
  const { spikes } = emitIntegrateAndFire(onnx, current.steady ? new Array<string>(timeSteps).fill(scaled) : splitSteps(onnx, scaled, timeSteps));
  const counted = spikes.map((spike) => onnx.node('Cast', [spike], { to: 1 }));
  const count = counted.length === 1 ? counted[0]! : onnx.node('Sum', counted);
  return {
    spikes: onnx.node('Mul', [joinSteps(onnx, counted), threshold]),
    rate: onnx.node('Mul', [count, onnx.node('Mul', [threshold, onnx.floats(1 / timeSteps)])]),
  };
}

function emitGap(onnx: OnnxBuilder, name: string, gap: string): void {
  const mean = onnx.node('ReduceMean', [gap], { keepdims: 0 });
  const centred = onnx.node('Sub', [gap, mean]);
  const freedom = onnx.node('Sub', [onnx.node('Cast', [onnx.node('Size', [gap])], { to: 1 }), onnx.floats(1)]);
  const squares = onnx.node('ReduceSum', [onnx.node('Mul', [centred, centred])], { keepdims: 0 });
  onnx.output(mean, `${name}.gap_mean`, 'float32', []);
  onnx.output(onnx.node('Div', [squares, freedom]), `${name}.gap_variance`, 'float32', []);
}
