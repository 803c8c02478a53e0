import { NoisefloorError } from '../errors.js';
import { checkGraphFields } from './check.js';
import { inputsOf, type Graph, type GraphNode, type Padding, type Pair, type Shape } from './graph.js';

type Map3 = readonly [number, number, number];

/** Output size of a window over `size` positions: floor((size + padding - kernel) / stride) + 1. */
export function windowOutput(size: number, kernel: number, stride: number, padding = 0): number {
  return Math.floor((size + padding - kernel) / stride) + 1;
}

/**
 * The shape of every value of the graph by name, the input included.
 * Also the check of the graph: fields of their types, unique names, inputs defined before use, shapes that fit. `INVALID_GRAPH`
 * and `UNSUPPORTED_OPERATOR` name the node.
 */
export function inferShapes(graph: Graph): Map<string, Shape> {
  checkGraphFields(graph);
  const shapes = new Map<string, Shape>();
  checkDimensions(graph.input.name, graph.input.shape);
  shapes.set(graph.input.name, graph.input.shape);
  for (const node of graph.nodes) {
    if (shapes.has(node.name)) fail(node.name, 'the name is used twice');
    const inputs = inputsOf(node).map((name) => {
      const shape = shapes.get(name);
      if (!shape) fail(node.name, `its input "${name}" is not defined before it`);
      return shape;
    });
    shapes.set(node.name, nodeShape(node, inputs));
  }
  const output = shapes.get(graph.output);
  if (!output) fail(graph.output, 'the output is not a node of the graph');
  if (output.length !== 1) fail(graph.output, `the output must be a vector of logits, not [${output.join(', ')}]`);
  return shapes;
}

/** The shape of a node's value, given those of its inputs; `INVALID_GRAPH` where they do not fit. */
export function nodeShape(node: GraphNode, inputs: readonly Shape[]): Shape {
  const shape = outputShape(node, inputs);
  checkDimensions(node.name, shape);
  return shape;
}

function outputShape(node: GraphNode, inputs: readonly Shape[]): Shape {
  const input = inputs[0]!;
  switch (node.op) {
    case 'conv2d': {
      const [channels, height, width] = map(node.name, input);
      if (channels % node.groups !== 0 || node.outChannels % node.groups !== 0) {
        fail(node.name, `${node.groups} groups do not divide ${channels} input and ${node.outChannels} output channels`);
      }
      return [node.outChannels, ...convolved(height, width, node.kernel, node.stride, node.padding)];
    }
    case 'linear':
      if (input.length !== 1) fail(node.name, 'its input is a map: put a flatten before it');
      return [node.outFeatures];
    case 'add': {
      const other = inputs[1]!;
      if (input.length !== other.length || input.some((n, i) => n !== other[i])) {
        fail(node.name, `shapes [${input.join(', ')}] and [${other.join(', ')}] differ`);
      }
      return input;
    }
    case 'avgPool': {
      const [channels, height, width] = map(node.name, input);
      return [channels, ...convolved(height, width, node.kernel, node.stride, [0, 0, 0, 0])];
    }
    case 'maxPool': {
      const [channels, height, width] = map(node.name, input);
      if (node.padding.some((pad, side) => pad >= node.kernel[side % 2]!)) {
        fail(node.name, `padding [${node.padding.join(', ')}] is not less than the kernel [${node.kernel.join(', ')}]`);
      }
      return [channels, ...convolved(height, width, node.kernel, node.stride, node.padding)];
    }
    case 'concat': {
      const odd = inputs.find((other) => other.length !== input.length || other.slice(1).some((n, i) => n !== input[i + 1]));
      if (odd) fail(node.name, `shapes [${input.join(', ')}] and [${odd.join(', ')}] differ beside their channels`);
      return [inputs.reduce((channels, other) => channels + other[0]!, 0), ...input.slice(1)];
    }
    case 'globalAvgPool':
      return [map(node.name, input)[0], 1, 1];
    case 'flatten':
      return [input.reduce((product, n) => product * n, 1)];
    case 'batchNorm':
    case 'activation':
      return input;
  }
}

function convolved(height: number, width: number, kernel: Pair, stride: Pair, padding: Padding): [number, number] {
  return [
    windowOutput(height, kernel[0], stride[0], padding[0] + padding[2]),
    windowOutput(width, kernel[1], stride[1], padding[1] + padding[3]),
  ];
}

function map(name: string, shape: Shape): Map3 {
  if (shape.length !== 3) fail(name, `its input must be a map [C, H, W], not [${shape.join(', ')}]`);
  return shape as unknown as Map3;
}

function checkDimensions(name: string, shape: Shape): void {
  if (shape.length === 0 || shape.some((n) => !Number.isInteger(n) || n < 1)) {
    fail(name, `its shape [${shape.join(', ')}] is empty or not made of positive integers`);
  }
}

function fail(name: string, why: string): never {
  throw new NoisefloorError('INVALID_GRAPH', `Node "${name}": ${why}.`);
}
