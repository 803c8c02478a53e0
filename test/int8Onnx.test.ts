import { describe, expect, it } from 'vitest';
import { DenseSession } from '../src/evaluate/dense.js';
import { GraphBuilder } from '../src/graph/builder.js';
import type { TrainedNetwork } from '../src/graph/network.js';
import { exportOnnx } from '../src/onnx/export.js';
import { exportInt8Onnx, int8Ranges, type ValueRange } from '../src/onnx/int8.js';
import { constructions, randomNetwork } from './support/trainedNetworks.js';

const shape = [3, 8, 8];

function network(construction: string): TrainedNetwork {
  const b = new GraphBuilder('net', shape);
  return randomNetwork(b.build(constructions[construction]!(b)), 3, 24);
}

async function calibrated(net: TrainedNetwork): Promise<Map<string, ValueRange>> {
  const [input, ...taps] = int8Ranges(net);
  const { images } = net.samples!;
  const range = (values: Float32Array): ValueRange => ({ min: Math.min(...values), max: Math.max(...values) });
  if (taps.length === 0) return new Map([[input!, range(images)]]);
  await using session = await DenseSession.create(exportOnnx(net, { activations: 'clipped', taps }));
  const results = await session.run(images, shape, taps);
  return new Map([[input!, range(images)], ...taps.map((name): [string, ValueRange] => [name, range(results.get(name)!)])]);
}

async function logits(model: Uint8Array, { samples }: TrainedNetwork): Promise<Float32Array> {
  await using session = await DenseSession.create(model);
  return (await session.run(samples!.images, shape)).get('logits')!;
}

const residual = 'residual identity, projection, global pool';

describe('the int8 network', () => {
  it.each([residual, 'groups, bias, asymmetric padding and stride', 'multi-layer perceptron'])('computes what the float network does: %s', async (name) => {
    const net = network(name);
    // Activations read what is not quantised only without convolutions; there the int8 network clips in 255 steps.
    const expected = await logits(exportOnnx(net, { activations: 'clipped' }), net);
    const actual = await logits(exportInt8Onnx(net, await calibrated(net)), net);
    const spread = Math.max(...expected) - Math.min(...expected);
    const error = Math.sqrt(expected.reduce((sum, x, i) => sum + (x - actual[i]!) ** 2, 0) / expected.length);
    expect(error / spread).toBeLessThan(0.02);
    expect(actual).not.toEqual(expected);
  });

  it('wants the ranges of the input and of what residual sums read', () => {
    const graph = network(residual).graph;
    expect(int8Ranges(network(residual))).toEqual([graph.input.name, 'conv2.bn', 'shortcut.bn', 'conv4.bn']);
  });

  it('refuses missing ranges and activations without threshold', () => {
    expect(() => exportInt8Onnx(network(residual), new Map())).toThrow(/Cannot write node "input" for int8: its range is missing/);
    const b = new GraphBuilder('relu', shape);
    const x = b.activation(b.conv2d(b.input, 'conv', { outChannels: 2, kernel: 1 }), 'act', { kind: 'relu' });
    const net = randomNetwork(b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 4 })), 1);
    const ranges = new Map([['input', { min: -1, max: 1 }]]);
    expect(() => exportInt8Onnx(net, ranges)).toThrow(/Cannot write node "act" for int8: relu has no threshold/);
  });
});
