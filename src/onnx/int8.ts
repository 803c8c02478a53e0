import { NoisefloorError } from '../errors.js';
import { inputsOf, type BatchNormNode, type Conv2dNode, type GraphNode } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { activationThreshold } from '../graph/parameters.js';
import { inferShapes } from '../graph/shapes.js';
import { OnnxBuilder } from './builder.js';
import { convAttributes, emitGraph, emitInference } from './layers.js';

/** Smallest and largest value of a node over some images. */
export interface ValueRange {
  readonly min: number;
  readonly max: number;
}

/**
 * Nodes whose ranges {@link exportInt8Onnx} needs: the input, and every convolution or batch normalisation that something
 * else than an activation reads. Activations need none: they end at their threshold.
 */
export function int8Ranges({ graph }: TrainedNetwork): string[] {
  const readers = new Map<string, GraphNode[]>();
  for (const node of graph.nodes) for (const name of inputsOf(node)) readers.set(name, [...(readers.get(name) ?? []), node]);
  const open = graph.nodes.filter(({ op, name }) => {
    if (op !== 'conv2d' && op !== 'batchNorm') return false;
    return readers.get(name)?.some((reader) => reader.op !== 'activation' && reader.op !== 'batchNorm') ?? false;
  });
  return [graph.input.name, ...open.map(({ name }) => name)];
}

/**
 * The dense network for an int8 runtime, as ONNX with QuantizeLinear and DequantizeLinear around every convolution: uint8
 * activations from 0 to the threshold, int8 weights per output channel, batch normalisation folded into them, sums of
 * residuals in uint8. What follows the last activation stays float32. Input `input` [N, C, H, W], output `logits`.
 *
 * @param ranges of the nodes that {@link int8Ranges} names, from calibration images
 * @throws NoisefloorError INVALID_ARGUMENT for a missing range or an activation without threshold
 */
export function exportInt8Onnx(network: TrainedNetwork, ranges: ReadonlyMap<string, ValueRange>): Uint8Array<ArrayBuffer> {
  return new Int8Export(network, ranges).build();
}

class Int8Export {
  readonly #onnx: OnnxBuilder;
  readonly #scales = new Map<string, number>();
  readonly #wanted: ReadonlySet<string>;

  constructor(
    readonly network: TrainedNetwork,
    readonly ranges: ReadonlyMap<string, ValueRange>,
  ) {
    this.#onnx = new OnnxBuilder(network.graph.name);
    this.#wanted = new Set(int8Ranges(network));
  }

  build(): Uint8Array<ArrayBuffer> {
    const { graph } = this.network;
    const shapes = inferShapes(graph);
    const input = this.#onnx.input('input', 'float32', ['N', ...graph.input.shape]);
    const values = emitGraph(graph, this.#quantize(graph.input.name, input), (node, inputs) => this.#emit(node, inputs));
    this.#onnx.output(values.get(graph.output)!, 'logits', 'float32', ['N', ...shapes.get(graph.output)!]);
    return this.#onnx.build();
  }

  #emit(node: GraphNode, inputs: readonly string[]): string {
    switch (node.op) {
      case 'conv2d':
        return this.#convolve(node, this.#normOf(node), inputs[0]!);
      case 'batchNorm': {
        const folded = this.network.graph.nodes.some(({ op, name }) => op === 'conv2d' && name === node.input);
        return folded ? inputs[0]! : this.#emitFloat(node, inputs);
      }
      case 'activation': {
        const threshold = activationThreshold(node, this.network.parameters);
        if (threshold === undefined) throw this.#error(node.name, 'relu has no threshold: train with qcfs or lsq');
        return this.#quantizeTo(node.name, inputs[0]!, { min: 0, max: threshold });
      }
      case 'linear':
      case 'add':
      case 'concat':
      case 'avgPool':
      case 'maxPool':
      case 'globalAvgPool':
      case 'flatten':
        return this.#emitFloat(node, inputs);
    }
  }

