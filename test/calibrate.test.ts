import { describe, expect, test } from 'vitest';
import { calibrate, type CalibrationOptions } from '../src/convert/calibrate.js';
import { convert } from '../src/convert/convert.js';
import { GraphBuilder } from '../src/graph/builder.js';
import type { Activation } from '../src/graph/graph.js';
import type { TrainedNetwork } from '../src/graph/network.js';

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

/** 1, 2, ... 1000 hundredths, as many negative values, and one outlier of 40. */
const values = [...Array.from({ length: 1000 }, (_, i) => (i + 1) / 100), ...new Array<number>(1000).fill(-1), 40];
const images = { images: Float32Array.from(values), count: values.length };

async function thresholdOf(options: CalibrationOptions): Promise<number> {
  const calibrated = await calibrate(network(), images, { batchSize: 300, threads: 1, ...options });
  expect(calibrated.graph.nodes.find(({ name }) => name === 'act')).toMatchObject({ activation: { kind: 'tcl' } });
  return calibrated.parameters.get('act.threshold')!.data[0]!;
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

  test('makes a network that converts, and says in the provenance how', async () => {
    expect(() => convert(network())).toThrow(/relu has no threshold\. Calibrate it on images first/);
    const calibrated = await calibrate(network(), images);
    expect(calibrated.provenance).toEqual({ by: 'test', calibration: { method: 'mse', images: 2001, timeSteps: 8 } });
    const { model } = convert(calibrated);
    const layer = model.layers[0]!;
    if (layer.kind !== 'spiking') throw new Error('expected neurons');
    expect(layer.threshold[0]! * layer.unit[0]!).toBeCloseTo(calibrated.parameters.get('act.threshold')!.data[0]!, 6);
  });

  test.each([
    [{ images: new Float32Array(0), count: 0 }, {}, 'INVALID_ARGUMENT', /for each of 0 images, one or more/],
    [{ images: new Float32Array(3), count: 2 }, {}, 'INVALID_ARGUMENT', /for each of 2 images/],
    [images, { method: 'median' as never }, 'INVALID_ARGUMENT', /Unknown method "median"\. Should be one of: maximum, percentile, mse/],
    [images, { percentile: 0 }, 'INVALID_ARGUMENT', /percentile/],
    [images, { timeSteps: 1.5 }, 'INVALID_ARGUMENT', /timeSteps/],
  ] as const)('refuses %j %j', async (given, options, code, message) => {
    await expect(calibrate(network(), given, options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  test('refuses a layer that is silent on all images, and a network without relu', async () => {
    const silent = { images: Float32Array.of(-1, -2), count: 2 };
    await expect(calibrate(network(), silent)).rejects.toMatchObject({ code: 'CONVERSION', message: expect.stringMatching(/node "act": its largest activation on the images is 0/) as string });
    const calibrated = await calibrate(network(), images);
    await expect(calibrate(calibrated, images)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/has no relu activation/) as string });
  });
});
