import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { normalizeImages } from '../src/data/batches.js';
import { compareLayers } from '../src/evaluate/compare.js';
import { DenseSession, evaluateDense } from '../src/evaluate/dense.js';
import { quantile, timeInTurn } from '../src/evaluate/timing.js';
import { exportOnnx } from '../src/onnx/export.js';
import { readoutOf } from '../src/snn/model.js';
import { normalization, randomSplit, referenceSession, smallNetwork } from './support/evaluateFixture.js';

const shape = [1, 2, 2];

/** The small network written out again, in plain numbers. */
function logitsByHand(pixels: ArrayLike<number>): number[] {
  const features = [0.5, 0.25].flatMap((weight) =>
    Array.from(pixels, (pixel) => Math.floor(Math.min(1, Math.max(0, (weight * pixel) / 255)) * 4 + 0.5) / 4),
  );
  return [0, 1, 2].map((k) => {
    const weights = features.map((_, i) => ((((k * 8 + i) * 7) % 11) - 5) / 8);
    return features.reduce((sum, x, i) => sum + x * weights[i]!, (1 - k) / 8);
  });
}

describe('DenseSession', () => {
  it('gives logits and taps of the network worked out by hand', async () => {
    const { network } = smallNetwork();
    await using session = await DenseSession.create(exportOnnx(network, { taps: ['act'] }));
    const split = randomSplit(5, 4, 3);
    const results = await session.run(normalizeImages(split.images, normalization, shape), shape, ['logits', 'act']);
    const logits = results.get('logits')!;
    for (let n = 0; n < 5; n++) {
      logitsByHand(split.images.subarray(n * 4, n * 4 + 4)).forEach((value, k) => {
        expect(logits[n * 3 + k]).toBeCloseTo(value, 5);
      });
    }
    expect(results.get('act')).toHaveLength(5 * 8);
  });

  it('measures the accuracy of what the network answers', async () => {
    const { network } = smallNetwork();
    await using session = await DenseSession.create(exportOnnx(network), { threads: 2 });
    const split = randomSplit(40, 4, 3);
    const right = Array.from({ length: 40 }, (_, n) => {
      const logits = logitsByHand(split.images.subarray(n * 4, n * 4 + 4));
      return logits.indexOf(Math.max(...logits)) === split.labels[n];
    }).filter(Boolean).length;
    const evaluation = await evaluateDense(session, split, { normalization, shape, batchSize: 16 });
    expect(evaluation).toMatchObject({ images: 40, top1: right / 40, top5: 1, threads: 2, batchSize: 16 });
  });

  it('says what is wrong with a file, a shape or a disposed session', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'noisefloor-dense-'));
    try {
      const path = join(folder, 'broken.onnx');
      await writeFile(path, 'not onnx');
      await expect(DenseSession.create(path)).rejects.toMatchObject({ code: 'INVALID_FILE' });
      await expect(DenseSession.create(join(folder, 'none.onnx'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    } finally {
      await rm(folder, { recursive: true });
    }
    const session = await DenseSession.create(exportOnnx(smallNetwork().network));
    await expect(session.run(new Float32Array(9), [1, 3, 3])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await session.dispose();
    await session.dispose();
    await expect(session.run(new Float32Array(4), shape)).rejects.toMatchObject({ code: 'DISPOSED' });
  });
});

describe('compareLayers', () => {
  it('finds no residual where IF and QCFS agree: constant current, T = L', async () => {
    const { network, model } = smallNetwork();
    const [layer] = await compareLayers(network, referenceSession(model), randomSplit(60, 4, 3), { timeSteps: 4, batchSize: 16 });
    expect(layer).toMatchObject({ name: 'act', residualMean: 0, residualStd: 0, clippedShare: 0 });
    expect(layer!.correlation).toBeCloseTo(1, 9);
  });

  it('finds the quantisation gap where T is not L', async () => {
    const { network, model } = smallNetwork();
    const split = randomSplit(100, 4, 3);
    const [layer] = await compareLayers(network, referenceSession(model), split, { timeSteps: 1, limit: 100 });
    const residuals = [0.5, 0.25].flatMap((weight) =>
      Array.from(split.images, (pixel) => {
        const z = (weight * pixel) / 255;
        return (z >= 0.5 ? 1 : 0) - Math.floor(z * 4 + 0.5) / 4;
      }),
    );
    const mean = residuals.reduce((a, b) => a + b, 0) / residuals.length;
    const variance = residuals.reduce((sum, r) => sum + (r - mean) ** 2, 0) / residuals.length;
    expect(layer!.residualMean).toBeCloseTo(mean, 2);
    expect(layer!.residualStd).toBeCloseTo(Math.sqrt(variance), 2);
  });

  it('refuses a network that the model does not come from', async () => {
    const { network, model } = smallNetwork();
    const other = { ...model, layers: model.layers.map((layer) => ({ ...layer, name: layer.name === 'act' ? 'conv' : layer.name })) };
    const readout = readoutOf(other);
    other.layers[1] = { ...readout, synapses: [{ ...readout.synapses[0]!, source: 'conv' }] };
    await expect(compareLayers(network, referenceSession(other), randomSplit(2, 4, 3), { timeSteps: 1 })).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
      message: expect.stringMatching(/no activation conv/) as string,
    });
    const wider = { ...model, input: { ...model.input, shape: [1, 3, 3] } };
    await expect(compareLayers(network, referenceSession(wider), randomSplit(2, 9, 3), { timeSteps: 1 })).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
      message: expect.stringContaining('takes [1, 2, 2], not [1, 3, 3]') as string,
    });
  });
});

describe('timeInTurn', () => {
  const data = { split: randomSplit(10, 4, 3), normalization, shape };

  it('runs both on the same full batches, turn and turn about, warm-up not counted', async () => {
    const calls: string[] = [];
    const contestant = (name: string) => ({
      name,
      run: (images: Float32Array): Promise<void> => {
        calls.push(`${name}${images.length / 4}:${images[0]}`);
        return Promise.resolve();
      },
    });
    const timings = await timeInTurn([contestant('a'), contestant('b')], data, { batchSize: 4, warmup: 1 });
    const pixel = (n: number): number => Math.fround(data.split.images[n * 4]! / 255);
    const [first, second] = [`4:${pixel(0)}`, `4:${pixel(4)}`];
    expect(calls).toEqual([`b${second}`, `a${second}`, `a${first}`, `b${first}`, `b${second}`, `a${second}`]);
    expect(timings.map(({ name, runs, images }) => [name, runs, images])).toEqual([['a', 2, 8], ['b', 2, 8]]);
  });

  it('measures time, tells it per image and per second', async () => {
    const slow = { name: 'slow', run: (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20)) };
    const [timing] = await timeInTurn([slow], data, { batchSize: 2, runs: 5, warmup: 0 });
    expect(timing!.min).toBeGreaterThan(18);
    expect(timing!.median).toBeGreaterThanOrEqual(timing!.min);
    expect(timing!.p95).toBeGreaterThanOrEqual(timing!.median);
    expect(timing!.millisecondsPerImage).toBeGreaterThan(9);
    expect(timing!.imagesPerSecond).toBeCloseTo(1000 / timing!.millisecondsPerImage, 6);
  });

  it('takes quantiles by the nearest rank', () => {
    const sorted = Array.from({ length: 20 }, (_, i) => i + 1);
    expect([quantile(sorted, 0.5), quantile(sorted, 0.95), quantile([7], 0.95)]).toEqual([10, 19, 7]);
  });
});
