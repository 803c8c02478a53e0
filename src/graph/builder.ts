import { invalidArgument } from '../errors.js';
import type { Activation, Graph, GraphNode, Padding, Pair, Shape } from './graph.js';
import { inferShapes } from './shapes.js';

export interface Conv2dOptions {
  readonly outChannels: number;
  readonly kernel: number | Pair;
  /** Default 1. */
  readonly stride?: number | Pair;
  /** One number for all sides, or [top, left, bottom, right]. Default 0. */
  readonly padding?: number | Padding;
  /** Default 1. */
  readonly groups?: number;
  /** Default false: a batch normalisation follows. */
  readonly bias?: boolean;
}

/**
 * Builds a {@link Graph} node by node. Each method takes the name of its input and the name of the new node, and
 * returns the latter.
 *
 * @example
 * const b = new GraphBuilder('tiny', [1, 28, 28]);
 * let x = b.conv2d(b.input, 'conv', { outChannels: 8, kernel: 3 });
 * x = b.activation(b.batchNorm(x, 'bn'), 'act', { kind: 'qcfs', levels: 4, initialThreshold: 4 });
 * const graph = b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 10 }));
 */
export class GraphBuilder {
  readonly input = 'input';
  readonly #nodes: GraphNode[] = [];

  constructor(
    readonly name: string,
    readonly inputShape: Shape,
  ) {}

  conv2d(input: string, name: string, options: Conv2dOptions): string {
    const { outChannels, kernel, stride = 1, padding = 0, groups = 1, bias = false } = options;
    return this.#push({
      op: 'conv2d',
      name,
      input,
      outChannels: positive(`${name}: outChannels`, outChannels),
      kernel: pair(`${name}: kernel`, kernel),
      stride: pair(`${name}: stride`, stride),
      padding: sides(padding),
      groups: positive(`${name}: groups`, groups),
      bias,
    });
  }

  linear(input: string, name: string, options: { readonly outFeatures: number; readonly bias?: boolean }): string {
    const outFeatures = positive(`${name}: outFeatures`, options.outFeatures);
    return this.#push({ op: 'linear', name, input, outFeatures, bias: options.bias ?? true });
  }

  batchNorm(input: string, name: string, options: { readonly epsilon?: number; readonly momentum?: number } = {}): string {
    return this.#push({ op: 'batchNorm', name, input, epsilon: options.epsilon ?? 1e-5, momentum: options.momentum ?? 0.1 });
  }

  activation(input: string, name: string, activation: Activation): string {
    return this.#push({ op: 'activation', name, input, activation });
  }

  add(first: string, second: string, name: string): string {
    return this.#push({ op: 'add', name, inputs: [first, second] });
  }

  /** Two values or more, one behind the other along the channels. */
  concat(inputs: readonly string[], name: string): string {
    return this.#push({ op: 'concat', name, inputs });
  }

  /** @param padding one number for all sides, or [top, left, bottom, right]; counts as -infinity */
  maxPool(input: string, name: string, kernel: number | Pair, stride: number | Pair = kernel, padding: number | Padding = 0): string {
    return this.#push({
      op: 'maxPool',
      name,
      input,
      kernel: pair(`${name}: kernel`, kernel),
      stride: pair(`${name}: stride`, stride),
      padding: sides(padding),
    });
  }

  avgPool(input: string, name: string, kernel: number | Pair, stride: number | Pair = kernel): string {
    return this.#push({ op: 'avgPool', name, input, kernel: pair(`${name}: kernel`, kernel), stride: pair(`${name}: stride`, stride) });
  }

  globalAvgPool(input: string, name: string): string {
    return this.#push({ op: 'globalAvgPool', name, input });
  }

  flatten(input: string, name: string): string {
    return this.#push({ op: 'flatten', name, input });
  }

  /** The finished graph with `output` as its logits. Throws `INVALID_GRAPH` where names or shapes do not fit. */
  build(output: string): Graph {
    const graph: Graph = { name: this.name, input: { name: this.input, shape: this.inputShape }, nodes: [...this.#nodes], output };
    inferShapes(graph);
    return graph;
  }

  #push(node: GraphNode): string {
    this.#nodes.push(node);
    return node.name;
  }
}

function pair(name: string, value: number | Pair): Pair {
  return typeof value === 'number' ? [positive(name, value), positive(name, value)] : [positive(name, value[0]), positive(name, value[1])];
}

function sides(padding: number | Padding): Padding {
  return typeof padding === 'number' ? [padding, padding, padding, padding] : padding;
}

function positive(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) throw invalidArgument(name, 'positive integer', value);
  return value;
}
