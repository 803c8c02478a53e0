import type { Random } from '../random.js';
import { elementCount, type Parameters, type Tensor } from '../tensor.js';
import type { ActivationNode, Graph, GraphNode, Shape } from './graph.js';
import { inferShapes } from './shapes.js';

/** What a parameter is for; the trainer and the optimiser treat roles apart. */
export type ParameterRole = 'weight' | 'bias' | 'normWeight' | 'threshold' | 'buffer';

export interface ParameterSpec {
  /** `<node>.<suffix>`. */
  readonly name: string;
  readonly shape: Shape;
  readonly role: ParameterRole;
}

/** Every parameter and buffer of a graph, in the order of its nodes. */
export function parameterSpecs(graph: Graph): ParameterSpec[] {
  const shapes = inferShapes(graph);
  return graph.nodes.flatMap((node) => nodeParameters(node, shapes));
}

/** Name of the scalar of an activation: its step (lsq) or its threshold; relu has none. */
export function activationParameter(node: ActivationNode): string | undefined {
  switch (node.activation.kind) {
    case 'relu':
      return undefined;
    case 'lsq':
      return `${node.name}.scale`;
    case 'qcfs':
    case 'tcl':
    case 'slip-relu':
    case 'spike':
      return `${node.name}.threshold`;
  }
}

/** Threshold of the spiking neurons that an activation becomes: s p (lsq) or theta; undefined for relu. */
export function activationThreshold(node: GraphNode, parameters: Parameters): number | undefined {
  if (node.op !== 'activation' || node.activation.kind === 'relu') return undefined;
  const value = parameters.get(activationParameter(node)!)!.data[0]!;
  return node.activation.kind === 'lsq' ? value * node.activation.levels : value;
}

/** Thresholds of all activations that have one, by name. */
export function activationThresholds(graph: Graph, parameters: Parameters): Record<string, number> {
  const thresholds: Record<string, number> = {};
  for (const node of graph.nodes) {
    const threshold = activationThreshold(node, parameters);
    if (threshold !== undefined) thresholds[node.name] = threshold;
  }
  return thresholds;
}

function nodeParameters(node: GraphNode, shapes: ReadonlyMap<string, Shape>): ParameterSpec[] {
  const spec = (suffix: string, shape: Shape, role: ParameterRole): ParameterSpec => ({ name: `${node.name}.${suffix}`, shape, role });
  switch (node.op) {
    case 'conv2d': {
      const inChannels = shapes.get(node.input)![0]!;
      const weight = spec('weight', [node.outChannels, inChannels / node.groups, ...node.kernel], 'weight');
      return node.bias ? [weight, spec('bias', [node.outChannels], 'bias')] : [weight];
    }
    case 'linear': {
      const weight = spec('weight', [node.outFeatures, shapes.get(node.input)![0]!], 'weight');
      return node.bias ? [weight, spec('bias', [node.outFeatures], 'bias')] : [weight];
    }
    case 'batchNorm': {
      const channels = [shapes.get(node.input)![0]!];
      return [
        spec('weight', channels, 'normWeight'),
        spec('bias', channels, 'bias'),
        spec('running_mean', channels, 'buffer'),
        spec('running_var', channels, 'buffer'),
      ];
    }
    case 'activation': {
      const name = activationParameter(node);
      const { activation } = node;
      const role = activation.kind === 'spike' && !activation.trainable ? 'buffer' : 'threshold';
      return name === undefined ? [] : [{ name, shape: [], role }];
    }
    case 'add':
    case 'concat':
    case 'avgPool':
    case 'maxPool':
    case 'globalAvgPool':
    case 'flatten':
      return [];
  }
}

/**
 * Fresh parameters. Convolutions: Kaiming normal by fan-out. Linear: uniform in +-1/sqrt(fan-in), bias too.
 * Batch normalisation: 1, 0; statistics 0, 1. Thresholds and scales from the graph.
 */
export function initialParameters(graph: Graph, random: Random): Parameters {
  const nodes = new Map(graph.nodes.map((node) => [node.name, node]));
  const parameters: Parameters = new Map();
  for (const { name, shape } of parameterSpecs(graph)) {
    const dot = name.lastIndexOf('.');
    parameters.set(name, initialTensor(nodes.get(name.slice(0, dot))!, name.slice(dot + 1), shape, parameters, random));
  }
  return parameters;
}

function initialTensor(node: GraphNode, suffix: string, shape: Shape, done: Parameters, random: Random): Tensor {
  const data = new Float32Array(elementCount(shape));
  if (node.op === 'conv2d' && suffix === 'weight') {
    const fanOut = (node.outChannels / node.groups) * node.kernel[0] * node.kernel[1];
    const deviation = Math.sqrt(2 / fanOut);
    for (let i = 0; i < data.length; i++) data[i] = deviation * random.normal();
  } else if (node.op === 'linear') {
    const fanIn = suffix === 'weight' ? shape[1]! : done.get(`${node.name}.weight`)!.shape[1]!;
    const bound = 1 / Math.sqrt(fanIn);
    for (let i = 0; i < data.length; i++) data[i] = bound * (2 * random.uniform() - 1);
  } else if (node.op === 'batchNorm') {
    data.fill(suffix === 'weight' || suffix === 'running_var' ? 1 : 0);
  } else if (node.op === 'activation' && node.activation.kind !== 'relu') {
    data.fill(node.activation.kind === 'lsq' ? node.activation.initialScale : node.activation.initialThreshold);
  }
  return { shape, data };
}
