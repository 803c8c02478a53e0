import { describe, expect, it } from 'vitest';
import { evaluateEarlyExit } from '../src/evaluate/earlyExit.js';
import { evaluate } from '../src/evaluate/evaluate.js';
import { binding, isas } from '../src/native.js';
import { Random } from '../src/random.js';
import { largestTimeSteps } from '../src/snn/bounds.js';
import { confidenceMeasures, doublingChunks, type ConfidenceMeasure, type EarlyExitRule } from '../src/snn/earlyExit.js';
import { readoutOf, type SpikingModel } from '../src/snn/model.js';
import { simulate } from '../src/snn/reference.js';
import type { RunResult } from '../src/snn/run.js';
import { SpikingSession } from '../src/snn/session.js';
import { layerForms, layerModel } from './support/layerModel.js';
import { randomImages, randomSpikingModel } from './support/spikingModels.js';
import { randomSplit, smallNetwork } from './support/evaluateFixture.js';

const supported = binding().supportedIsas();

/** Of image n after step t, from the definition; none before the read-out has started. */
function confidence({ potentials, count, classes }: RunResult, model: SpikingModel, n: number, t: number, measure: ConfidenceMeasure): number {
  const start = ((t - 1) * count + n) * classes;
  const { unit: [unit], start: begin = 0 } = readoutOf(model);
  if (t <= begin) return -Infinity;
  const sorted = [...potentials.subarray(start, start + classes)].sort((a, b) => b - a);
  const behind = sorted.map((potential) => ((potential - sorted[0]!) * unit!) / (t - begin));
  return measure === 'margin' ? -behind[1]! : 1 / behind.reduce((sum, logit) => sum + Math.exp(logit), 0);
}

/** What early exit must give, from a full run. */
function expectedExit(full: RunResult, model: SpikingModel, { measure = 'margin', threshold, chunks = doublingChunks(full.timeSteps) }: EarlyExitRule) {
  const { count, classes } = full;
  const steps = new Int32Array(count);
  const potentials = new Int32Array(count * classes);
  for (let n = 0; n < count; n++) {
    let t = 0;
    for (const chunk of chunks) {
      t += chunk;
      if (confidence(full, model, n, t, measure) >= threshold) break;
    }
    steps[n] = t;
    const start = ((t - 1) * count + n) * classes;
    potentials.set(full.potentials.subarray(start, start + classes), n * classes);
  }
  return { count, classes, steps, potentials };
}

/** A threshold that some images pass early and some do not, and that none just meets: between those after half of the steps. */
function middle(full: RunResult, model: SpikingModel, measure: ConfidenceMeasure): number {
  const half = Math.max(Math.ceil(full.timeSteps / 2), 1 + (readoutOf(model).start ?? 0));
  const all = Array.from({ length: full.count }, (_, n) => confidence(full, model, n, half, measure));
  const sorted = [...new Set(all)].sort((a, b) => a - b);
  if (sorted.length === 1) return 0.9 * sorted[0]!;
  const above = Math.floor(sorted.length / 2);
  return (sorted[above - 1]! + sorted[above]!) / 2;
}

describe.each(isas)('early exit on %s', (isa) => {
  const each = it.skipIf(!supported.includes(isa));

  each.each([1, 2])('random models, %i threads', async (threads) => {
    const seen = new Set<number>();
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Random(seed);
      const model = randomSpikingModel(random);
      const timeSteps = Math.min(largestTimeSteps(model), 5 + random.integer(6));
      const images = randomImages(random, model, 5);
      const full = simulate(model, images, 5, { timeSteps });
      await using session = await SpikingSession.create(model, { isa, threads });
      for (const measure of confidenceMeasures) {
        const threshold = middle(full, model, measure);
        for (const chunks of [undefined, [timeSteps], new Array<number>(timeSteps).fill(1), [2, timeSteps - 2]]) {
          const rule = { measure, threshold, ...(chunks && { chunks }) };
          const result = await session.runEarlyExit(images, { timeSteps, ...rule });
          expect(result).toEqual(expectedExit(full, model, rule));
          result.steps.forEach((steps) => seen.add(steps));
        }
      }
    }
    expect(seen.size).toBeGreaterThan(5);
  });

  each('a batch of more images than go together', async () => {
    const random = new Random(7);
    const model = layerModel(random, layerForms['residual connection']!, { channels: 35, weights: 'int8', classes: 10 });
    const images = randomImages(random, model, 70);
    const full = simulate(model, images, 70, { timeSteps: 8 });
    const threshold = middle(full, model, 'margin');
    await using session = await SpikingSession.create(model, { isa, threads: 2 });
    const result = await session.runEarlyExit(images, { timeSteps: 8, threshold });
    expect(result).toEqual(expectedExit(full, model, { threshold }));
    expect(result.steps.some((steps) => steps < 8) && result.steps.some((steps) => steps === 8)).toBe(true);
  });
});

