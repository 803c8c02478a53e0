import { inputsOf, type GraphNode, type Shape } from '../graph/graph.js';
import { nodeShape } from '../graph/shapes.js';
import type { Parameters } from '../tensor.js';

type WithoutName<Node> = Node extends GraphNode ? Omit<Node, 'name'> : never;

/** Writes a graph node by node with its parameters, and knows the shape of every value so far. */
export class NetworkWriter {
  readonly input = 'input';
  readonly nodes: GraphNode[] = [];
  readonly parameters: Parameters = new Map();
  readonly #shapes = new Map<string, Shape>();

  constructor(inputShape: Shape) {
    this.#shapes.set(this.input, inputShape);
  }

  shape(name: string): Shape {
    return this.#shapes.get(name)!;
  }

  find(name: string): GraphNode | undefined {
    return this.nodes.find((node) => node.name === name);
  }

  /** Adds a node under `name`, or where that is taken a name like it, and returns the name. */
  add(name: string, node: WithoutName<GraphNode>): string {
    let unique = name;
    for (let i = 2; this.#shapes.has(unique); i++) unique = `${name}_${i}`;
    const named = { ...node, name: unique } as GraphNode;
    this.#shapes.set(unique, nodeShape(named, inputsOf(named).map((input) => this.shape(input))));
    this.nodes.push(named);
    return unique;
  }

  parameter(node: string, suffix: string, shape: readonly number[], data: ArrayLike<number>): void {
    this.parameters.set(`${node}.${suffix}`, { shape, data: data instanceof Float32Array ? data : Float32Array.from(data) });
  }

  /** Gives a convolution or linear layer that has none a bias. */
  addBias(name: string, bias: ArrayLike<number>): void {
    const index = this.nodes.findIndex((node) => node.name === name);
    const node = this.nodes[index]!;
    if (node.op !== 'conv2d' && node.op !== 'linear') throw new Error(`${name} takes no bias`);
    this.nodes[index] = { ...node, bias: true };
    this.parameter(name, 'bias', [bias.length], bias);
  }
}

/** gain x + offset per channel. */
export interface ChannelAffine {
  readonly gain: Float64Array;
  readonly offset: Float64Array;
}

/** gain x + offset as a batch normalisation. */
export function addBatchNorm(writer: NetworkWriter, input: string, name: string, { gain, offset }: ChannelAffine): string {
  const node = writer.add(name, { op: 'batchNorm', input, epsilon: 0, momentum: 0.1 });
  const shape = [gain.length];
  writer.parameter(node, 'weight', shape, gain);
  writer.parameter(node, 'bias', shape, offset);
  writer.parameter(node, 'running_mean', shape, new Float32Array(gain.length));
  writer.parameter(node, 'running_var', shape, new Float32Array(gain.length).fill(1));
  return node;
}
