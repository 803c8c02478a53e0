import { afterEach, describe, expect, it, vi } from 'vitest';
import { Batcher } from '../src/serve/batcher.js';
import { EngineShare } from '../src/serve/engineShare.js';
import { checkLimits, type BatchLimits } from '../src/serve/limits.js';
import { FakeBackend, settle } from './support/serveFixture.js';

function batcher(limits: Partial<BatchLimits> = {}, share = new EngineShare()) {
  const backend = new FakeBackend();
  return { backend, batcher: new Batcher(backend, share, checkLimits({ latencyBudget: 1e6, ...limits })) };
}

/** A clock that the test moves. */
function stopClock(): { now: number } {
  const clock = { now: 0 };
  vi.spyOn(performance, 'now').mockImplementation(() => clock.now);
  return clock;
}
afterEach(() => void vi.restoreAllMocks());

const image = (first: number) => Float32Array.of(first, 0);
const steps4 = { timeSteps: 4 };
const code = (promise: Promise<unknown>) => promise.then(() => 'answered', (error: { code: string }) => error.code);

describe('batching', () => {
  it('runs a lone request at once, and together those that came meanwhile', async () => {
    const { backend, batcher: b } = batcher();
    const first = b.submit(image(1), steps4);
    expect(backend.runs.map(({ images }) => [...images])).toEqual([[1, 0]]);
    const second = b.submit(Float32Array.of(2, 0, 3, 0), steps4);
    const third = b.submit(image(4), steps4);
    expect(backend.runs).toHaveLength(1);
    backend.runs[0]!.finish();
    expect([...(await first).logits]).toEqual([1]);
    expect([...backend.runs[1]!.images]).toEqual([2, 0, 3, 0, 4, 0]);
    backend.runs[1]!.finish();
    expect([...(await second).logits]).toEqual([2, 3]);
    expect([...(await third).logits]).toEqual([4]);
  });

  it('puts only requests of equal settings into a batch, oldest first', async () => {
    const { backend, batcher: b } = batcher();
    const rule = { measure: 'margin', threshold: 1, chunks: [1, 3] } as const;
    const settings = [steps4, steps4, { timeSteps: 2 }, steps4, { timeSteps: 4, earlyExit: rule }, { timeSteps: 2 }];
    const answers = settings.map((one, i) => b.submit(image(i), one));
    const ran: number[][] = [];
    for (let i = 0; i < 4; i++) {
      ran.push([...backend.runs[i]!.images].filter((_, k) => k % 2 === 0));
      backend.runs[i]!.finish();
      await settle();
    }
    expect(ran).toEqual([[0], [1, 3], [2, 5], [4]]);
    expect((await Promise.all(answers)).map(({ logits }) => logits[0])).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('holds to the most images of a batch; a larger request runs alone', async () => {
    const { backend, batcher: b } = batcher({ maxBatch: 2 });
    const answers = [1, 2, 3, 4].map((n) => b.submit(image(n), steps4));
    answers.push(b.submit(new Float32Array(6), steps4));
    for (let i = 0; i < 4; i++) {
      backend.runs[i]!.finish();
      await settle();
    }
    await Promise.all(answers);
    expect(backend.runs.map(({ images }) => images.length / 2)).toEqual([1, 2, 1, 3]);
  });

  it('makes batches smaller where images take long', async () => {
    const clock = stopClock();
    const { backend, batcher: b } = batcher({ latencyBudget: 50 });
    const answers = [0, 1, 2, 3, 4].map((n) => b.submit(image(n), steps4));
    clock.now = 25; // One image takes 25 ms: two fit into 50.
    for (let i = 0; i < 3; i++) {
      backend.runs[i]!.finish();
      await settle();
    }
    await Promise.all(answers);
    expect(backend.runs.map(({ images }) => images.length / 2)).toEqual([1, 2, 2]);
  });

  it('refuses what the queue has no room for, and says when to come again', async () => {
    const { backend, batcher: b } = batcher({ queue: 2 });
    const running = b.submit(image(0), steps4);
    const waiting = b.submit(new Float32Array(4), steps4);
    expect(b.waitingImages).toBe(2);
    await expect(b.submit(image(1), steps4)).rejects.toMatchObject({ code: 'OVERLOADED', retryAfter: 1 });
    expect(() => b.submit(new Float32Array(6), steps4)).toThrow('A request may have at most 2 images but this one has 3: divide it.');
    backend.runs[0]!.finish();
    await running;
    backend.runs[1]!.finish();
    await waiting;
    expect(b.waitingImages).toBe(0);
  });

  it('gives up a request whose deadline passes, waiting or computing', async () => {
    const { backend, batcher: b } = batcher();
    const computing = code(b.submit(image(0), steps4, { deadline: 5 }));
    const waiting = code(b.submit(image(1), steps4, { deadline: 5 }));
    expect(await Promise.all([computing, waiting])).toEqual(['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED']);
    expect(b.waitingImages).toBe(0);
    expect(backend.runs).toHaveLength(1);
    expect(backend.runs[0]!.signal.aborted).toBe(true);
  });

  it('cancels a run once nobody waits for it, and not before', async () => {
    const { backend, batcher: b } = batcher();
    const [one, two] = [new AbortController(), new AbortController()];
    const first = b.submit(image(0), steps4);
    const gone = [code(b.submit(image(1), steps4, { signal: one.signal })), code(b.submit(image(2), steps4, { signal: two.signal }))];
    backend.runs[0]!.finish();
    await first;
    one.abort();
    expect(backend.runs[1]!.signal.aborted).toBe(false);
    two.abort();
    expect(backend.runs[1]!.signal.aborted).toBe(true);
    expect(await Promise.all(gone)).toEqual(['ABORTED', 'ABORTED']);
  });

  it('tells each request of a failed batch, and goes on', async () => {
    const { backend, batcher: b } = batcher();
    const failed = b.submit(image(0), steps4);
    const next = b.submit(image(1), steps4);
    backend.runs[0]!.fail(new Error('no memory'));
    await expect(failed).rejects.toThrow('no memory');
    backend.runs[1]!.finish();
    expect((await next).logits[0]).toBe(1);
  });

  it('refuses a NaN before it could spoil a batch', () => {
    const { batcher: b } = batcher();
    expect(() => b.submit(Float32Array.of(0, 0, 1, Number.NaN), steps4)).toThrow('Image 1 has a pixel that is NaN: send numbers.');
    expect(() => b.submit(new Float32Array(3), steps4)).toThrow('Expected positive multiple of 2, images of [1, 1, 2] for images.length');
    expect(() => b.submit(new Float32Array(0), steps4)).toThrow('for images.length but received 0');
  });
});

describe('the share of the engine', () => {
  it('gives a model that comes late its turn before the rest of a busy one', async () => {
    const clock = stopClock();
    const share = new EngineShare();
    const busy = batcher({ maxBatch: 1 }, share);
    const late = batcher({ maxBatch: 1 }, share);
    for (let i = 0; i < 6; i++) void busy.batcher.submit(image(i), steps4);
    clock.now += 5;
    busy.backend.runs[0]!.finish();
    await settle();
    void late.batcher.submit(image(0), steps4);
    void late.batcher.submit(image(1), steps4);
    expect(late.backend.runs).toHaveLength(0);
    clock.now += 5;
    busy.backend.runs[1]!.finish();
    await settle();
    expect([busy.backend.runs.length, late.backend.runs.length]).toEqual([2, 1]);
    clock.now += 40; // The late one has had more than the busy one now.
    late.backend.runs[0]!.finish();
    await settle();
    expect([busy.backend.runs.length, late.backend.runs.length]).toEqual([3, 1]);
  });

  it('refuses wrong limits', () => {
    expect(() => checkLimits({ maxBatch: 0 })).toThrow('Expected whole number >= 1 for maxBatch');
    expect(() => checkLimits({ deadline: -1 })).toThrow('Expected number of milliseconds > 0 for deadline');
  });
});
