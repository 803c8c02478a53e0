import { describe, expect, test } from 'vitest';
import { channelMeans, tapActivations } from '../src/convert/activations.js';
import { calibrate, type CalibrationOptions } from '../src/convert/calibrate.js';
import { convert } from '../src/convert/convert.js';
import { calibrationDefaults } from '../src/convert/stagger.js';
import { GraphBuilder } from '../src/graph/builder.js';
import type { Activation } from '../src/graph/graph.js';
import type { TrainedNetwork } from '../src/graph/network.js';
import { Random } from '../src/random.js';
import type { SpikingLayer } from '../src/snn/model.js';
import { SpikingSession } from '../src/snn/session.js';
import { elementCount } from '../src/tensor.js';
import { randomNetwork } from './support/trainedNetworks.js';

const relu: Activation = { kind: 'relu' };

/** One relu over a single input times `gain`: its activations are the images. */
function network(gain = 1): TrainedNetwork {
  const b = new GraphBuilder('identity', [1, 1, 1]);
  const x = b.activation(b.conv2d(b.input, 'conv', { outChannels: 1, kernel: 1 }), 'act', relu);
  const graph = b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 2 }));
  const tensor = (shape: number[], ...data: number[]) => ({ shape, data: Float32Array.from(data) });
  return {
    graph,
    parameters: new Map([
      ['conv.weight', tensor([1, 1, 1, 1], gain)],
      ['fc.weight', tensor([2, 1], 1, -1)],
      ['fc.bias', tensor([2], 0, 0.1)],
    ]),
    classes: ['yes', 'no'],
    normalization: { mean: [0], std: [1] },
    provenance: { by: 'test' },
  };
}

/** Five layers of eight channels without batch normalisation, as imported ones are. */
function deepNetwork(): TrainedNetwork {
  const b = new GraphBuilder('deep', [2, 8, 8]);
  let x = b.input;
  for (let i = 1; i <= 5; i++) x = b.activation(b.conv2d(x, `conv${i}`, { outChannels: 8, kernel: 3, padding: 1, bias: true }), `act${i}`, relu);
  const random = randomNetwork(b.build(b.linear(b.flatten(b.globalAvgPool(x, 'pool'), 'flat'), 'fc', { outFeatures: 4 })), 5);
  return { ...random, provenance: {} };
}

/** Mean over all channels of |mean of theta spikes / T - mean activation|, in units of theta. */
async function meanErrors(network: TrainedNetwork, data: { images: Float32Array; count: number }, timeSteps: number): Promise<number> {
  const { model } = convert(network);
  await using session = await SpikingSession.create(model, { threads: 1 });
  const { counts } = await session.run(data.images, { timeSteps, counts: true });
  const spiking = model.layers.filter((layer) => layer.kind === 'spiking');
  const errors: number[] = [];
  await tapActivations(network, data, spiking.map(({ name }) => name), { batchSize: data.count }, (name, values) => {
    const l = spiking.findIndex((layer) => layer.name === name);
    const { shape, threshold, unit } = spiking[l]!;
    const rates: number[] = [];
    channelMeans(counts![l]!, shape[0]!, elementCount(shape), (_, mean) => rates.push(mean / timeSteps));
    channelMeans(values, shape[0]!, elementCount(shape), (c, mean) => errors.push(Math.abs(rates[c]! - mean / (threshold[c]! * unit[c]!))));
  });
  return errors.reduce((a, b) => a + b) / errors.length;
}

/** Root mean square over all neurons of theta spikes / T - activation, in units of theta; T without the steps before the layer starts. */
async function residual(given: TrainedNetwork, data: { images: Float32Array; count: number }, timeSteps: number): Promise<number> {
  const { model } = convert(given);
  await using session = await SpikingSession.create(model, { threads: 1 });
  const split = { images: data.images, labels: new Uint8Array(data.count), count: data.count };
  const { counts } = await session.run(split.images, { timeSteps, counts: true });
  const spiking = model.layers.filter((layer): layer is SpikingLayer => layer.kind === 'spiking');
  let [squares, neurons] = [0, 0];
  await tapActivations(given, data, spiking.map(({ name }) => name), { batchSize: data.count }, (name, values) => {
    const l = spiking.findIndex((layer) => layer.name === name);
    const { shape, threshold, unit, start = 0 } = spiking[l]!;
    const plane = elementCount(shape.slice(1));
    values.forEach((value, i) => {
      const c = Math.floor(i / plane) % shape[0]!;
      squares += (counts![l]![i]! / (timeSteps - start) - value / (threshold[c]! * unit[c]!)) ** 2;
    });
    neurons += values.length;
  });
  return Math.sqrt(squares / neurons);
}

