import { poolsBehindActivations } from '../../src/graph/poolOrder.js';
import { expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { gapModel } from '../../src/training/gapModel.js';
import { evaluateDense, evaluateSpiking, thresholdOf } from '../support/graphEvaluation.js';
import { randomNetwork } from '../support/trainedNetworks.js';

test('the gap is that between the quantised network and its spiking network, max-pooling included', async () => {
  const qcfs = { kind: 'qcfs', levels: 4, initialThreshold: 1.3 } as const;
  const b = new GraphBuilder('pooled', [2, 6, 5]);
  const still = b.maxPool(b.conv2d(b.input, 'conv0', { outChannels: 4, kernel: 1, bias: true }), 'pool0', 2, 1);
  const pooled = b.maxPool(b.activation(still, 'act1', qcfs), 'pool1', [3, 2], [2, 1], [1, 0, 1, 1]);
  const second = b.activation(b.conv2d(pooled, 'conv1', { outChannels: 3, kernel: 2 }), 'act2', qcfs);
  const count = 6;
  const trained = randomNetwork(b.build(b.linear(b.flatten(second, 'flat'), 'fc', { outFeatures: 3 })), 2, count);
  // As the spiking network has it.
  const network = { ...trained, graph: poolsBehindActivations(trained.graph) };
  const { graph, parameters, samples } = network;
  const timeSteps = 5;
  const ort = await loadRuntime();
  const session = await openSession(gapModel(trained.graph, timeSteps), { threads: 1 });
  const feeds = Object.fromEntries([...parameters].map(([name, { shape, data }]) => [name, new ort.Tensor('float32', data, [...shape])]));
  const known = Object.fromEntries(Object.entries(feeds).filter(([name]) => session.inputNames.includes(name)));
  const results = await session.run({ ...known, input: new ort.Tensor('float32', samples!.images, [count, 2, 6, 5]) });
  for (const name of ['act1', 'act2']) {
    const node = graph.nodes.find((one) => one.name === name)!;
    const { theta } = thresholdOf(network, node as never);
    const gaps = Array.from({ length: count }, (_, n) => {
      const image = samples!.images.subarray(n * 60, (n + 1) * 60);
      const { counts } = evaluateSpiking(network, image, timeSteps);
      return [...evaluateDense(network, image).get(name)!].map((value, i) => value - (theta * counts.get(name)![i]!) / timeSteps);
    }).flat();
    const mean = gaps.reduce((a, c) => a + c) / gaps.length;
    const variance = gaps.reduce((a, c) => a + (c - mean) ** 2, 0) / (gaps.length - 1);
    expect(variance).toBeGreaterThan(1e-3);
    expect((results[`${name}.gap_mean`]!.data as Float32Array)[0]).toBeCloseTo(mean, 5);
    expect((results[`${name}.gap_variance`]!.data as Float32Array)[0]).toBeCloseTo(variance, 5);
  }
});
