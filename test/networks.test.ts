import { describe, expect, it, test } from 'vitest';
import { convert } from '../src/convert/convert.js';
import { buildNetwork, networkNames, type NetworkOptions } from '../src/graph/networks/index.js';
import { initialParameters, parameterSpecs } from '../src/graph/parameters.js';
import { inferShapes } from '../src/graph/shapes.js';
import { loadRuntime, openSession } from '../src/onnx/runtime.js';
import { Random } from '../src/random.js';
import { simulate } from '../src/snn/reference.js';
import { SpikingSession } from '../src/snn/session.js';
import { elementCount } from '../src/tensor.js';
import { trainingModel } from '../src/training/models.js';
import { evaluateSpiking } from './support/graphEvaluation.js';
import { randomNetwork } from './support/trainedNetworks.js';

const activation = { kind: 'qcfs', levels: 4, initialThreshold: 2 } as const;
const cifar: NetworkOptions = { inputShape: [3, 32, 32], classes: 10, activation };
const imagenet: NetworkOptions = { inputShape: [3, 224, 224], classes: 1000, activation };

/** Trained values, as the field counts them: without thresholds, which stand apart. */
function counts(name: string, options: NetworkOptions): { parameters: number; thresholds: number } {
  const sum = (threshold: boolean): number =>
    parameterSpecs(buildNetwork(name, options))
      .filter(({ role }) => role !== 'buffer' && (role === 'threshold') === threshold)
      .reduce((total, { shape }) => total + elementCount(shape), 0);
  return { parameters: sum(false), thresholds: sum(true) };
}

describe('parameters', () => {
  it.each([
    // torchvision's models.
    ['resnet18-imagenet', 11_689_512, 17],
    ['resnet34-imagenet', 21_797_672, 33],
    ['resnet50-imagenet', 25_557_032, 49],
    // torchvision's vgg16_bn.
    ['vgg16', 138_365_992, 15],
    // MobileNet 1.0 of Keras: 4,253,864, of which 21,888 are running statistics.
    ['mobilenet-imagenet', 4_231_976, 27],
  ])('%s has the %i of the published network, and %i thresholds', (name, parameters, thresholds) => {
    expect(counts(name, imagenet)).toEqual({ parameters, thresholds });
  });

  it('the CIFAR stem of a ResNet has 27 weights a channel instead of 147', () => {
    for (const name of ['resnet18', 'resnet34', 'resnet50']) {
      const options = { ...cifar, classes: 1000 };
      expect(counts(`${name}-imagenet`, options).parameters - counts(name, options).parameters).toBe(64 * (147 - 27));
    }
    expect(counts('mobilenet', cifar)).toEqual({ ...counts('mobilenet-imagenet', cifar) });
  });

  it('ResNet-20 has the 0.27 M of He et al., and 2,752 in its projections', () => {
    expect(counts('resnet20', cifar)).toEqual({ parameters: 269_722 + 2_752, thresholds: 19 });
  });

  it('the width multiplies the channels of every hidden layer', () => {
    const shapes = inferShapes(buildNetwork('mobilenet', { ...cifar, width: 0.25 }));
    expect(['stem.conv', 'block1.depthwise.conv', 'block1.pointwise.conv', 'block13.pointwise.conv', 'fc'].map((name) => shapes.get(name)![0])).toEqual([8, 8, 16, 256, 10]);
  });

  it.each([0, -1, Number.NaN])('refuses the width %d', (width) => {
    expect(() => buildNetwork('resnet18', { ...cifar, width })).toThrow(/positive number for width/);
  });

  it('an unknown network lists all', () => {
    expect(() => buildNetwork('resnet19', cifar)).toThrow(`Unknown network "resnet19". Should be one of: ${networkNames.join(', ')}.`);
  });
});

describe('shapes', () => {
  it.each([
    ['resnet18', [512, 4, 4]],
    ['resnet20', [64, 8, 8]],
    ['resnet34', [512, 4, 4]],
    ['resnet50', [2048, 4, 4]],
    ['mobilenet', [1024, 2, 2]],
  ])('%s ends on 32x32 images in maps of %j', (name, last) => {
    const graph = buildNetwork(name, cifar);
    const pool = graph.nodes.find((node) => node.op === 'globalAvgPool')!;
    expect(inferShapes(graph).get(pool.input)).toEqual(last);
  });

  it.each([
    ['resnet18-imagenet', [512, 7, 7]],
    ['resnet20-imagenet', [64, 14, 14]],
    ['resnet34-imagenet', [512, 7, 7]],
    ['resnet50-imagenet', [2048, 7, 7]],
    ['mobilenet-imagenet', [1024, 7, 7]],
  ])('%s ends on 224x224 images in maps of %j', (name, last) => {
    const graph = buildNetwork(name, imagenet);
    const pool = graph.nodes.find((node) => node.op === 'globalAvgPool')!;
    expect(inferShapes(graph).get(pool.input)).toEqual(last);
  });
});

