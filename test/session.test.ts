import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { candidates, load, type NativeLayer, type NativeModel, binding } from '../src/native.js';
import { Random } from '../src/random.js';
import { checkModel, checkModelInTurns } from '../src/snn/check.js';
import { encodeSpikingModel, writeSpikingModel } from '../src/snn/file.js';
import type { SpikingModel } from '../src/snn/model.js';
import { simulate } from '../src/snn/reference.js';
import { activeIsa, SpikingSession } from '../src/snn/session.js';
import { layerForms, layerModel } from './support/layerModel.js';
import { randomImages } from './support/spikingModels.js';

const addon = candidates(fileURLToPath(new URL('..', import.meta.url)))[0]!;

function makeModel(channels = 5): SpikingModel {
  return layerModel(new Random(1), layerForms['residual connection']!, { channels, weights: 'int8' });
}

function imagesOf(model: SpikingModel, count: number): Float32Array {
  return randomImages(new Random(2), model, count);
}

/** A run long enough to be interrupted: tens of milliseconds an image. */
async function slowRun(count: number, signal?: AbortSignal) {
  const model = makeModel(600);
  const session = await SpikingSession.create(model, { threads: 1, isa: 'scalar' });
  return { session, result: session.run(imagesOf(model, count), { timeSteps: 16, ...(signal && { signal }) }) };
}

/** The rejection of `promise`, which must not fulfil. */
async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('the promise was fulfilled');
}

/** Runs JavaScript in a fresh process; `addon` and `model` are what the engine needs. */
function child(code: string, env: Record<string, string> = {}) {
  const prelude = `const { Session, activeIsa } = require(${JSON.stringify(addon)}); const model = ${nativeModelSource};`;
  return spawnSync(process.execPath, ['-e', prelude + code], { encoding: 'utf8', timeout: 30_000, env: { ...process.env, ...env } });
}

/** Large enough that a run of 512 images takes seconds on one scalar thread. Its text goes to other processes. */
function makeNativeModel(): NativeModel {
  const conv = { kind: 'conv2d', poolKernel: [1, 1], poolStride: [1, 1], stride: [1, 1], padding: [0, 0, 0, 0], groups: 1, shift: 0 } as const;
  const stem = { ...conv, source: -1, kernel: [1, 1], weight: new Int8Array(64).fill(1), multiplier: new Int32Array(64).fill(1) } as const;
  const linear = { ...conv, source: 0, kernel: [32, 32], weight: new Int8Array(655360).fill(1), multiplier: new Int32Array(10).fill(1) } as const;
  const nine = new Int32Array(64).fill(9);
  const neurons = { bias: nine, threshold: nine, initialPotential: new Int32Array(64) };
  return {
    inputShape: [1, 32, 32],
    inputScale: 256,
    layers: [
      { name: 'a', kind: 'spiking', shape: [64, 32, 32], ...neurons, synapses: [stem] },
      { name: 'r', kind: 'readout', shape: [10, 1, 1], bias: new Int32Array(10), synapses: [linear] },
    ],
  };
}

const nativeModelSource = `(${makeNativeModel.toString()})()`;

