import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../src/graph/builder.js';
import type { Graph } from '../src/graph/graph.js';
import { inferShapes } from '../src/graph/shapes.js';

function everyNode(): Graph {
  const b = new GraphBuilder('every', [2, 8, 8]);
  let x = b.activation(b.batchNorm(b.conv2d(b.input, 'conv', { outChannels: 4, kernel: 3, padding: 1 }), 'bn'), 'act', { kind: 'qcfs', levels: 4, initialThreshold: 2 });
  x = b.maxPool(b.concat([b.add(x, x, 'sum'), x], 'both'), 'max', 3, 1, [1, 1, 2, 1]);
  x = b.globalAvgPool(b.avgPool(x, 'pool', 2), 'mean');
  return b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 3 }));
}

/** The graph with one field of one node replaced, as untyped JSON may have it. */
function spoilt(node: string, field: string, value: unknown): Graph {
  const graph = everyNode();
  expect(graph.nodes.map(({ name }) => name)).toContain(node);
  return { ...graph, nodes: graph.nodes.map((one) => (one.name === node ? { ...one, [field]: value } : one)) };
}

describe('inferShapes', () => {
  it('gives the shape of every value', () => {
    expect(Object.fromEntries(inferShapes(everyNode()))).toEqual({
      input: [2, 8, 8],
      conv: [4, 8, 8],
      bn: [4, 8, 8],
      act: [4, 8, 8],
      sum: [4, 8, 8],
      both: [8, 8, 8],
      max: [8, 9, 8],
      pool: [8, 4, 4],
      mean: [8, 1, 1],
      flat: [8],
      fc: [3],
    });
  });

  it.each([
    ['conv', 'kernel', [3], /two positive integers for kernel but received \[3\]/],
    ['conv', 'stride', [0, 1], /for stride/],
    ['conv', 'padding', [0, 0, 0, -1], /for padding/],
    ['conv', 'padding', undefined, /for padding but received undefined/],
    ['conv', 'groups', 0, /for groups/],
    ['conv', 'groups', 3, /groups do not divide/],
    ['conv', 'outChannels', 1.5, /for outChannels/],
    ['conv', 'bias', 'no', /for bias/],
    ['bn', 'epsilon', null, /for epsilon/],
    ['bn', 'input', 'nowhere', /"nowhere" is not defined/],
    ['act', 'activation', { kind: 'elu' }, /expected qcfs, lsq, slip-relu, tcl, relu, spike with its settings/],
    ['act', 'activation', { kind: 'qcfs', levels: 0, initialThreshold: 1 }, /expected qcfs, lsq, slip-relu, tcl, relu, spike with its settings/],
    ['sum', 'inputs', ['act'], /two names for inputs/],
    ['sum', 'inputs', ['act', 'input'], /differ/],
    ['act', 'activation', { kind: 'relu', cap: 0 }, /with its settings/],
    ['both', 'inputs', ['sum'], /two names or more for inputs but received \["sum"\]/],
    ['both', 'inputs', ['sum', 3], /two names or more/],
    ['mean', 'op', 'concat', /two names or more for inputs but received undefined/],
    ['max', 'padding', [0, 0, 3, 0], /padding \[0, 0, 3, 0\] is not less than the kernel \[3, 3\]/],
    ['max', 'padding', [0, 0], /for padding/],
    ['pool', 'kernel', [9, 9], /positive integers/],
    ['flat', 'name', 'bn', /used twice/],
    ['fc', 'outFeatures', '3', /for outFeatures/],
  ])('refuses %s with %s %j', (node, field, value, message) => {
    expect(() => inferShapes(spoilt(node, field, value))).toThrow(
      expect.objectContaining({ code: 'INVALID_GRAPH', message: expect.stringMatching(message) as string }) as Error,
    );
  });

  it('names the operators there are', () => {
    expect(() => inferShapes(spoilt('pool', 'op', 'upsample'))).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED_OPERATOR', message: expect.stringMatching(/Node "pool": unknown op "upsample".*avgPool/) as string }) as Error,
    );
  });

  it.each([[undefined], [{}], [{ input: { name: 'x', shape: 3 } }], [{ ...everyNode(), nodes: [null] }]])('refuses what is no graph', (graph) => {
    expect(() => inferShapes(graph as Graph)).toThrow(expect.objectContaining({ code: 'INVALID_GRAPH' }) as Error);
  });
});
