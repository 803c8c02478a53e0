import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
// The built package: a worker thread loads JavaScript.
import { batchPlans, type BatchOptions, type BatchPlan } from '../../dist/training/batches.js';
import { openLoader, resolveLoaderThreads, type BatchLoader } from '../../dist/training/loader.js';
import { splitValidation } from '../../src/data/split.js';
import { tinyDataset } from '../support/tinyDataset.js';

const { spec, shape, normalization, train } = tinyDataset();
const facts = { spec, shape, normalization, augmentation: { cropPadding: 1, flip: true } };
const plan = { seed: 5, batchSize: 16, epochs: 3 };
const options: BatchOptions = { seed: 5, augment: ['standard', 'autoaugment'], cutout: 2, mixup: 0.4, cutmix: 1, mixProbability: 0.8 };
/** 90 images: 6 batches an epoch, the last of 10; from the third batch of the first epoch on. */
const plans = () => batchPlans(train.count, plan, { epoch: 0, step: 2 });
const total = 4 + 6 + 6;

let loader: BatchLoader | undefined;
afterEach(() => loader?.close());

function open(threads: number, from: Iterator<BatchPlan, undefined> = plans()): BatchLoader {
  return (loader = openLoader({ facts, split: train, options }, from, threads));
}

async function takeAll(threads: number, together: number): Promise<unknown[]> {
  const opened = open(threads);
  const all: unknown[] = [];
  for (let left = total; left > 0; left -= together) {
    const batches = await opened.take(Math.min(left, together));
    all.push(...batches.map(({ pixels, labels, mixed }) => [pixels.join(), labels.join(), mixed!.labels.join(), mixed!.weight]));
    opened.recycle(batches);
  }
  await opened.close();
  return all;
}

describe('batch loader', () => {
  test('gives the same batches in the same order for any number of threads, one or several a call', async () => {
    const expected = await takeAll(0, 1);
    expect(expected).toHaveLength(total);
    expect(new Set(expected.map((batch) => JSON.stringify(batch))).size).toBe(total);
    expect(await takeAll(1, 1)).toEqual(expected);
    expect(await takeAll(3, 1)).toEqual(expected);
    expect(await takeAll(2, 5)).toEqual(expected);
  });

  test('the plans go on where a run stopped', () => {
    const whole = [...batchPlans(90, plan, { epoch: 0, step: 0 })];
    expect(whole).toHaveLength(18);
    expect([...plans()]).toEqual(whole.slice(2));
    expect([...batchPlans(90, plan, { epoch: 1, step: 5 })]).toEqual(whole.slice(11));
    expect(whole.slice(0, 6).flatMap(({ indices }) => [...indices]).sort((a, b) => a - b)).toEqual(Array.from({ length: 90 }, (_, i) => i));
  });

  test('makes batches before they are asked for', async () => {
    let drawn = 0;
    function* counted(): Generator<BatchPlan, undefined> {
      for (const next of plans()) {
        drawn++;
        yield next;
      }
      return undefined;
    }
    const opened = open(1, counted());
    expect(drawn).toBe(4);
    await opened.take(1);
    expect(drawn).toBe(5);
    // With several a call, as many are made while they are worked through.
    await opened.take(6);
    expect(drawn).toBe(1 + 6 + 6);
  });

  test('an error in a thread reaches whoever waits, now and later', async () => {
    const bad: BatchPlan[] = [{ epoch: 0, step: 0, indices: Uint32Array.of(1, 90) }, { epoch: 0, step: 1, indices: Uint32Array.of(2) }];
    const opened = open(1, bad.values() as Iterator<BatchPlan, undefined>);
    await expect(opened.take(1)).rejects.toThrow(/0 to 89 for indices\[1\] but received 90/);
    await expect(opened.take(1)).rejects.toThrow(/indices\[1\]/);
  });

  test('closing ends the threads, also in the middle of work, and a later call rejects', async () => {
    const ports = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'MessagePort').length;
    const before = ports();
    const opened = open(2);
    await sleep(20);
    await opened.close();
    await opened.close();
    expect(ports()).toBe(before);
    await expect(opened.take(1)).rejects.toThrow(/closed/);
  });

  test('the images of a training part are shared with the threads, not copied', () => {
    const { train: part, validation } = splitValidation(train, 0.1, 1);
    for (const { images } of [part, validation]) expect(images.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  test('the number of threads has a default and is checked', () => {
    expect(resolveLoaderThreads()).toBeGreaterThanOrEqual(1);
    expect(resolveLoaderThreads()).toBeLessThanOrEqual(8);
    expect(resolveLoaderThreads(0)).toBe(0);
    for (const bad of [-1, 1.5, Number.NaN]) expect(() => resolveLoaderThreads(bad)).toThrow(/whole number >= 0 for loaderThreads/);
  });
});
