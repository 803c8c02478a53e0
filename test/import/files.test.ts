import { describe, expect, it } from 'vitest';
import { readOnnx } from '../../src/import/readOnnx.js';
import { compareWithFile, vector } from '../support/onnxFiles.js';

const operators = async (name: string): Promise<Record<string, number>> => {
  const { graph } = await readOnnx(vector(name));
  const counts: Record<string, number> = {};
  for (const { op } of graph.nodes) counts[op] = (counts[op] ?? 0) + 1;
  return counts;
};

describe('the network read from a file computes what ONNX Runtime computes of the file', () => {
  it.each([
    ['resnet18.onnx', {}],
    ['resnet18-dynamo.onnx', {}],
    ['resnet50-dynamo.onnx', {}],
    ['vgg16_bn-dynamo.onnx', {}],
    ['mobilenet-dynamo.onnx', {}],
    ['mixed.onnx', { softmax: true }],
    ['keras.onnx', { softmax: true }],
    ['qcfs-dynamo.onnx', {}],
    ['qcfs-early.onnx', {}],
    ['lsq.onnx', {}],
    ['lsq-per-channel-dynamo.onnx', {}],
    ['qdq.onnx', {}],
    ['external.onnx', {}],
  ])('%s', async (name, options) => {
    const { worst, spread } = await compareWithFile(vector(name), await readOnnx(vector(name)), options);
    expect(spread).toBeGreaterThan(5e-4);
    expect(worst).toBeLessThan(1e-5);
  });

  it('half.onnx, but for the float16 that the file computes in', async () => {
    const { worst, spread } = await compareWithFile(vector('half.onnx'), await readOnnx(vector('half.onnx')), { half: true });
    expect(spread).toBeGreaterThan(0.05);
    expect(worst).toBeLessThan(2e-3);
  });
});

describe('what becomes of a file', () => {
  it('both exporters of PyTorch give the same network', async () => {
    expect(await operators('resnet18.onnx')).toEqual(await operators('resnet18-dynamo.onnx'));
    expect(await operators('resnet18.onnx')).toEqual({ conv2d: 20, activation: 17, maxPool: 1, add: 8, globalAvgPool: 1, flatten: 1, linear: 1 });
  });

  it('channels last, and what the file does to its pixels, leave no node', async () => {
    const network = await readOnnx(vector('keras.onnx'), { normalization: { mean: [0, 0, 0], std: [1, 1, 1] } });
    expect(network.graph.input.shape).toEqual([3, 20, 20]);
    expect(await operators('keras.onnx')).toEqual({ conv2d: 3, batchNorm: 1, activation: 4, maxPool: 1, flatten: 1, linear: 2 });
    // 2 x - 1 = (x - 0.5) / 0.5.
    expect(network.normalization).toEqual({ mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] });
    expect(network.graph.nodes.find(({ op }) => op === 'activation')).toMatchObject({ activation: { kind: 'relu', cap: 6 } });
  });

  it.each([
    ['qcfs-dynamo.onnx', { kind: 'qcfs', levels: 4, initialThreshold: 1.5 }, 'threshold', 1.5],
    ['qcfs-early.onnx', { kind: 'qcfs', levels: 8, initialThreshold: 1.5 }, 'threshold', 1.5],
    ['lsq.onnx', { kind: 'lsq', levels: 3, initialScale: Math.fround(0.4) }, 'scale', Math.fround(0.4)],
  ])('the quantiser of %s is one activation with its threshold', async (name, activation, parameter, value) => {
    const { graph, parameters } = await readOnnx(vector(name));
    const activations = graph.nodes.filter(({ op }) => op === 'activation');
    expect(activations).toHaveLength(2);
    for (const node of activations) {
      expect(node).toMatchObject({ activation });
      expect(parameters.get(`${node.name}.${parameter}`)!.data[0]).toBeCloseTo(value, 6);
    }
    expect(graph.nodes.filter(({ op }) => op === 'batchNorm')).toEqual([]);
  });

  it('quantisation by ONNX Runtime becomes 255 levels, once where the same grid is applied twice', async () => {
    const { graph } = await readOnnx(vector('qdq.onnx'));
    const activations = graph.nodes.filter(({ op }) => op === 'activation');
    expect(activations).toHaveLength(4);
    for (const node of activations) expect(node).toMatchObject({ activation: { kind: 'lsq', levels: 255 } });
  });

  it('names where it comes from and what was left out', async () => {
    const { graph, provenance, classes, normalization } = await readOnnx(vector('mixed.onnx'), { classes: [...'abcdefghij'] });
    expect(graph.name).toBe('mixed');
    expect(provenance).toEqual({
      imported: {
        file: 'mixed.onnx',
        producer: expect.stringMatching(/^pytorch 2/) as string,
        opset: expect.any(Number) as number,
        notes: [expect.stringMatching(/^Softmax ".*" at the end is left out/)],
      },
    });
    expect(classes).toEqual([...'abcdefghij']);
    expect(normalization).toEqual({ mean: [0, 0, 0], std: [1, 1, 1] });
  });
});