  #normOf({ name }: Conv2dNode): BatchNormNode | undefined {
    const readers = this.network.graph.nodes.filter((node) => inputsOf(node).includes(name));
    const norm = readers.find((node): node is BatchNormNode => node.op === 'batchNorm');
    if (norm && readers.length > 1) throw this.#error(name, 'something else than its batch normalisation reads it');
    return norm;
  }

  #convolve(node: Conv2dNode, norm: BatchNormNode | undefined, input: string): string {
    const { weight, bias } = this.#folded(node, norm);
    const fanIn = weight.length / node.outChannels;
    const scales = Array.from({ length: node.outChannels }, (_, c) => {
      const largest = weight.subarray(c * fanIn, (c + 1) * fanIn).reduce((most, w) => Math.max(most, Math.abs(w)), 0);
      return Math.fround((largest || 1) / 127);
    });
    const inputScale = this.#scaleOf(input);
    const shape = [node.outChannels, fanIn / (node.kernel[0] * node.kernel[1]), ...node.kernel];
    const rounded = Int8Array.from(weight, (w, i) => Math.round(w / scales[Math.floor(i / fanIn)]!));
    const biasScales = scales.map((scale) => Math.fround(scale * inputScale));
    const roundedBias = Int32Array.from(bias, (b, c) => Math.round(b / biasScales[c]!));
    const weightName = this.#perChannel(`${node.name}.weight`, shape, rounded, scales);
    const biasName = this.#perChannel(`${node.name}.bias`, [node.outChannels], roundedBias, biasScales);
    const value = this.#onnx.node('Conv', [input, weightName, biasName], convAttributes(node), node.name);
    const name = norm?.name ?? node.name;
    return this.#wanted.has(name) ? this.#quantize(name, value) : value;
  }

  #folded(node: Conv2dNode, norm: BatchNormNode | undefined): { readonly weight: Float64Array; readonly bias: Float64Array } {
    const data = (name: string): Float64Array => Float64Array.from(this.network.parameters.get(name)!.data);
    const weight = data(`${node.name}.weight`);
    const bias = node.bias ? data(`${node.name}.bias`) : new Float64Array(node.outChannels);
    if (!norm) return { weight, bias };
    const [gain, offset, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map((suffix) => data(`${norm.name}.${suffix}`));
    const factor = gain!.map((g, c) => g / Math.sqrt(variance![c]! + norm.epsilon));
    const fanIn = weight.length / node.outChannels;
    return {
      weight: weight.map((w, i) => w * factor[Math.floor(i / fanIn)]!),
      bias: bias.map((b, c) => (b - mean![c]!) * factor[c]! + offset![c]!),
    };
  }

  #perChannel(name: string, shape: readonly number[], data: Int8Array | Int32Array, scales: readonly number[]): string {
    return this.#onnx.node('DequantizeLinear', [this.#onnx.integers(name, shape, data), this.#onnx.floats(scales)], { axis: 0 }, name);
  }

  #quantize(node: string, value: string): string {
    const range = this.ranges.get(node);
    if (!range) throw this.#error(node, 'its range is missing: calibrate every node that int8Ranges names');
    return this.#quantizeTo(node, value, range);
  }

  #quantizeTo(node: string, value: string, { min, max }: ValueRange): string {
    const low = Math.min(0, min);
    const scale = Math.fround((Math.max(0, max) - low || 1) / 255);
    const zero = this.#onnx.integers(`${node}.zero_point`, [], Uint8Array.of(Math.round(-low / scale)));
    const grid = [this.#onnx.floats(scale), zero];
    const quantized = this.#onnx.node('QuantizeLinear', [value, ...grid], {}, `${node}_quantized`);
    const result = this.#onnx.node('DequantizeLinear', [quantized, ...grid], {}, `${node}_value`);
    this.#scales.set(result, scale);
    return result;
  }

  #scaleOf(value: string): number {
    const scale = this.#scales.get(value);
    if (scale === undefined) throw this.#error(value, 'a convolution must read the input, an activation or a sum of both');
    return scale;
  }

  /** A node that stays float32, with its parameters. */
  #emitFloat(node: GraphNode, inputs: readonly string[]): string {
    for (const [name, { shape, data }] of this.network.parameters) {
      if (name.slice(0, name.lastIndexOf('.')) === node.name) this.#onnx.initializer(name, shape, data);
    }
    return emitInference(this.#onnx, node, inputs);
  }

  #error(node: string, why: string): NoisefloorError {
    return new NoisefloorError('INVALID_ARGUMENT', `Cannot write node "${node}" for int8: ${why}.`);
  }
}
