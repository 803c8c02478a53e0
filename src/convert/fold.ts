import { inputsOf, type ActivationNode, type BatchNormNode, type Graph, type GraphNode, type Shape } from '../graph/graph.js';
import type { NeuronSettings, TrainedNetwork } from '../graph/network.js';
import { activationThreshold, parameterSpecs } from '../graph/parameters.js';
import { poolsBehindActivations } from '../graph/poolOrder.js';
import { effectiveWeight, type WeightedNode } from '../graph/weights.js';
import { inferShapes } from '../graph/shapes.js';
import { inputName } from '../snn/model.js';
import { elementCount, type Parameters } from '../tensor.js';
import {
  addCurrents,
  concatCurrents,
  conversionError,
  convolveCurrent,
  linearCurrent,
  maxPoolCurrent,
  poolCurrent,
  scaleCurrent,
  sourceCurrent,
  type Current,
  type CurrentIdentity,
} from './current.js';
import { staggerLayers } from './stagger.js';
import type { FoldedConv, FoldedLayer, FoldedNetwork, FoldedReadout, FoldedSpiking, FoldedSynapse } from './folded.js';

/**
 * Turns a trained network into spiking layers: each activation becomes a layer of neurons whose current is a sum of
 * synapses, the logits become the read-out. Batch normalisation, thresholds of the source and averaging are folded into
 * weights and biases; nothing is approximated. A max-pooling in front of an activation is taken behind it.
 *
 * @throws NoisefloorError CONVERSION for what has no exact counterpart, naming the node and what to do.
 */
export function fold(given: TrainedNetwork): FoldedNetwork {
  const network = { ...given, graph: poolsBehindActivations(given.graph) };
  const { graph, parameters, classes, normalization } = network;
  const shapes = inferShapes(graph);
  checkParameters(graph, parameters);
  checkAllUsed(graph);
  const layers = staggerLayers(new Folding(network, shapes).layers(), network.stagger ?? 0);
  const inputShape = mapShape(graph.input.shape);
  const readout = layers[layers.length - 1]!;
  if (classes.length !== readout.shape[0]) {
    throw conversionError(graph.output, `it gives ${readout.shape[0]} logits for ${classes.length} classes`, 'Name as many classes.');
  }
  if (normalization.mean.length !== inputShape[0] || normalization.std.length !== inputShape[0]) {
    const why = `it has ${inputShape[0]} channels, the normalization ${normalization.mean.length}`;
    throw conversionError(graph.input.name, why, 'Give a mean and a standard deviation for each channel.');
  }
  return { name: graph.name, inputShape, normalization, layers, classes };
}

function checkParameters(graph: Graph, parameters: Parameters): void {
  for (const { name, shape } of parameterSpecs(graph)) {
    const node = name.slice(0, name.lastIndexOf('.'));
    const tensor = parameters.get(name);
    if (tensor?.data.length !== elementCount(shape)) {
      const found = tensor ? `has ${tensor.data.length} elements instead of ${elementCount(shape)}` : 'is missing';
      throw conversionError(node, `its parameter "${name}" ${found}`, 'Convert a network with the parameters of its graph.');
    }
    if (!tensor.data.every((value) => Number.isFinite(value))) {
      throw conversionError(node, `its parameter "${name}" holds NaN or infinity`, 'Train again at a lower learning rate.');
    }
  }
}

/** A node that does not reach the logits would be dropped by the conversion, and nothing must be. */
function checkAllUsed(graph: Graph): void {
  const used = new Set([graph.output]);
  for (const node of [...graph.nodes].reverse()) {
    if (!used.has(node.name)) throw conversionError(node.name, 'the output does not depend on it', 'Remove it from the graph.');
    for (const input of inputsOf(node)) used.add(input);
  }
}

function mapShape(shape: Shape): Shape {
  return shape.length === 1 ? [shape[0]!, 1, 1] : shape;
}

class Folding {
  readonly #layers: FoldedLayer[] = [];
  readonly #currents = new Map<string, Current>();
  readonly #consumers = new Map<string, number>();

