import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Backend } from '../src/serve/backend.js';
import type { ModelSource } from '../src/serve/modelSource.js';
import { spikingSource } from '../src/serve/modelSource.js';
import { readRunParameters } from '../src/serve/protocol/parameters.js';
import { checkSettings, InferenceService } from '../src/serve/service.js';
import { decodeSpikingModel } from '../src/snn/file.js';
import { simulate } from '../src/snn/reference.js';
import { logitsFromPotentials } from '../src/evaluate/logits.js';
import { FakeBackend, settle, smallModelBytes } from './support/serveFixture.js';

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'noisefloor-serve-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

const image = Float32Array.of(0.3, -0.2, 0.9, 1.4);
const run = { timeSteps: 4 };

function expected(bytes: Buffer): number[] {
  const model = decodeSpikingModel(bytes, 'test');
  return [...Float32Array.from(logitsFromPotentials(simulate(model, image, 1, run), model, 4))];
}

async function written(name: string, bytes: Uint8Array = smallModelBytes()): Promise<string> {
  const path = join(folder, name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, bytes);
  return path;
}

it('steps after which a read-out that starts later has said nothing are refused', () => {
  const backend = { kind: 'spiking', smallestTimeSteps: 4, largestTimeSteps: 8 } as const;
  expect(() => checkSettings({ timeSteps: 4 }, backend)).not.toThrow();
  expect(() => checkSettings({ timeSteps: 3 }, backend)).toThrow(/whole number from 4 to 8, what this model can run: its read-out starts after step 3, for time_steps but received 3/);
});

it('a request that names no steps gets as many as the read-out waits for, where that is more than usual', () => {
  const stepsOf = (smallestTimeSteps: number, fields = {}) => {
    const backend = { kind: 'spiking', smallestTimeSteps, largestTimeSteps: 8 } as Backend;
    return readRunParameters(fields, backend, 4).settings.timeSteps;
  };
  expect([1, 4, 5].map((smallest) => stepsOf(smallest))).toEqual([4, 4, 5]);
  expect(() => stepsOf(5, { time_steps: 4 })).toThrow(/whole number from 5 to 8/);
});

describe('models', () => {
  it('answers as the reference does, and swaps in a changed file as the next version', async () => {
    const path = await written('swap.safetensors');
    await using service = await InferenceService.create([spikingSource(path)], { threads: 1 });
    expect([...(await service.infer('swap', image, run)).logits]).toEqual(expected(smallModelBytes()));
    const model = service.model('swap');
    expect(await model.load()).toBe(false);
    await writeFile(path, smallModelBytes(100));
    expect(await model.load()).toBe(true);
    expect(model.versions.map(({ version }) => version)).toEqual(['2']);
    expect([...(await service.infer('swap', image, run)).logits]).toEqual(expected(smallModelBytes(100)));
    await expect(service.infer('swap', image, run, { version: '1' })).rejects.toThrow('The model "swap" has no version "1". Loaded: 2.');
  });

  it('keeps the old version where the file was replaced by garbage, and says so', async () => {
    const path = await written('garbage.safetensors');
    await using service = await InferenceService.create([spikingSource(path)], { threads: 1 });
    const model = service.model('garbage');
    for (const garbage of [Buffer.alloc(0), Buffer.from('not a model'), smallModelBytes().subarray(0, 300)]) {
      await writeFile(path, garbage);
      await expect(model.load()).rejects.toMatchObject({ code: 'INVALID_FILE' });
      expect(model.problem).toContain(path);
    }
    await rm(path);
    await expect(model.load()).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    expect([...(await service.infer('garbage', image, run)).logits]).toEqual(expected(smallModelBytes()));
    await written('garbage.safetensors', smallModelBytes(5));
    expect(await model.load()).toBe(true);
    expect(model.problem).toBeUndefined();
  });

  it('serves every version of a folder, the newest by default', async () => {
    await written('many/1.safetensors');
    await written('many/10/model.safetensors', smallModelBytes(10));
    await written('many/2.safetensors', smallModelBytes(2));
    await written('many/notes.txt');
    await using service = await InferenceService.create([spikingSource(`named=${join(folder, 'many')}`)], { threads: 1 });
    expect(service.model('named').versions.map(({ version }) => version)).toEqual(['1', '2', '10']);
    expect([...(await service.infer('named', image, run)).logits]).toEqual(expected(smallModelBytes(10)));
    expect([...(await service.infer('named', image, run, { version: '2' })).logits]).toEqual(expected(smallModelBytes(2)));
    await rm(join(folder, 'many', '10'), { recursive: true });
    expect(await service.model('named').load()).toBe(true);
    expect(service.model('named').versions.map(({ version }) => version)).toEqual(['1', '2']);
  });

  it('ends requests on the version that they began with, and frees it then', async () => {
    const backends: FakeBackend[] = [];
    const path = await written('held.safetensors');
    const source: ModelSource = {
      name: 'held',
      files: () => Promise.resolve([{ path }]),
      open: () => {
        const backend = new FakeBackend();
        backends.push(backend);
        void settle().then(() => backend.runs[0]!.finish()); // the warm-up
        return Promise.resolve(backend);
      },
    };
    const service = await InferenceService.create([source], { threads: 1 });
    const old = service.infer('held', Float32Array.of(7, 0), run);
    await settle();
    const waiting = service.infer('held', Float32Array.of(8, 0), run);
    await writeFile(path, smallModelBytes(1));
    await service.model('held').load();
    const [before, after] = backends as [FakeBackend, FakeBackend];
    const fresh = service.infer('held', Float32Array.of(9, 0), run);
    expect(before.disposed).toBe(false);
    before.runs[1]!.finish();
    expect((await old).logits[0]).toBe(7);
    // Which of the two comes next is for the share to say; finishing twice is harmless.
    for (let i = 0; i < 2; i++) {
      await settle();
      for (const one of [...before.runs, ...after.runs]) one.finish();
    }
    expect((await waiting).logits[0]).toBe(8);
    expect((await fresh).logits[0]).toBe(9);
    await settle();
    expect([before.runs.length, after.runs.length]).toEqual([3, 2]);
    expect([before.disposed, after.disposed]).toEqual([true, false]);
    await service.close();
    expect(after.disposed).toBe(true);
  });

  it('unloads and loads again', async () => {
    const path = await written('away.safetensors');
    await using service = await InferenceService.create([spikingSource(path)], { threads: 1 });
    await service.model('away').unload();
    await expect(service.infer('away', image, run)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(await service.model('away').load()).toBe(true);
    expect((await service.infer('away', image, run)).count).toBe(1);
  });

  it('refuses what it cannot serve', async () => {
    const path = await written('a.safetensors');
    expect(() => spikingSource('')).toThrow('Expected PATH or NAME=PATH for model');
    expect(() => spikingSource('a b=x')).toThrow('"a b" cannot be the name of a model');
    await expect(InferenceService.create([spikingSource(path), spikingSource(`a=${path}`)])).rejects.toThrow('Two models are named "a"');
    await expect(InferenceService.create([spikingSource(join(folder, 'none'))])).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await mkdir(join(folder, 'empty'));
    await expect(InferenceService.create([spikingSource(join(folder, 'empty'))])).rejects.toThrow('No versions in');
    await using service = await InferenceService.create([spikingSource(path)], { threads: 1 });
    await expect(service.infer('b', image, run)).rejects.toThrow('Unknown model "b". Served: a.');
    await expect(service.infer('a', image, { timeSteps: 1025 })).rejects.toThrow('Expected whole number from 1 to');
  });
});
