import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { weightTypes } from '../src/convert/quantize.js';
import { logitsFromPotentials } from '../src/evaluate/logits.js';
import { binding, isas } from '../src/native.js';
import { Random } from '../src/random.js';
import { largestTimeSteps } from '../src/snn/bounds.js';
import { readoutOf, type SpikingModel } from '../src/snn/model.js';
import { simulate, simulateStream } from '../src/snn/reference.js';
import { SpikingSession } from '../src/snn/session.js';
import type { SpikingStream } from '../src/snn/stream.js';
import { layerForms, layerModel } from './support/layerModel.js';
import { randomImages, randomSpikingModel } from './support/spikingModels.js';

const supported = binding().supportedIsas();

function pixelsOf(model: SpikingModel): number {
  return model.input.shape.reduce((product, n) => product * n, 1);
}

function residualModel(channels = 9): SpikingModel {
  return layerModel(new Random(1), layerForms['residual connection']!, { channels, weights: 'int8' });
}

/** Pushes frames in parts, without waiting, and puts the read-outs together. */
async function pushParts(stream: SpikingStream, frames: Float32Array, pixels: number, timeSteps: number, parts: readonly number[]): Promise<number[]> {
  let first = 0;
  const results = parts.map((part) => stream.push(frames.subarray(first * pixels, (first += part) * pixels), { timeSteps }));
  return (await Promise.all(results)).flatMap(({ potentials }) => [...potentials]);
}

/** `total` as a sum of random parts, now and then 0. */
function randomParts(random: Random, total: number): number[] {
  const parts: number[] = [];
  for (let left = total; left > 0; left -= parts.at(-1)!) parts.push(Math.min(left, random.integer(4)));
  return parts;
}

describe('the reference of streams', () => {
  it('is a run where the frame does not change', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const random = new Random(seed);
      const model = randomSpikingModel(random);
      const image = randomImages(random, model, 1);
      const { potentials } = simulate(model, image, 1, { timeSteps: 6 });
      expect(simulateStream(model, image, 6)).toEqual(potentials);
      expect(simulateStream(model, Float32Array.from({ length: 3 * image.length }, (_, i) => image[i % image.length]!), 2)).toEqual(potentials);
    }
  });

  it('changes with the frames', () => {
    const model = residualModel();
    const frames = randomImages(new Random(2), model, 2);
    const first = frames.subarray(0, frames.length / 2);
    expect(simulateStream(model, frames, 3)).not.toEqual(simulateStream(model, first, 6));
  });

  it('refuses what does not fit', () => {
    const model = residualModel();
    expect(() => simulateStream(model, new Float32Array(pixelsOf(model) + 1), 1)).toThrow(/frames.length/);
    expect(() => simulateStream(model, new Float32Array(0), 0)).toThrow(/timeSteps/);
  });
});

describe.each(isas)('streams on %s', (isa) => {
  const each = it.skipIf(!supported.includes(isa));

  each.each([1, 2])('random models, random parts, %i threads', async (threads) => {
    for (let seed = 1; seed <= 25; seed++) {
      const random = new Random(seed);
      const model = randomSpikingModel(random);
      const timeSteps = 1 + random.integer(3);
      const frames = randomImages(random, model, 6);
      const expected = [...simulateStream(model, frames, timeSteps)];
      await using session = await SpikingSession.create(model, { isa, threads });
      for (const parts of [[6], [1, 1, 1, 1, 1, 1], [1, 1, 2, 2], randomParts(random, 6)]) {
        using stream = session.open();
        expect(await pushParts(stream, frames, pixelsOf(model), timeSteps, parts)).toEqual(expected);
      }
    }
  });

  each.each(Object.entries(layerForms))('%s', async (_, forms) => {
    for (const weights of weightTypes) {
      const random = new Random(3);
      const model = layerModel(random, forms, { channels: 35, weights });
      const frames = randomImages(random, model, 5);
      const expected = [...simulateStream(model, frames, 1)];
      await using session = await SpikingSession.create(model, { isa, threads: 2 });
      using stream = session.open();
      expect(await pushParts(stream, frames, pixelsOf(model), 1, [1, 3, 1])).toEqual(expected);
    }
  });

  each('any division of T gives the whole run', async () => {
    const random = new Random(4);
    const model = residualModel();
    expect(largestTimeSteps(model)).toBeGreaterThanOrEqual(150);
    const image = randomImages(random, model, 1);
    await using session = await SpikingSession.create(model, { isa, threads: 2 });
    const whole = [...(await session.run(image, { timeSteps: 150 })).potentials];
    for (const sizes of [[64, 64, 22], [1, 1, 2, 4, 8, 16, 32, 64], [33, 31], [9, 8, 17, 30]]) {
      using stream = session.open();
      const results = await Promise.all(sizes.map((timeSteps) => stream.push(image, { timeSteps })));
      const potentials = results.flatMap((result) => [...result.potentials]);
      expect(potentials).toEqual(whole.slice(0, potentials.length));
    }
  });
});