  readonly graph: Graph;
  readonly parameters: Parameters;
  readonly neurons: ReadonlyMap<string, NeuronSettings>;

  constructor(
    { graph, parameters, neurons = new Map() }: TrainedNetwork,
    readonly shapes: ReadonlyMap<string, Shape>,
  ) {
    this.graph = graph;
    this.parameters = parameters;
    this.neurons = neurons;
  }

  layers(): FoldedLayer[] {
    const { input, nodes, output } = this.graph;
    this.#currents.set(input.name, sourceCurrent(inputName, mapShape(input.shape), input.shape.length === 1, new Float64Array(input.shape[0]!).fill(1)));
    for (const name of [...nodes.flatMap(inputsOf), output]) this.#consumers.set(name, (this.#consumers.get(name) ?? 0) + 1);
    for (const node of nodes) this.#currents.set(node.name, this.#fold(node));
    this.#layers.push(this.#readout(this.#take(output)));
    return this.#layers;
  }

  /** The current of a node; forgotten at its last use, so that folded weights do not pile up. */
  #take(name: string): Current {
    const current = this.#currents.get(name)!;
    const left = this.#consumers.get(name)! - 1;
    this.#consumers.set(name, left);
    if (left === 0) this.#currents.delete(name);
    return current;
  }

  #fold(node: GraphNode): Current {
    switch (node.op) {
      case 'add':
        return addCurrents(this.#take(node.inputs[0]), this.#take(node.inputs[1]));
      case 'conv2d':
        return convolveCurrent(node, this.#take(node.input), this.#weight(node), this.#bias(node));
      case 'linear':
        return linearCurrent(node.name, this.#take(node.input), this.#weight(node), this.#bias(node));
      case 'batchNorm':
        return this.#batchNorm(node, this.#take(node.input));
      case 'activation':
        return this.#activation(node, this.#take(node.input));
      case 'maxPool':
        return maxPoolCurrent(node, this.#take(node.input), (layer) => this.#layers.push(layer));
      case 'concat':
        return concatCurrents(node.name, node.inputs.map((input) => this.#take(input)));
      case 'avgPool':
        return poolCurrent(node.name, this.#take(node.input), node.kernel, node.stride);
      case 'globalAvgPool': {
        const input = this.#take(node.input);
        const [, height, width] = input.shape as [number, number, number];
        return poolCurrent(node.name, input, [height, width], [height, width]);
      }
      case 'flatten':
        return { ...this.#take(node.input), flat: true };
    }
  }

  #batchNorm(node: BatchNormNode, input: Current): Current {
    const [weight, bias, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map((suffix) =>
      this.#parameter(node.name, suffix),
    ) as [Float64Array, Float64Array, Float64Array, Float64Array];
    const gain = weight.map((w, c) => w / Math.sqrt(variance[c]! + node.epsilon));
    if (!gain.every((g) => Number.isFinite(g))) {
      throw conversionError(node.name, 'a running variance plus epsilon is not positive', 'Train with a positive epsilon.');
    }
    return scaleCurrent(node.name, input, gain, bias.map((b, c) => b - gain[c]! * mean[c]!));
  }

  #activation(node: ActivationNode, input: Current): Current {
    if (node.name === inputName) {
      throw conversionError(node.name, `"${inputName}" names the image in a spiking model`, 'Rename the node.');
    }
    const settings = this.neurons.get(node.name) ?? { threshold: new Float64Array(input.shape[0]!).fill(this.#threshold(node)) };
    const layer = spikingLayer(node.name, input, settings);
    this.#layers.push(layer);
    return sourceCurrent(node.name, input.shape, input.flat, layer.threshold);
  }

  #threshold(node: ActivationNode): number {
    const { activation } = node;
    const threshold = activation.kind === 'relu' ? activation.cap : activationThreshold(node, this.parameters);
    if (threshold === undefined) {
      const remedy = 'Calibrate it on images first: calibrate(), or --calibrate of convert; or train another activation.';
      throw conversionError(node.name, 'relu has no threshold', remedy);
    }
    return threshold;
  }

  #readout(current: Current): FoldedReadout {
    const { output } = this.graph;
    const [, height, width] = current.shape;
    if (height !== 1 || width !== 1) {
      throw conversionError(output, 'its logits are a flattened map', 'End the network in a linear layer.');
    }
    const isNeuron = this.#layers.some((layer) => layer.name === output);
    return { kind: 'readout', ...finishSum(isNeuron ? `${output}.readout` : output, current) };
  }

  #weight(node: WeightedNode): Float64Array {
    return effectiveWeight(node, this.parameters.get(`${node.name}.weight`)!.data);
  }

  #bias(node: { readonly name: string; readonly bias: boolean }): Float64Array {
    if (node.bias) return this.#parameter(node.name, 'bias');
    return new Float64Array(this.shapes.get(node.name)![0]!);
  }

  #parameter(node: string, suffix: string): Float64Array {
    return Float64Array.from(this.parameters.get(`${node}.${suffix}`)!.data);
  }
}

function finishSum(name: string, { shape, synapses, bias }: Current): Omit<FoldedReadout, 'kind'> {
  return { name, shape, synapses: synapses.map((synapse) => finishSynapse(synapse, shape[0]!)), bias };
}

function spikingLayer(name: string, current: Current, { threshold, initialPotential, bias, weights }: NeuronSettings): FoldedSpiking {
  const sum = finishSum(name, current);
  for (const [what, values] of Object.entries({ threshold, initialPotential, bias })) {
    if (values === undefined || (values.length === sum.bias.length && values.every(Number.isFinite))) continue;
    throw conversionError(name, `its calibrated ${what} is not ${sum.bias.length} finite numbers, one a channel`, 'Calibrate this network.');
  }
  const weak = threshold.find((theta) => !(theta > 0));
  if (weak !== undefined) throw conversionError(name, `its threshold ${weak} is not positive`, 'Calibrate on other images, or train again at a lower learning rate.');
  return {
    kind: 'spiking',
    ...sum,
    ...(weights && { synapses: sum.synapses.map((synapse, i) => withWeights(name, synapse, weights[i])) }),
    bias: bias ? sum.bias.map((b, c) => b + bias[c]!) : sum.bias,
    threshold,
    initialPotential: initialPotential ?? threshold.map((theta) => theta / 2),
  };
}

function withWeights(name: string, synapse: FoldedSynapse, weight: Float64Array | undefined): FoldedSynapse {
  if (weight === undefined) return synapse;
  if (synapse.kind === 'conv2d' && weight.length === synapse.weight.length && weight.every(Number.isFinite)) return { ...synapse, weight };
  const wanted = synapse.kind === 'conv2d' ? `${synapse.weight.length} finite numbers` : 'none, those of an identity';
  throw conversionError(name, `its calibrated weights are not ${wanted}`, 'Calibrate this network.');
}

/**
 * An identity keeps all channels, with positive multipliers. One of some channels, behind a concatenation, is a 1 x 1
 * convolution; a gain that is not positive makes it one of each channel with itself.
 */
function finishSynapse(synapse: FoldedConv | CurrentIdentity, channels: number): FoldedSynapse {
  if (synapse.kind === 'conv2d') return synapse;
  const { source, pool, stride, gain, first } = synapse;
  const base = { source, ...(pool && { pool }), stride };
  if (gain.length === channels && gain.every((g) => g > 0)) return { ...base, kind: 'identity', gain };
  const point = { ...base, kind: 'conv2d', kernel: [1, 1], padding: [0, 0, 0, 0] } as const;
  if (gain.length === channels) return { ...point, groups: channels, weight: gain };
  const weight = new Float64Array(channels * gain.length);
  gain.forEach((g, c) => (weight[(first + c) * gain.length + c] = g));
  return { ...point, groups: 1, weight };
}