/** 1, 2, ... 1000 hundredths, as many negative values, and one outlier of 40. */
const values = [...Array.from({ length: 1000 }, (_, i) => (i + 1) / 100), ...new Array<number>(1000).fill(-1), 40];
const images = { images: Float32Array.from(values), count: values.length };

async function thresholdOf(options: CalibrationOptions): Promise<number> {
  const calibrated = await calibrate(network(), images, { batchSize: 300, threads: 1, correct: 'none', perChannel: false, ...options });
  expect(calibrated.graph).toEqual(network().graph);
  return calibrated.neurons!.get('act')!.threshold[0]!;
}

/** Channels of the image times 1, 2, 0 and -1, at most `cap`. */
function fourChannels(cap?: number): TrainedNetwork {
  const b = new GraphBuilder('four', [1, 1, 1]);
  const x = b.activation(b.conv2d(b.input, 'conv', { outChannels: 4, kernel: 1 }), 'act', cap === undefined ? relu : { kind: 'relu', cap });
  const graph = b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 2 }));
  const parameters = new Map([
    ['conv.weight', { shape: [4, 1, 1, 1], data: Float32Array.of(1, 2, 0, -1) }],
    ['fc.weight', { shape: [2, 4], data: Float32Array.of(1, 1, 1, 1, -1, -1, -1, -1) }],
    ['fc.bias', { shape: [2], data: new Float32Array(2) }],
  ]);
  return { ...network(), graph, parameters };
}

