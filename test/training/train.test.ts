import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
// The built package: a worker thread loads JavaScript.
import { readCheckpoint, train, writeNetwork, type TrainOptions } from '../../dist/index.js';
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
    const { epochs } = await train(options({ initialFrom: join(out, 'run', 'epoch-2'), network: undefined, out: join(out, 'further'), epochs: 1 }));
    expect(epochs).toHaveLength(1);
    await expect(train(options({ ...kept, out: join(out, 'run', 'epoch-2'), resume: true }))).rejects.toMatchObject({ code: 'INVALID_FILE' });
    await expect(train(options({ keepEvery: -1, out: join(out, 'other') }))).rejects.toThrow(/whole number >= 0 for keepEvery/);
  });

  test('noise that no activation of the network takes is refused, whether it is built or begun with', async () => {
    const relu = tinyNetwork({ kind: 'relu' });
    const message = expect.stringMatching(/needs qcfs activations, and tiny has none: train it without noise/) as string;
    await expect(train(options({ network: relu, noise: 'nq' }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message });
    await train(options({ network: relu }));
    const further = options({ network: undefined, initialFrom: join(out, 'run'), out: join(out, 'further') });
    await expect(train({ ...further, noise: 'nq' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message });
    expect(await readdir(out)).not.toContain('further');
  });

  test('a run is resumed with the network that it began with alone', async () => {
    for (const [name, learningRate] of [['base0', 0.01], ['base1', 0.02]] as const) await train(options({ out: join(out, name), validation: 10, learningRate }));
    const further = (name: string, more: Partial<TrainOptions> = {}) => options({ network: undefined, initialFrom: join(out, name), validation: 10, ...more });
    await train(further('base0'));
    const resumed = await train(further('base0', { resume: true, epochs: 3 }));
    expect(resumed.epochs.map(({ epoch }) => epoch)).toEqual([3]);
    const refuses = (given: TrainOptions, message: RegExp) => expect(train({ ...given, resume: true })).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH', message: expect.stringMatching(message) as string });
    await refuses(further('base1'), /began with a trained network, not this one: resume with the same network/);
    await refuses(options({ validation: 10 }), /began with a trained network, not fresh parameters/);
    await refuses(further('base1', { out: join(out, 'base0') }), /began with fresh parameters, not a trained network/);
  });

  test('what was trained with images held out can go on with all of them, but not back', async () => {
    await train(options({ validation: 10 }));
    const all = { network: undefined, initialFrom: join(out, 'run'), teacher: join(out, 'run'), validation: 0, seed: 1, out: join(out, 'all') };
    const { epochs } = await train(options(all));
    expect(epochs.at(-1)!.validationAccuracy).toBeUndefined();
    const overTime = await train(options({ ...all, timeSteps: 2, out: join(out, 'over-time') }));
    expect(overTime.epochs.at(-1)!.spiking).toBeUndefined();
    await expect(train(options({ ...all, initialFrom: join(out, 'all'), teacher: undefined, validation: 10, out: join(out, 'back') }))).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
      message: expect.stringMatching(/was trained on every image \(validation 0\), so none can be held out of it now: give validation 0/) as string,
    });
    await expect(train(options({ validation: 0, noise: 'nq', out: join(out, 'nq') }))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/measured on images held out: give validation, or noiseSigma/) as string,
    });
  });

  test('a network that was trained elsewhere can be trained further, with any seed', async () => {
    const { network } = await train(options());
    const elsewhere = join(out, 'elsewhere');
    await writeNetwork(elsewhere, { ...network, provenance: { importedFrom: 'file.onnx' } });
    const { epochs } = await train(options({ network: undefined, initialFrom: elsewhere, seed: 7, out: join(out, 'further') }));
    expect(epochs.at(-1)!.validationAccuracy).toBeGreaterThan(0.5);
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