describe('SpikingSession', () => {
  it('runs a model object, a file and its bytes alike', async () => {
    const model = makeModel();
    const images = imagesOf(model, 3);
    const expected = simulate(model, images, 3, { timeSteps: 6 });
    const folder = await mkdtemp(join(tmpdir(), 'noisefloor-'));
    try {
      const path = join(folder, 'model.safetensors');
      await writeSpikingModel(path, model);
      for (const source of [model, path, Buffer.concat(encodeSpikingModel(model))]) {
        await using session = await SpikingSession.create(source);
        expect(session.threads).toBe(availableParallelism());
        expect(session.isa).toBe(activeIsa());
        expect(session.model.name).toBe(model.name);
        expect(await session.run(images, { timeSteps: 6 })).toEqual(expected);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('names a missing file', async () => {
    await expect(SpikingSession.create('/nowhere/model.safetensors')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  });

  it('copies the images before run returns', async () => {
    const model = makeModel();
    const images = imagesOf(model, 2);
    const expected = simulate(model, images, 2, { timeSteps: 4 });
    await using session = await SpikingSession.create(model, { threads: 2 });
    const running = session.run(images, { timeSteps: 4 });
    images.fill(NaN);
    expect(await running).toEqual(expected);
  });

  it('reads images from shared memory and from the middle of a buffer', async () => {
    const model = makeModel();
    const images = imagesOf(model, 2);
    const expected = simulate(model, images, 2, { timeSteps: 4 });
    const shared = new Float32Array(new SharedArrayBuffer(images.byteLength + 8), 4, images.length);
    shared.set(images);
    const inside = new Float32Array(new ArrayBuffer(images.byteLength + 8), 4, images.length);
    inside.set(images);
    await using session = await SpikingSession.create(model, { threads: 2 });
    for (const source of [shared, inside]) expect(await session.run(source, { timeSteps: 4 })).toEqual(expected);
  });

  it('queues runs and answers each with its own result', async () => {
    const model = makeModel();
    await using session = await SpikingSession.create(model, { threads: 2 });
    const runs = Array.from({ length: 12 }, (_, i) => ({ images: imagesOf(model, i), timeSteps: 1 + i }));
    const results = await Promise.all(runs.map(({ images, timeSteps }) => session.run(images, { timeSteps })));
    results.forEach((result, i) => {
      expect(result.count).toBe(i);
      const { images, timeSteps } = runs[i]!;
      if (i > 0) expect(result).toEqual(simulate(model, images, i, { timeSteps }));
    });
  });

  it('leaves the event loop free', async () => {
    const { session, result } = await slowRun(64);
    let running = true;
    const ended = rejection(result).finally(() => (running = false));
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setTimeout(resolve, 1));
    // A run that blocks would be over before the first of these timers, whatever the load of the machine.
    expect(running).toBe(true);
    await session.dispose();
    expect(await ended).toMatchObject({ code: 'DISPOSED' });
  });

  it('aborts a run in progress, a queued one and one not begun', async () => {
    const controller = new AbortController();
    const { session, result } = await slowRun(64, controller.signal);
    const images = imagesOf(session.model, 1);
    const queued = new AbortController();
    const waiting = session.run(images, { timeSteps: 1, signal: queued.signal });
    queued.abort(new Error('not needed'));
    expect(await rejection(waiting)).toMatchObject({ code: 'ABORTED', cause: new Error('not needed') });
    setTimeout(() => controller.abort(), 20);
    expect(await rejection(result)).toMatchObject({ code: 'ABORTED', name: 'NoisefloorError' });
    const early = session.run(images, { timeSteps: 1, signal: AbortSignal.abort() });
    expect(await rejection(early)).toMatchObject({ code: 'ABORTED' });
    expect(await session.run(images, { timeSteps: 2 })).toEqual(simulate(session.model, images, 1, { timeSteps: 2 }));
    await session.dispose();
  });

  it('runs on the calling thread too, with the same result, between runs in progress, and with the same errors', async () => {
    const model = makeModel();
    const session = await SpikingSession.create(model, { threads: 2 });
    const images = imagesOf(model, 3);
    const options = { timeSteps: 4, statistics: true, counts: true };
    const queued = [session.run(images, options), session.run(images, options)];
    const here = session.runSync(images, options);
    expect(here).toEqual(simulate(model, images, 3, options));
    for (const result of await Promise.all(queued)) expect(result).toEqual(here);
    images[7] = NaN;
    expect(() => session.runSync(images, options)).toThrow(expect.objectContaining({ code: 'INVALID_DATA' }));
    expect(() => session.runSync(images.subarray(1), options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(() => session.runSync(images, { timeSteps: 0 })).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    const disposed = session.dispose();
    expect(() => session.runSync(images, options)).toThrow(expect.objectContaining({ code: 'DISPOSED' }));
    await disposed;
  });

  it('rejects what is not done when it is disposed, and everything after', async () => {
    const { session, result } = await slowRun(64);
    const images = imagesOf(session.model, 1);
    const results = [result, session.run(images, { timeSteps: 1 })].map(rejection);
    const disposing = session.dispose();
    expect(session.dispose()).toBe(disposing);
    await disposing;
    for (const error of await Promise.all(results)) expect(error).toMatchObject({ code: 'DISPOSED' });
    expect(await rejection(session.run(images, { timeSteps: 1 }))).toMatchObject({ code: 'DISPOSED' });
  });

  it.each([
    ['no time steps', { timeSteps: 0 }, 60],
    ['65 time steps', { timeSteps: 65 }, 60],
    ['half a time step', { timeSteps: 1.5 }, 60],
    ['part of an image', { timeSteps: 1 }, 91],
  ])('refuses %s', async (_, options, length) => {
    await using session = await SpikingSession.create(makeModel());
    const error = await rejection(session.run(new Float32Array(length), options));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(error.message).toMatch(/^Expected .* but received /);
  });

  it('names the image with a pixel that is not a number, and where run was called', async () => {
    const model = makeModel();
    const images = imagesOf(model, 40);
    images[90 * 35 + 7] = NaN;
    await using session = await SpikingSession.create(model);
    const error = await rejection(session.run(images, { timeSteps: 2 }));
    expect(error).toMatchObject({ code: 'INVALID_DATA' });
    expect(error.message).toContain('Image 35 ');
    expect(error.stack).toContain('session.test.ts');
  });

  it.runIf(process.platform === 'linux')('gives its threads the niceness that it was asked for, and no others', async () => {
    // A thread of an earlier test may end between the listing and the reading.
    const statOf = (thread: string) => {
      try {
        return [readFileSync(`/proc/self/task/${thread}/stat`, 'utf8')];
      } catch {
        return [];
      }
    };
    const nice = () => readdirSync('/proc/self/task').flatMap(statOf).map((stat) => Number(stat.split(') ').at(-1)!.split(' ')[16]));
    const before = nice().filter((value) => value === 7).length;
    await using session = await SpikingSession.create(makeModel(), { threads: 3, niceness: 7 });
    expect(nice().filter((value) => value === 7)).toHaveLength(before + 3);
    expect((await session.run(imagesOf(session.model, 2), { timeSteps: 2 })).count).toBe(2);
    await expect(SpikingSession.create(makeModel(), { niceness: 20 })).rejects.toThrow('Expected whole number from 0 to 19 for niceness');
    await expect(SpikingSession.create(makeModel(), { niceness: -1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('lets the event loop turn while it checks a model, and finds what the check at once finds', async () => {
    const model = makeModel(600);
    let turns = 0;
    let done = false;
    const count = (): void => {
      turns++;
      if (!done) setImmediate(count);
    };
    setImmediate(count);
    expect(await checkModelInTurns(model)).toBe(checkModel(model));
    done = true;
    expect(turns).toBeGreaterThan(1);
    const broken = { ...model, classes: [] };
    const error = await rejection(checkModelInTurns(broken));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(() => checkModel(broken)).toThrow(error.message);
  });

  it.each([0, -1, 1.5, 5000])('refuses %d threads', async (threads) => {
    await expect(SpikingSession.create(makeModel(), { threads })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('refuses a model that checkModel refuses', async () => {
    const model = makeModel();
    await expect(SpikingSession.create({ ...model, layers: [] })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('refuses an unknown instruction set, by option or environment, and names the choices', async () => {
    const isa = 'sse9' as 'avx2';
    const choices = 'Should be one of: scalar, avx2, avx512, neon.';
    const error = await rejection(SpikingSession.create(makeModel(), { isa }));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(error.message).toContain(choices);
    const { status, stderr } = child('activeIsa()', { NOISEFLOOR_ISA: 'sse9' });
    expect(status).toBe(1);
    expect(stderr).toContain(`Unknown instruction set "sse9" of NOISEFLOOR_ISA. ${choices}`);
    expect(stderr).toContain("code: 'INVALID_ARGUMENT'");
  });

  it('obeys NOISEFLOOR_ISA', () => {
    for (const isa of binding().supportedIsas()) {
      const code = "process.stdout.write(activeIsa() + ' ' + new Session(model, { threads: 1 }).isa)";
      expect(child(code, { NOISEFLOOR_ISA: isa }).stdout).toBe(`${isa} ${isa}`);
    }
  });
});

describe('the process', () => {
  it('ends with sessions that nobody disposed', () => {
    const { status, stdout } = child("const s = new Session(model, { threads: 2 }); s.ready().then(() => console.log('ready'))");
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'ready\n' });
  });

  it('waits for a run in progress', () => {
    const { status, stdout } = child(`const s = new Session(model, { threads: 2 });
      s.run(1, new Float32Array(1024), { timeSteps: 4, statistics: false, counts: false }).then((r) => console.log(r.potentials.length))`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: '40\n' });
  });

  it('exits in the middle of a run', () => {
    const { status, signal } = child(`const s = new Session(model, { threads: 2, isa: 'scalar' });
      s.run(1, new Float32Array(512 * 1024).fill(1), { timeSteps: 64, statistics: false, counts: false });
      setTimeout(() => process.exit(7), 50)`);
    expect({ status, signal }).toEqual({ status: 7, signal: null });
  });

  it('ends a worker in the middle of a run', () => {
    const source = JSON.stringify(`const { Session } = require(${JSON.stringify(addon)}); const model = ${nativeModelSource};
      const s = new Session(model, { threads: 2, isa: 'scalar' });
      for (let id = 0; id < 3; id++) s.run(id, new Float32Array(512 * 1024).fill(1), { timeSteps: 64, statistics: false, counts: false });
      require('node:worker_threads').parentPort.postMessage('running')`);
    const { status, stdout } = child(`const { Worker } = require('node:worker_threads');
      const worker = new Worker(${source}, { eval: true });
      worker.on('message', () => setTimeout(() => worker.terminate().then(() => console.log('terminated')), 50))`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'terminated\n' });
  });

  it('ends workers at any moment, also while a result is handed over', () => {
    const source = JSON.stringify(`const { Session } = require(${JSON.stringify(addon)}); const model = ${nativeModelSource};
      const s = new Session(model, { threads: 1 });
      let id = 0;
      const go = () => s.run(++id, new Float32Array(1024), { timeSteps: 1, statistics: true, counts: true }).then(go, go);
      for (let i = 0; i < 8; i++) go();
      require('node:worker_threads').parentPort.postMessage('running')`);
    const { status, stdout, stderr } = child(`const { Worker } = require('node:worker_threads');
      const one = (delay) => new Promise((resolve) => {
        const worker = new Worker(${source}, { eval: true });
        worker.on('message', () => setTimeout(() => worker.terminate().then(resolve), delay));
      });
      (async () => { for (let i = 0; i < 20; i++) await one(i); console.log('alive'); })()`);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'alive\n', stderr: '' });
  });

  it('uses no processor time while its sessions are idle', () => {
    const { stdout } = child(`(async () => {
      const sessions = await Promise.all([1, 2, 3].map(async () => { const s = new Session(model, { threads: 2 }); await s.ready(); return s; }));
      const options = { timeSteps: 4, statistics: false, counts: false };
      await Promise.all(sessions.map((s) => s.run(1, new Float32Array(1024), options)));
      for (const s of sessions) s.runSync(new Float32Array(1024), options);
      await new Promise((done) => setTimeout(done, 100));
      const before = process.cpuUsage();
      await new Promise((done) => setTimeout(done, 500));
      const { user, system } = process.cpuUsage(before);
      console.log((user + system) / 1000);
    })()`);
    expect(stdout).toMatch(/^\d/);
    expect(Number(stdout)).toBeLessThan(100);
  });

  it('frees what it used: sessions come and go, disposed or forgotten', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '-e', `
      const { Session } = require(${JSON.stringify(addon)}); const model = ${nativeModelSource};
      async function once(i) {
        const s = new Session(model, { threads: 2 });
        await s.run(1, new Float32Array(4096), { timeSteps: 4, statistics: true, counts: true });
        if (i % 2) await s.dispose();
      }
      async function many(n) { for (let i = 0; i < n; i++) { await once(i); if (i % 5 === 0) { gc(); await new Promise(setImmediate); } } gc(); }
      async function settled() {
        await many(100);
        let least = Infinity;
        for (let i = 0; i < 10; i++) { gc(); await new Promise((r) => setTimeout(r, 20)); least = Math.min(least, process.memoryUsage.rss() / 2 ** 20); }
        return least;
      }
      (async () => { await many(120); const rounds = []; for (let k = 0; k < 6; k++) rounds.push(await settled());
        console.log(Math.min(...rounds.slice(3)) - Math.min(...rounds.slice(0, 3))); })()`], { encoding: 'utf8', timeout: 60_000, env: { ...process.env, MALLOC_ARENA_MAX: '1' } });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    // Between the two halves of the rounds one leaked session in ten would be 80 MiB and more; what comes and goes with the garbage
    // collector is not in the lowest round of a half. With one arena, freed memory does not linger in those of ended threads.
    expect(Number(stdout)).toBeLessThan(40);
  });
});

describe('worker threads', () => {
  it('use sessions of their own at once', async () => {
    const source = `const { parentPort } = require('node:worker_threads');
      const { Session } = require(${JSON.stringify(addon)}); const model = ${nativeModelSource};
      (async () => {
        const s = new Session(model, { threads: 2 });
        const images = Float32Array.from({ length: 3072 }, (_, i) => ((i * 37) % 101) / 50 - 1);
        const options = { timeSteps: 8, statistics: false, counts: false };
        const results = await Promise.all([1, 2, 3].map((id) => s.run(id, images, options)));
        await s.dispose();
        parentPort.postMessage(results.map((r) => r.potentials));
      })()`;
    const answers = await Promise.all(
      [1, 2, 3].map(
        () =>
          new Promise<Int32Array[]>((resolve, reject) => {
            const worker = new Worker(source, { eval: true });
            worker.once('message', resolve);
            worker.once('error', reject);
          }),
      ),
    );
    const [first] = answers[0]!;
    expect(first!.some((potential) => potential !== 0)).toBe(true);
    for (const potential of answers.flat()) expect(potential).toEqual(first);
  });
});

describe('the binding', () => {
  const spoilLayer = (change: Partial<Record<keyof NativeLayer, unknown>>): NativeModel => {
    const model = makeNativeModel();
    return { ...model, layers: [{ ...model.layers[0]!, ...(change as object) }, model.layers[1]!] };
  };

  it.each([
    ['no object', undefined, 'Expected object for model'],
    ['no layers', { ...makeNativeModel(), layers: 3 }, 'Expected array for model.layers'],
    ['a shape of two', { ...makeNativeModel(), inputShape: [1, 2] }, 'Expected 3 integers for model.inputShape'],
    ['a fraction', spoilLayer({ shape: [64, 0.5, 32] }), 'Expected 32-bit integer for model.layers[0].shape'],
    ['wrong array', spoilLayer({ bias: new Float32Array(64) }), 'Expected Int32Array for model.layers[0].bias'],
    ['no threshold', spoilLayer({ threshold: undefined }), 'Expected Int32Array for model.layers[0].threshold'],
  ])('refuses a description with %s', (_, model, message) => {
    expect(() => new (binding().Session)(model as NativeModel, { threads: 1 })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message }) as Error,
    );
  });

  it.each([
    ['a short bias', spoilLayer({ bias: new Int32Array(3) })],
    ['a threshold of 0', spoilLayer({ threshold: new Int32Array(64) })],
    ['a huge shape', spoilLayer({ shape: [64, 2 ** 30, 2 ** 30] })],
    ['no synapse', spoilLayer({ synapses: [] })],
  ])('refuses a description with %s when it is laid out', async (_, model) => {
    const error = await rejection(new (binding().Session)(model, { threads: 1 }).ready());
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(error.message).toContain('The spiking model is invalid: layer a');
  });

  it('says what to do when no addon loads', () => {
    expect(() => load(['/nowhere/a.node', fileURLToPath(import.meta.url)])).toThrow(
      /^Could not load the native addon for .*\n {2}\/nowhere\/a\.node: .*\n {2}.*session\.test\.ts: .*\nBuild it .*cmake-js build/,
    );
  });
});