describe('calibrate', () => {
  test('maximum is the largest activation, over all batches', async () => {
    expect(await thresholdOf({ method: 'maximum' })).toBe(40);
  });

  test('percentile leaves that share of the positive activations below', async () => {
    // Bins of 40 / 4096; 901 of the 1001 positive values are up to 9.01.
    expect(Math.abs((await thresholdOf({ method: 'percentile', percentile: 90 })) - 9.01)).toBeLessThan(0.02);
    expect(await thresholdOf({ method: 'percentile', percentile: 100 })).toBe(40);
  });

  test('mse has the least error of all candidates', async () => {
    const timeSteps = 4;
    const error = (theta: number): number =>
      values.reduce((sum, v) => {
        const a = Math.max(v, 0);
        return sum + (a - (theta * Math.min(timeSteps, Math.floor((a * timeSteps) / theta + 0.5))) / timeSteps) ** 2;
      }, 0);
    const candidates = Array.from({ length: 95 }, (_, i) => 40 * (1 - i / 100));
    const best = candidates.reduce((a, b) => (error(b) < error(a) ? b : a));
    const found = await thresholdOf({ method: 'mse', timeSteps });
    expect(error(found)).toBeLessThan(1.01 * error(best));
    expect(found).toBeLessThan(20);
  });

  test('ltb takes gradient steps on what is clipped', async () => {
    let theta = 0;
    for (let step = 0; step < 1000; step++) theta += (2 * values.reduce((sum, v) => sum + Math.max(0, v - theta), 0)) / values.length;
    expect(theta).toBeGreaterThan(9);
    expect(theta).toBeLessThan(40);
    expect(Math.abs((await thresholdOf({ method: 'ltb' })) - theta)).toBeLessThan(0.03);
  });

  test('finds a threshold for each channel; a silent one without currents gets the middle one', async () => {
    const thresholds = async (given: TrainedNetwork, options: CalibrationOptions = {}): Promise<number[]> => {
      const { neurons } = await calibrate(given, images, { method: 'maximum', correct: 'none', ...options });
      return [...neurons!.get('act')!.threshold];
    };
    expect(await thresholds(fourChannels())).toEqual([40, 80, 40, 1]);
    expect(await thresholds(fourChannels(), { perChannel: false })).toEqual([80, 80, 80, 80]);
    expect(await thresholds(fourChannels(6))).toEqual([6, 6, 6, 1]);
  });

  test('a silent channel gets a threshold as small as its currents, and none less than 1 / 512 of those', async () => {
    const given = fourChannels();
    const weight = Float32Array.of(1, 2, -0.01, 3000);
    const parameters = new Map(given.parameters).set('conv.weight', { shape: [4, 1, 1, 1], data: weight });
    const found = async (largest: number): Promise<number[]> => {
      const positive = { images: Float32Array.of(largest / 2, largest), count: 2 };
      return [...(await calibrate({ ...given, parameters }, positive, { method: 'maximum', correct: 'none' })).neurons!.get('act')!.threshold];
    };
    (await found(0.004)).forEach((theta, c) => expect(theta / Math.abs(weight[c]!)).toBeCloseTo(0.004, 6));
    (await found(0.001)).forEach((theta, c) => expect(theta / Math.abs(weight[c]!)).toBeCloseTo(1 / 512, 6));
  });

  test('a capped relu converts as it is: its cap is the threshold', () => {
    const layer = convert(fourChannels(6)).model.layers[0] as SpikingLayer;
    layer.threshold.forEach((theta, c) => expect(theta * layer.unit[c]!).toBeCloseTo(6, 9));
  });

  test('takes bytes, which the normalisation of the network is for', async () => {
    const given = { ...network(), normalization: { mean: [0.5], std: [0.25] } };
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const floats = Float32Array.from(bytes, (pixel) => (pixel / 255 - 0.5) / 0.25);
    const [a, b] = await Promise.all([bytes, floats].map((data) => calibrate(given, { images: data, count: 256 }, { correct: 'none' })));
    expect(a!.neurons).toEqual(b!.neurons);
  });

  test('light brings the means of every channel near those of the dense network, at other T as well', async () => {
    const deep = deepNetwork();
    const random = new Random(3);
    const data = { images: Float32Array.from({ length: 60 * 2 * 64 }, () => random.normal()), count: 60 };
    const layers: string[] = [];
    const plain = await calibrate(deep, data, { method: 'percentile', percentile: 97, correct: 'none' });
    const light = await calibrate(deep, data, { method: 'percentile', percentile: 97, onLayer: (name, done, total) => layers.push(`${name} ${done}/${total}`) });
    expect(layers).toEqual([1, 2, 3, 4, 5].map((i) => `act${i} ${i}/5`));
    expect(light.provenance).toMatchObject({ calibration: { correct: 'light', correctionImages: 32, timeSteps: 16, percentile: 97 } });
    for (const timeSteps of [16, 64]) {
      const [before, after] = await Promise.all([plain, light].map((network) => meanErrors(network, data, timeSteps)));
      expect(after!).toBeLessThan(0.5 * before!);
    }
  });

  test('layers start one behind the other, and corrections count from there', async () => {
    const deep = deepNetwork();
    const random = new Random(5);
    const data = { images: Float32Array.from({ length: 60 * 2 * 64 }, () => random.normal()), count: 60 };
    const options = { method: 'percentile', percentile: 99, timeSteps: 32, correct: 'none' } as const;
    const staggered = await calibrate(deep, data, { ...options, stagger: 2 });
    const { model } = convert(staggered);
    expect(model.layers.map((layer) => (layer.kind === 'maxPool' ? NaN : (layer.start ?? 0)))).toEqual([0, 2, 4, 6, 8, 10]);
    expect(staggered.provenance).toMatchObject({ calibration: { stagger: 2 } });
    for (const correct of ['light', 'advanced'] as const) {
      const corrected = await calibrate(deep, data, { ...options, correct, stagger: 2, threads: 1 });
      expect(await residual(corrected, data, 32), correct).toBeLessThan(await residual(staggered, data, 32));
    }
  }, 60_000);

  test('a network of many layers has a stagger where it is not told, a deep one more steps too, one with shortcuts around its layers has not', async () => {
    const chain = (layers: number, shortcuts = false) => {
      const b = new GraphBuilder('chain', [1, 2, 2]);
      let x = b.input;
      for (let i = 1; i <= layers; i++) {
        const next = b.activation(b.conv2d(x, `conv${i}`, { outChannels: 1, kernel: 1, bias: true }), `act${i}`, relu);
        x = shortcuts && i > 1 ? b.add(next, x, `add${i}`) : next;
      }
      return b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 2 }));
    };
    expect(calibrationDefaults(chain(8))).toEqual({ timeSteps: 16, stagger: 0 });
    expect(calibrationDefaults(chain(8), { timeSteps: 32 })).toEqual({ timeSteps: 32, stagger: 0 });
    expect(calibrationDefaults(chain(9))).toEqual({ timeSteps: 16, stagger: 0.25 });
    expect(calibrationDefaults(chain(12), { timeSteps: 7 })).toEqual({ timeSteps: 7, stagger: 1 / 12 });
    expect(calibrationDefaults(chain(12), { timeSteps: 3 })).toEqual({ timeSteps: 3, stagger: 0 });
    expect(calibrationDefaults(chain(13))).toEqual({ timeSteps: 64, stagger: 1 });
    expect(calibrationDefaults(chain(13), { timeSteps: 13 })).toEqual({ timeSteps: 13, stagger: 0.5 });
    expect(calibrationDefaults(chain(12), { stagger: 1 })).toEqual({ timeSteps: 24, stagger: 1 });
    expect(calibrationDefaults(chain(12), { stagger: 9, timeSteps: 20 })).toEqual({ timeSteps: 20, stagger: 9 });
    expect(calibrationDefaults(chain(64))).toEqual({ timeSteps: 64, stagger: 0.5 });
    expect(calibrationDefaults(chain(32, true))).toEqual({ timeSteps: 16, stagger: 4 / 32 });
    const deep = { ...randomNetwork(chain(13), 5), provenance: {} };
    for (const { name } of deep.graph.nodes) if (name.startsWith('conv')) deep.parameters.get(`${name}.weight`)!.data.fill(1);
    const data = { images: Float32Array.from({ length: 80 }, (_, i) => 1 + (i % 7) / 7), count: 20 };
    const { provenance, stagger } = await calibrate(deep, data, { method: 'maximum', correct: 'none' });
    expect([provenance['calibration'], stagger]).toEqual([{ method: 'maximum', perChannel: true, images: 20, timeSteps: 64, stagger: 1, correct: 'none' }, 1]);
    const together = await calibrate(deep, data, { method: 'maximum', correct: 'none', stagger: 0 });
    expect(together).not.toHaveProperty('stagger');
  });

  test('advanced comes nearer to the dense network than light, neuron by neuron, on images that it has not seen', async () => {
    const deep = deepNetwork();
    const random = new Random(4);
    const draw = (count: number) => ({ images: Float32Array.from({ length: count * 2 * 64 }, () => random.normal()), count });
    const [seen, unseen] = [draw(48), draw(40)];
    const options = { method: 'percentile', percentile: 97, timeSteps: 16, correctionImages: 48, threads: 1 } as const;
    const light = await calibrate(deep, seen, options);
    const advanced = await calibrate(deep, seen, { ...options, correct: 'advanced' });
    expect(advanced.provenance).toMatchObject({ calibration: { correct: 'advanced', correctionImages: 48 } });
    expect(advanced.parameters).toBe(deep.parameters);
    expect(await residual(advanced, unseen, 16)).toBeLessThan(await residual(light, unseen, 16));
    expect((await calibrate(deep, seen, { ...options, correct: 'advanced' })).neurons).toEqual(advanced.neurons);
  }, 60_000);

  test('makes a network that converts, and says in the provenance how', async () => {
    expect(() => convert(network())).toThrow(/relu has no threshold\. Calibrate it on images first/);
    const calibrated = await calibrate(network(), images, { correct: 'none' });
    const calibration = { method: 'mse', perChannel: true, images: 2001, timeSteps: 16, correct: 'none' };
    expect(calibrated.provenance).toEqual({ by: 'test', calibration });
    const { model, report } = convert(calibrated);
    expect(report.largestTimeSteps).toBeGreaterThanOrEqual(256);
    const layer = model.layers[0] as SpikingLayer;
    expect(layer.threshold[0]! * layer.unit[0]!).toBeCloseTo(calibrated.neurons!.get('act')!.threshold[0]!, 6);
  });

  test('bias and initial potential of a channel reach the integers', () => {
    const settings = { threshold: Float64Array.of(2), initialPotential: Float64Array.of(-1.5), bias: Float64Array.of(0.25) };
    const layer = convert({ ...network(), neurons: new Map([['act', settings]]) }).model.layers[0] as SpikingLayer;
    const unit = layer.unit[0]!;
    expect([layer.threshold[0]! * unit, layer.initialPotential[0]! * unit]).toEqual([expect.closeTo(2, 4), expect.closeTo(-1.5, 4)]);
    expect(layer.bias[0]! * unit).toBeCloseTo(0.25, 4);
  });

  test.each([
    [{ threshold: Float64Array.of(2, 2) }, /threshold is not 1 finite numbers/],
    [{ threshold: Float64Array.of(0) }, /its threshold 0 is not positive/],
    [{ threshold: Float64Array.of(2), bias: Float64Array.of(NaN) }, /bias is not 1 finite numbers/],
    [{ threshold: Float64Array.of(2), weights: [Float64Array.of(1, 2)] }, /calibrated weights are not 1 finite numbers/],
  ])('settings that do not fit are refused: %o', (settings, message) => {
    expect(() => convert({ ...network(), neurons: new Map([['act', settings]]) })).toThrow(message);
  });

  test.each([
    [{ images: new Float32Array(0), count: 0 }, {}, 'INVALID_ARGUMENT', /for each of 0 images, one or more/],
    [{ images: new Float32Array(3), count: 2 }, {}, 'INVALID_ARGUMENT', /for each of 2 images/],
    [images, { method: 'median' as never }, 'INVALID_ARGUMENT', /Unknown method "median"\. Should be one of: maximum, percentile, mse, ltb/],
    [images, { percentile: 0 }, 'INVALID_ARGUMENT', /percentile/],
    [images, { timeSteps: 1.5 }, 'INVALID_ARGUMENT', /timeSteps/],
    [images, { timeSteps: 1 }, 'INVALID_ARGUMENT', /timeSteps/],
    [images, { correct: 'heavy' as never }, 'INVALID_ARGUMENT', /Unknown correction "heavy"\. Should be one of: light, advanced, none/],
    [images, { correctionImages: 0 }, 'INVALID_ARGUMENT', /correctionImages/],
    [images, { stagger: -1 }, 'INVALID_ARGUMENT', /number >= 0 for stagger/],
    [images, { stagger: NaN }, 'INVALID_ARGUMENT', /number >= 0 for stagger/],
    [images, { stagger: 31, timeSteps: 32 }, 'INVALID_ARGUMENT', /the read-out of .* starts at step 31: give at least 33 time steps for 32, or a smaller stagger/],
  ] as const)('refuses bad images and options, %#', async (given, options, code, message) => {
    await expect(calibrate(network(), given, options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  test('refuses a layer that is silent on all images, and a network without relu', async () => {
    const silent = { images: Float32Array.of(-1, -2), count: 2 };
    await expect(calibrate(network(), silent)).rejects.toMatchObject({ code: 'CONVERSION', message: expect.stringMatching(/node "act": its largest activation on the images is 0/) as string });
    const { graph } = network();
    const nodes = graph.nodes.map((node) => (node.op === 'activation' ? { ...node, activation: { kind: 'tcl', initialThreshold: 1 } as const } : node));
    await expect(calibrate({ ...network(), graph: { ...graph, nodes } }, images)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/has no relu activation/) as string });
  });
});