describe('SpikingStream', () => {
  const model = residualModel(17);
  const pixels = pixelsOf(model);
  const frames = randomImages(new Random(5), model, 8);
  const part = (first: number, end: number) => frames.subarray(first * pixels, end * pixels);

  it('says what a push is', async () => {
    await using session = await SpikingSession.create(model, { threads: 1 });
    using stream = session.open();
    const first = await stream.push(part(0, 2), { timeSteps: 3 });
    expect(first).toMatchObject({ count: 1, timeSteps: 6, classes: model.classes.length, stepsBefore: 0 });
    const empty = await stream.push(part(0, 0));
    expect(empty).toMatchObject({ count: 1, timeSteps: 0, stepsBefore: 6 });
    expect(empty.potentials).toHaveLength(0);
    const second = await stream.push(part(2, 3));
    expect(second).toMatchObject({ timeSteps: 1, stepsBefore: 6 });
    const unit = readoutOf(model).unit[0]!;
    expect([...logitsFromPotentials(second, model, 1)]).toEqual([...second.potentials].map((potential) => (potential * unit) / 7));
  });

  it('copies its frames before push returns', async () => {
    await using session = await SpikingSession.create(model, { threads: 1 });
    using stream = session.open();
    const own = frames.slice();
    const pushed = stream.push(own);
    own.fill(NaN);
    expect((await pushed).potentials).toEqual(simulateStream(model, frames, 1));
  });

  it('keeps several streams, runs and early exit apart', async () => {
    await using session = await SpikingSession.create(model, { threads: 2 });
    const streams = [0, 1, 2].map(() => session.open());
    const pushes = Array.from({ length: 8 }, (_, f) => {
      const steps = streams.map((stream, s) => stream.push(part((f + s) % 8, ((f + s) % 8) + 1), { timeSteps: 2 }));
      return [...steps, session.run(part(f, f + 1), { timeSteps: 3 }), session.runEarlyExit(frames, { timeSteps: 4, threshold: 0.1 })];
    });
    await Promise.all(pushes.flat());
    const last = await Promise.all(pushes.at(-1)!.slice(0, 3));
    last.forEach(({ potentials }, s) => {
      const rotated = new Float32Array([...frames.subarray(s * pixels), ...frames.subarray(0, s * pixels)]);
      expect(potentials).toEqual(simulateStream(model, rotated, 2).slice(-2 * model.classes.length));
    });
    streams.forEach((stream) => stream.close());
  });

  it('starts again after reset, in the order of the calls', async () => {
    await using session = await SpikingSession.create(model, { threads: 2 });
    using stream = session.open();
    const before = stream.push(part(0, 3));
    const done = stream.reset();
    const after = stream.push(part(3, 8));
    expect((await before).potentials).toEqual(simulateStream(model, part(0, 3), 1));
    expect(await done).toBeUndefined();
    expect(await after).toMatchObject({ stepsBefore: 0, potentials: simulateStream(model, part(3, 8), 1) });
  });

  it('starts the read-out alone again', async () => {
    await using session = await SpikingSession.create(model, { threads: 2 });
    using stream = session.open();
    await stream.push(part(0, 3));
    void stream.reset('readout');
    const { potentials, stepsBefore } = await stream.push(part(3, 8));
    expect(stepsBefore).toBe(0);
    const whole = simulateStream(model, frames, 1);
    const classes = model.classes.length;
    expect([...potentials]).toEqual([...whole.subarray(3 * classes)].map((potential, i) => potential - whole[2 * classes + (i % classes)]!));
  });

  it('is as it was after a frame that is not a number', async () => {
    await using session = await SpikingSession.create(model, { threads: 2 });
    using stream = session.open();
    await stream.push(part(0, 3));
    const spoiled = frames.slice(3 * pixels);
    spoiled[2 * pixels] = NaN;
    await expect(stream.push(spoiled)).rejects.toMatchObject({ code: 'INVALID_DATA', message: expect.stringMatching(/^Frame 2 has a pixel that is not a number/) as string });
    expect((await stream.push(part(3, 8))).potentials).toEqual(simulateStream(model, frames, 1).subarray(3 * model.classes.length));
  });

  it('can be aborted, and reset after that', async () => {
    const wide = residualModel(600);
    const many = randomImages(new Random(6), wide, 200);
    await using session = await SpikingSession.create(wide, { threads: 1, isa: 'scalar' });
    using stream = session.open();
    const controller = new AbortController();
    const running = stream.push(many, { signal: controller.signal });
    const queued = stream.push(many.subarray(0, pixelsOf(wide)), { signal: controller.signal });
    const next = stream.push(many.subarray(0, pixelsOf(wide)));
    setTimeout(() => controller.abort(), 50);
    expect(await Promise.allSettled([running, queued, next])).toMatchObject([
      { reason: { code: 'ABORTED', message: 'The run was aborted by its signal.' } },
      { reason: { code: 'ABORTED', message: 'The run was aborted by its signal.' } },
      { reason: { code: 'ABORTED', message: 'An earlier push of this stream ended in the middle: reset the stream.' } },
    ]);
    void stream.reset();
    const one = many.subarray(0, pixelsOf(wide));
    expect((await stream.push(one)).potentials).toEqual(simulateStream(wide, one, 1));
    await expect(stream.push(one, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('refuses bad arguments', async () => {
    await using session = await SpikingSession.create(model, { threads: 1 });
    using stream = session.open();
    const refused = (promise: Promise<unknown>, message: string) =>
      expect(promise).rejects.toMatchObject({ name: 'NoisefloorError', code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) as string });
    await refused(stream.push(new Float32Array(pixels - 1)), `Expected multiple of ${pixels}, frames of [${model.input.shape.join(', ')}] for frames.length`);
    await refused(stream.push([] as unknown as Float32Array), 'Expected Float32Array for frames');
    for (const timeSteps of [0, 65, 1.5]) await refused(stream.push(frames, { timeSteps }), 'Expected whole number from 1 to 64, the steps of a frame, for timeSteps');
    await refused(stream.reset('membranes' as 'all'), 'Unknown part of a stream "membranes". Should be one of: all, readout.');
  });

  it('ends with close, and with its session', async () => {
    const session = await SpikingSession.create(model, { threads: 1 });
    const stream = session.open();
    const pushed = stream.push(part(0, 2));
    stream.close();
    stream.close();
    expect((await pushed).potentials).toEqual(simulateStream(model, part(0, 2), 1));
    await expect(stream.push(part(0, 1))).rejects.toMatchObject({ code: 'DISPOSED', message: 'The stream is closed: open a new one.' });
    await expect(stream.reset()).rejects.toMatchObject({ code: 'DISPOSED' });
    const other = session.open();
    await session.dispose();
    await expect(other.push(part(0, 1))).rejects.toMatchObject({ code: 'DISPOSED', message: 'The session is disposed: create a new one.' });
    await expect(other.reset()).rejects.toMatchObject({ code: 'DISPOSED' });
    expect(() => session.open()).toThrow('The session is disposed');
    other.close();
  });

  it('stops before a potential leaves 32 bits, and no sooner than a run', async () => {
    const narrow: SpikingModel = {
      ...model,
      layers: [...model.layers.slice(0, -1), { ...readoutOf(model), bias: readoutOf(model).bias.map(() => 2 ** 26) }],
    };
    const limit = largestTimeSteps(narrow);
    expect(limit).toBe(31);
    await using session = await SpikingSession.create(narrow, { threads: 1 });
    using stream = session.open();
    const one = part(0, 1);
    await expect(stream.push(one, { timeSteps: 40 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: `Within the next 32 steps the potentials of layer ${narrow.layers.at(-1)!.name} could leave 32 bits: reset the stream, or its read-out alone.`,
    });
    const { potentials } = await stream.push(one, { timeSteps: limit });
    expect(potentials).toEqual(simulate(narrow, one, 1, { timeSteps: limit }).potentials);
    await expect(stream.push(one)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    void stream.reset('readout');
    expect(await stream.push(one, { timeSteps: limit })).toMatchObject({ stepsBefore: 0, timeSteps: limit });
  });

  it('frees closed and forgotten streams', () => {
    const dist = JSON.stringify(new URL('../dist/index.js', import.meta.url).href);
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', `
      const { SpikingSession } = await import(${dist});
      const nine = new Int32Array(64).fill(9);
      const conv = { kind: 'conv2d', stride: [1, 1], padding: [0, 0, 0, 0], groups: 1, shift: 0 };
      const unit = (n) => new Float64Array(n).fill(1);
      const session = await SpikingSession.create({ name: 'm', classes: ['a', 'b'], provenance: {},
        input: { shape: [1, 64, 64], scale: 1, normalization: { mean: [0], std: [1] } },
        layers: [
          { kind: 'spiking', name: 'a', shape: [64, 64, 64], bias: nine, threshold: nine, initialPotential: nine, unit: unit(64),
            synapses: [{ ...conv, source: 'input', kernel: [1, 1], weight: new Int8Array(64), multiplier: nine }] },
          { kind: 'readout', name: 'r', shape: [2, 1, 1], bias: new Int32Array(2), unit: unit(2),
            synapses: [{ ...conv, source: 'a', pool: { kernel: [64, 64], stride: [64, 64] }, kernel: [1, 1], weight: new Int8Array(128), multiplier: new Int32Array(2).fill(1) }] }] }, { threads: 1 });
      const frame = new Float32Array(4096);
      async function once(i) { const stream = session.open(); await stream.push(frame); if (i % 2) stream.close(); }
      async function many(n) {
        for (let i = 0; i < n; i++) { await once(i); if (i % 10 === 0) { gc(); await new Promise((r) => setTimeout(r, 1)); } }
        for (let i = 0; i < 5; i++) { gc(); await new Promise((r) => setTimeout(r, 10)); }
        return process.memoryUsage.rss() / 2 ** 20;
      }
      await many(20); const first = await many(60); console.log((await many(60)) - first);`], { encoding: 'utf8', timeout: 60_000, env: { ...process.env, MALLOC_ARENA_MAX: '1' } });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    // A state is 1 MiB: 60 that are never freed, or the 30 that are not closed, would show.
    expect(Number(stdout)).toBeLessThan(15);
  });
});