/** Two images of 32x32, the smallest that VGG-16 takes, and few channels. */
const narrow = (name: string): NetworkOptions => ({ ...cifar, inputShape: name === 'mnist-small' ? [1, 28, 28] : [3, 32, 32], width: 1 / 32 });

test.each(networkNames)('a training step of %s gives every parameter a finite gradient that is not 0', async (name) => {
  const graph = buildNetwork(name, narrow(name));
  const random = new Random(2);
  const { Tensor } = await loadRuntime();
  const session = await openSession(trainingModel(graph, { noise: 'none', activityPenalty: 0, labelSmoothing: 0 }), { threads: 1 });
  const count = 4;
  const feeds: Record<string, InstanceType<typeof Tensor>> = {
    input: new Tensor('float32', Float32Array.from({ length: count * elementCount(graph.input.shape) }, () => random.normal()), [count, ...graph.input.shape]),
    labels: new Tensor('int64', BigInt64Array.of(0n, 1n, 2n, 3n), [count]),
  };
  for (const [parameter, { data, shape }] of initialParameters(graph, random)) feeds[parameter] = new Tensor('float32', data, [...shape]);
  const results = await session.run(Object.fromEntries(session.inputNames.map((input) => [input, feeds[input]!])));
  await session.release();
  expect(Number.isFinite((results.loss!.data as Float32Array)[0])).toBe(true);
  for (const { name: parameter, role } of parameterSpecs(graph)) {
    if (role === 'buffer') continue;
    const gradient = results[`${parameter}.grad`]!.data as Float32Array;
    expect(gradient.every((g) => Number.isFinite(g)), parameter).toBe(true);
    // The bias of a convolution before a batch normalisation has no effect; neither has the threshold of a layer without spikes.
    if (role === 'weight' && parameter.endsWith('.weight')) expect(gradient.some((g) => g !== 0), parameter).toBe(true);
  }
});

describe('a depthwise network converts', () => {
  const graph = buildNetwork('mobilenet', { ...cifar, inputShape: [3, 16, 16], width: 1 / 16 });
  const network = randomNetwork(graph, 5);
  const { model, report } = convert(network, { weights: 'int16' });
  const { images, count } = network.samples!;

  it('keeps each depthwise convolution in as many groups as channels', () => {
    const layer = model.layers.find(({ name }) => name === 'block2.depthwise.act')!;
    expect(layer.synapses[0]).toMatchObject({ kind: 'conv2d', groups: 4, kernel: [3, 3], stride: [2, 2] });
    expect(report.layers).toHaveLength(28);
  });

  it('spikes as the graph does, but for rounding', () => {
    const timeSteps = 4;
    const integer = simulate(model, images, count, { timeSteps, counts: true });
    const spiking = model.layers.filter((layer) => layer.kind === 'spiking');
    const size = images.length / count;
    let [spikes, different] = [0, 0];
    for (let n = 0; n < count; n++) {
      const exact = evaluateSpiking(network, images.subarray(n * size, (n + 1) * size), timeSteps);
      spiking.forEach(({ name }, l) => {
        exact.counts.get(name)!.forEach((spikesOfNeuron, i, all) => {
          spikes += spikesOfNeuron;
          different += Math.abs(spikesOfNeuron - integer.counts![l]![n * all.length + i]!);
        });
      });
    }
    expect(spikes).toBeGreaterThan(1000);
    expect(different / spikes).toBeLessThan(0.01);
  });

  it('runs in the engine as in the reference, spike for spike', async () => {
    const session = await SpikingSession.create(model, { threads: 1 });
    const native = await session.run(images, { timeSteps: 4, counts: true });
    const reference = simulate(model, images, count, { timeSteps: 4, counts: true });
    expect(native.counts).toEqual(reference.counts);
    expect(native.potentials).toEqual(reference.potentials);
    await session.dispose();
  });
});
