import { levelsOf, type GraphNode } from '../../src/graph/graph.js';
import { activationThreshold } from '../../src/graph/parameters.js';
import type { TrainedNetwork } from '../../src/graph/network.js';
import { denseForward, type ForwardOptions, type Values } from './denseForward.js';

export type ActivationRule = (node: GraphNode & { op: 'activation' }, input: Float64Array) => Float64Array;

/** theta and L of an activation node. */
export function thresholdOf(network: TrainedNetwork, node: GraphNode & { op: 'activation' }): { theta: number; levels: number } {
  const { activation } = node;
  if (activation.kind === 'relu') throw new Error('relu has no threshold');
  return { theta: activationThreshold(node, network.parameters)!, levels: levelsOf(activation) };
}

/** The quantised dense network: what training optimises. */
export function evaluateDense(network: TrainedNetwork, image: Float32Array): Values {
  return evaluate(network, image, (node, input) => {
    const { theta, levels } = thresholdOf(network, node);
    return input.map((z) => (theta * Math.floor(Math.min(1, Math.max(0, z / theta)) * levels + 0.5)) / levels);
  });
}

/**
 * The same graph with an integrate-and-fire neuron of amplitude theta at every activation, evaluated whole at each time
 * step: running sums of the logits [timeSteps][classes] and spike counts by activation. Max-pooling gives what makes its
 * sum over the steps the largest of the sums of its window.
 */
export function evaluateSpiking(network: TrainedNetwork, image: Float32Array, timeSteps: number): { logits: number[][]; counts: Values } {
  const potentials: Values = new Map();
  const counts: Values = new Map();
  const logits: number[][] = [];
  const sums: Values = new Map();
  const poolSums: NonNullable<ForwardOptions['pool']> = (node, input, largest) => {
    const before = sums.get(node.name) ?? new Float64Array(input.length);
    const after = before.map((sum, i) => sum + input[i]!);
    sums.set(node.name, after);
    const previous = largest(before);
    return largest(after).map((sum, i) => sum - previous[i]!);
  };
  for (let t = 0; t < timeSteps; t++) {
    const values = evaluate(network, image, (node, input) => {
      const { theta } = thresholdOf(network, node);
      const v = potentials.get(node.name) ?? new Float64Array(input.length).fill(theta / 2);
      const count = counts.get(node.name) ?? new Float64Array(input.length);
      potentials.set(node.name, v);
      counts.set(node.name, count);
      return input.map((current, i) => {
        v[i]! += current;
        if (v[i]! < theta) return 0;
        v[i]! -= theta;
        count[i]! += 1;
        return theta;
      });
    }, poolSums);
    const output = values.get(network.graph.output)!;
    logits.push(Array.from(output, (value, c) => value + (logits[t - 1]?.[c] ?? 0)));
  }
  return { logits, counts };
}

function evaluate({ graph, parameters }: TrainedNetwork, image: Float32Array, activate: ActivationRule, pool?: ForwardOptions['pool']): Values {
  const values = new Map([...parameters].map(([name, { data }]) => [name, data]));
  return denseForward(graph, values, Float64Array.from(image), 1, { training: false, activate, ...(pool && { pool }) });
}
