import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
// The built package: a worker thread loads JavaScript.
import { readCheckpoint, train, type TrainOptions } from '../../dist/index.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

let out: string;
beforeEach(async () => void (out = await mkdtemp(join(tmpdir(), 'noisefloor-train-'))));
afterEach(() => rm(out, { recursive: true, force: true }));

const options = (more: Partial<TrainOptions> = {}): TrainOptions => ({ network: tinyNetwork(), data: tinyDataset(), out: join(out, 'run'), epochs: 2, batchSize: 16, threads: 1, ...more });

describe('train', () => {
  test('trains in a worker while the event loop turns, and returns the epochs as logged', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const { epochs, network } = await train(options());
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
    expect(epochs.map(({ epoch }) => epoch)).toEqual([1, 2]);
    expect(epochs[0]).not.toHaveProperty('kind');
    expect(network.parameters.get('fc.weight')!.data).toHaveLength(3 * 144);
  });

  test('an error in onProgress rejects, and does not crash', async () => {
    const onProgress = (): void => {
      throw new Error('mine');
    };
    await expect(train(options({ onProgress }))).rejects.toThrow('mine');
  });

  test('refuses a folder that holds a checkpoint, unless it resumes', async () => {
    await train(options());
    await expect(train(options())).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/exists already/) as string });
  });

  test('a finished run that is resumed is left as it is, and returns its network', async () => {
    const ema = 0.5;
    const { network } = await train(options({ ema }));
    const before = await stat(join(out, 'run', 'eval_model.onnx'));
    const { epochs, directory, network: again } = await train(options({ ema, resume: true }));
    expect({ epochs, directory }).toEqual({ epochs: [], directory: join(out, 'run') });
    expect(again.parameters).toEqual(network.parameters);
    expect((await stat(join(out, 'run', 'eval_model.onnx'))).mtimeMs).toBe(before.mtimeMs);
    expect((await train(options({ ema, resume: true, epochs: 3 }))).epochs.map(({ epoch }) => epoch)).toEqual([3]);
  });

  test('a surrogate that nothing would use is refused', async () => {
    await expect(train(options({ surrogate: 'arctan' }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('loader threads change nothing, neither in one go nor stopped in mid-epoch and resumed', async () => {
    const run = (name: string, more: Partial<TrainOptions>) =>
      train(options({ out: join(out, name), epochs: 3, noise: 'nq', augment: ['standard', 'autoaugment'], mixup: 0.3, ...more }));
    const inline = await run('inline', { loaderThreads: 0 });
    const threaded = await run('threaded', { loaderThreads: 2 });
    const losses = ({ epochs }: typeof inline): number[] => epochs.map(({ loss }) => loss);
    expect(losses(threaded)).toEqual(losses(inline));
    expect(threaded.network.parameters).toEqual(inline.network.parameters);

    const stop = new AbortController();
    const onProgress: TrainOptions['onProgress'] = (event) => void (event.kind === 'step' && event.epoch === 2 && event.step === 2 && stop.abort());
    await expect(run('stopped', { loaderThreads: 2, signal: stop.signal, onProgress })).rejects.toMatchObject({ code: 'ABORTED' });
    const resumed = await run('stopped', { loaderThreads: 1, resume: true });
    expect(losses(resumed).at(-1)).toBe(losses(inline).at(-1));
    expect(resumed.network.parameters).toEqual(inline.network.parameters);
  });

  test('keepEvery leaves the network of every second epoch, which a training can begin with', async () => {
    const { network } = await train(options({ schedule: 'constant', out: join(out, 'short') }));
    const kept = { schedule: 'constant', epochs: 5, keepEvery: 2 } as const;
    await train(options(kept));
    expect((await readdir(join(out, 'run'))).filter((name) => name.startsWith('epoch-')).sort()).toEqual(['epoch-2', 'epoch-4']);
    expect((await readCheckpoint(join(out, 'run', 'epoch-2'))).parameters).toEqual(network.parameters);
    await expect(train(options({ ...kept, out: join(out, 'run', 'epoch-2'), resume: true }))).rejects.toMatchObject({ code: 'INVALID_FILE' });
    await expect(train(options({ keepEvery: -1, out: join(out, 'other') }))).rejects.toThrow(/whole number >= 0 for keepEvery/);
  });

  test('a network for other classes is refused, and so is mixed precision where gradients are averaged', async () => {
    const classes = ['top', 'bottom'];
    await expect(train(options({ data: { ...tinyDataset(), classes } }))).rejects.toMatchObject({
      code: 'INVALID_GRAPH',
      message: expect.stringMatching(/gives 3 logits but tiny has 2 classes/) as string,
    });
    await expect(train(options({ device: 'cuda', devices: [0, 1], precision: 'mixed' }))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/averageEvery of at least 2/) as string,
    });
  });

  test('a data set that does not suit an augmentation is refused', async () => {
    await expect(train(options({ augment: ['crop'] }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/crop padding/) as string });
    await expect(train(options({ loaderThreads: -1 }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('a file where the folder should be is an IO error', async () => {
    await writeFile(join(out, 'run'), '');
    await expect(train(options())).rejects.toMatchObject({ code: 'IO' });
  });

  test.each([[undefined], [{}], [{ network: 'resnet20', data: 'mnist' }], [{ out: 'x', data: 'mnist' }]])('refuses %j', async (bad) => {
    await expect(train(bad as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('asking for CUDA without its provider says what to install', async () => {
    await expect(train(options({ device: 'cuda' }))).rejects.toMatchObject({ code: 'MISSING_DEPENDENCY' });
  });
});