describe('runEarlyExit', () => {
  const random = new Random(9);
  const model = layerModel(random, layerForms['residual connection']!, { channels: 5, weights: 'int8' });
  const images = randomImages(random, model, 3);

  it('lets all leave at once at threshold 0, and none where none is sure enough', async () => {
    await using session = await SpikingSession.create(model, { threads: 1 });
    const full = await session.run(images, { timeSteps: 8 });
    const at = (t: number) => full.potentials.subarray((t - 1) * full.count * full.classes, t * full.count * full.classes);
    for (const measure of confidenceMeasures) {
      const first = await session.runEarlyExit(images, { timeSteps: 8, measure, threshold: 0 });
      expect(first).toEqual({ count: 3, classes: full.classes, steps: Int32Array.of(1, 1, 1), potentials: at(1) });
    }
    const last = await session.runEarlyExit(images, { timeSteps: 8, threshold: 1e300 });
    expect(last).toEqual({ count: 3, classes: full.classes, steps: Int32Array.of(8, 8, 8), potentials: at(8) });
    expect(await session.runEarlyExit(new Float32Array(0), { timeSteps: 8, threshold: 1 })).toMatchObject({ count: 0 });
  });

  it('doubles its chunks', () => {
    expect([1, 2, 3, 8, 10].map(doublingChunks)).toEqual([[1], [1, 1], [1, 1, 1], [1, 1, 2, 4], [1, 1, 2, 4, 2]]);
  });

  it.each([
    [{ threshold: -1 }, 'Expected finite number >= 0, a difference of logits, for threshold but received -1'],
    [{ threshold: NaN }, 'Expected finite number >= 0'],
    [{ threshold: Infinity }, 'Expected finite number >= 0'],
    [{ threshold: 1.01, measure: 'softmax' as const }, 'Expected number from 0 to 1, a probability, for threshold but received 1.01'],
    [{ threshold: 1, measure: 'entropy' as 'margin' }, 'Unknown confidence measure "entropy". Should be one of: margin, softmax.'],
    [{ threshold: 1, chunks: [1, 0, 3] }, 'Expected a list of positive whole numbers for chunks'],
    [{ threshold: 1, chunks: 4 as unknown as number[] }, 'Expected a list of positive whole numbers for chunks but received 4'],
    [{ threshold: 1, chunks: [1, 2] }, 'The chunks [1, 2] are 3 time steps but timeSteps is 4: make them add up to it.'],
    [{ threshold: 1, timeSteps: 1025 }, `Expected whole number from 1 to ${largestTimeSteps(model)}, the most this model can run for timeSteps`],
  ])('refuses %o', async (change, message) => {
    await using session = await SpikingSession.create(model, { threads: 1 });
    await expect(session.runEarlyExit(images, { timeSteps: 4, ...change })).rejects.toMatchObject({
      name: 'NoisefloorError',
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message) as string,
    });
  });

  it('names the image of a pixel that is not a number, and begins nothing once aborted', async () => {
    await using session = await SpikingSession.create(model, { threads: 1 });
    const spoiled = images.slice();
    spoiled[spoiled.length - 1] = NaN;
    const options = { timeSteps: 4, threshold: 1 };
    await expect(session.runEarlyExit(spoiled, options)).rejects.toMatchObject({ code: 'INVALID_DATA', message: expect.stringMatching(/^Image 2 has a pixel/) as string });
    await expect(session.runEarlyExit(images, { ...options, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('can be aborted in the middle', async () => {
    const wide = layerModel(new Random(1), layerForms['residual connection']!, { channels: 600, weights: 'int8' });
    await using session = await SpikingSession.create(wide, { threads: 1, isa: 'scalar' });
    const controller = new AbortController();
    const many = randomImages(new Random(2), wide, 64);
    const running = session.runEarlyExit(many, { timeSteps: 16, threshold: 1e300, signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('evaluateEarlyExit', () => {
  const { model } = smallNetwork();
  const split = randomSplit(20, 4, 3);

  it('gives accuracy and mean steps of each threshold', async () => {
    await using session = await SpikingSession.create(model, { threads: 1 });
    const { timeSteps, chunks, curve, full, images } = await evaluateEarlyExit(session, split, { timeSteps: 8, thresholds: [1e6, 0.3, 0], batchSize: 7 });
    const plain = await evaluate(session, split, { timeSteps: [1, 8] });
    expect({ timeSteps, chunks, images }).toEqual({ timeSteps: 8, chunks: [1, 1, 2, 4], images: 20 });
    expect([full.top1, full.top5]).toEqual([plain.top1[1], plain.top5[1]]);
    expect(curve[0]).toMatchObject({ threshold: 1e6, top1: plain.top1[1], meanSteps: 8, exits: [0, 0, 0, 20] });
    expect(curve[2]).toMatchObject({ threshold: 0, top1: plain.top1[0], meanSteps: 1, exits: [20, 0, 0, 0] });
    const [one, two, four, eight] = curve[1]!.exits as [number, number, number, number];
    expect(one + two + four + eight).toBe(20);
    expect(curve[1]!.meanSteps).toBe((one + 2 * two + 4 * four + 8 * eight) / 20);
    expect(curve[1]!.meanSteps).toBeGreaterThan(1);
    expect(curve[1]!.meanSteps).toBeLessThan(8);
    for (const { imagesPerSecond } of curve) expect(imagesPerSecond).toBeGreaterThan(0);
  });

  it('refuses no thresholds', async () => {
    await using session = await SpikingSession.create(model, { threads: 1 });
    await expect(evaluateEarlyExit(session, split, { timeSteps: 8, thresholds: [] })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
