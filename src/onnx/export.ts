import { NoisefloorError } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';
import { activationThreshold, parameterSpecs } from '../graph/parameters.js';
import { inferShapes } from '../graph/shapes.js';
import { OnnxBuilder } from './builder.js';
import { emitGraph, emitInference } from './layers.js';

export interface ExportOptions {
  /** Nodes that become further outputs, by name. */
  readonly taps?: readonly string[];
  /**
   * `quantised`, the default: what was trained, and what the spiking network approximates. `clipped`: clip(z, 0, theta)
   * without rounding, which the spiking network tends to as T grows; runtimes fuse it into the convolution, so it is
   * the faster opponent in a benchmark.
   */
  readonly activations?: 'quantised' | 'clipped';
}

/**
 * The dense network as an ONNX model of standard operators, in inference mode: running statistics, no noise. Input
 * `input` [N, C, H, W], normalised; output `logits` [N, classes].
 */
export function exportOnnx({ graph, parameters }: TrainedNetwork, options: ExportOptions = {}): Uint8Array<ArrayBuffer> {
  const shapes = inferShapes(graph);
  const onnx = new OnnxBuilder(graph.name);
  const input = onnx.input('input', 'float32', ['N', ...graph.input.shape]);
  for (const { name, shape } of parameterSpecs(graph)) {
    const parameter = parameters.get(name);
    if (!parameter) throw new NoisefloorError('CHECKPOINT_MISMATCH', `The network has no parameter "${name}".`);
    onnx.initializer(name, shape, parameter.data);
  }
  const values = emitGraph(graph, input, (node, inputs) => {
    const threshold = options.activations === 'clipped' ? activationThreshold(node, parameters) : undefined;
    if (threshold === undefined) return emitInference(onnx, node, inputs);
    return onnx.node('Clip', [inputs[0]!, onnx.floats(0), onnx.floats(threshold)]);
  });
  onnx.output(values.get(graph.output)!, 'logits', 'float32', ['N', ...shapes.get(graph.output)!]);
  for (const tap of options.taps ?? []) {
    const value = values.get(tap);
    if (value === undefined) throw new NoisefloorError('INVALID_ARGUMENT', `There is no node "${tap}" to tap.`);
    onnx.output(value, tap, 'float32', ['N', ...shapes.get(tap)!]);
  }
  return onnx.build();
}
