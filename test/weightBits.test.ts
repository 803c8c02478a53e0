import { describe, expect, it, test } from 'vitest';
import { convert } from '../src/convert/convert.js';
import { buildNetwork } from '../src/graph/networks/index.js';
import { GraphBuilder } from '../src/graph/builder.js';
import type { Graph } from '../src/graph/graph.js';
import { effectiveWeight, withWeightBits, type WeightedNode } from '../src/graph/weights.js';
import type { TrainedNetwork } from '../src/graph/network.js';
import { OnnxBuilder } from '../src/onnx/builder.js';
import { emitWeight } from '../src/onnx/layers.js';
import { loadRuntime, openSession } from '../src/onnx/runtime.js';
import { Random } from '../src/random.js';
import { constructions, randomNetwork } from './support/trainedNetworks.js';

const qcfs = { kind: 'qcfs', levels: 4, initialThreshold: 1.3 } as const;

function constructed(name: string): Graph {
  const b = new GraphBuilder('constructed', [2, 8, 8]);
  return withWeightBits(b.build(constructions[name]!(b)), 8);
}

const graphs: Record<string, Graph> = {
  'mnist-small, with projections': withWeightBits(buildNetwork('mnist-small', { inputShape: [1, 28, 28], classes: 10, activation: qcfs }), 8),
  'resnet20, with projections': withWeightBits(buildNetwork('resnet20', { inputShape: [3, 32, 32], classes: 10, activation: qcfs }), 8),
  ...Object.fromEntries(
    ['multi-layer perceptron', 'residual identity, projection, global pool', 'groups, bias, asymmetric padding and stride', 'pool before convolution'].map((name) => [name, constructed(name)]),
  ),
};

function weighted({ graph }: TrainedNetwork): WeightedNode[] {
  return graph.nodes.filter((node): node is WeightedNode => node.op === 'conv2d' || node.op === 'linear');
}

/** The integers that a node was trained with: 127 is the largest of each channel. */
function trainedIntegers(node: WeightedNode, weight: Float32Array): number[] {
  const effective = effectiveWeight(node, weight);
  const fanIn = effective.length / (node.op === 'conv2d' ? node.outChannels : node.outFeatures);
  return Array.from(effective, (w, i) => {
    const from = i - (i % fanIn);
    const largest = Math.max(...effective.subarray(from, from + fanIn).map(Math.abs));
    return Math.round((w * 127) / largest);
  });
}

describe.each(Object.entries(graphs))('%s with weights of 8 bits', (_, graph) => {
  const network = randomNetwork(graph, 4, 0);
  const { model, report } = convert(network);

  it('converts to the integers it was trained with', () => {
    const found = model.layers.flatMap(({ synapses }) => synapses.flatMap((synapse) => (synapse.kind === 'conv2d' ? [Array.from(synapse.weight)] : [])));
    const trained = weighted(network).map((node) => trainedIntegers(node, network.parameters.get(`${node.name}.weight`)!.data));
    const signature = (weights: readonly number[]): string => weights.join();
    expect(found.map(signature).sort()).toEqual(trained.map(signature).sort());
  });

  it('loses next to nothing of the weights', () => {
    // All classes share one unit of potential, so the scales of the read-out cannot all be whole multiples of it.
    const readout = report.layers.at(-1)!;
    for (const layer of report.layers) expect(layer.weightError.int8, layer.name).toBeLessThan(layer === readout ? 3e-3 : 1e-3);
  });
});

test('the ONNX graphs and conversion round the same weights', async () => {
  const node = { op: 'conv2d', name: 'conv', input: 'x', outChannels: 8, kernel: [3, 3], stride: [1, 1], padding: [0, 0, 0, 0], groups: 1, bias: false, weightBits: 8 } as const;
  const random = new Random(3);
  const weight = Float32Array.from({ length: 8 * 4 * 9 }, (_, i) => (i < 36 ? 0 : random.normal()));
  // Ties of the rounding: 127 and halves.
  weight.set([127, 0.5, 1.5, -0.5, -2.5], 36);
  const onnx = new OnnxBuilder('weights');
  onnx.input('conv.weight', 'float32', [8, 4, 3, 3]);
  onnx.output(emitWeight(onnx, node), 'rounded', 'float32', [8, 4, 3, 3]);
  const ort = await loadRuntime();
  const session = await openSession(onnx.build(), { threads: 1 });
  const { rounded } = await session.run({ 'conv.weight': new ort.Tensor('float32', weight, [8, 4, 3, 3]) });
  const expected = effectiveWeight(node, weight);
  const withoutSignOfZero = (values: Iterable<number>): number[] => Array.from(values, (w) => Math.fround(w) + 0);
  expect(withoutSignOfZero(rounded!.data as Float32Array)).toEqual(withoutSignOfZero(expected));
  expect(expected.subarray(0, 36).every((w) => w === 0)).toBe(true);
  expect(Math.abs(expected[37]!)).toBeLessThan(1);
});

test('a width that no engine has is refused', () => {
  const graph = graphs['multi-layer perceptron']!;
  const spoilt = { ...graph, nodes: graph.nodes.map((node) => (node.op === 'linear' ? { ...node, weightBits: 3 } : node)) };
  expect(() => convert(randomNetwork(spoilt as never, 1, 0))).toThrow(/expected one of 8, or nothing for weightBits but received 3/);
});
