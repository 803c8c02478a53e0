import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportOnnx } from '../src/onnx/export.js';
import { packageVersion } from '../src/report/machine.js';
import { readSpikingModel, writeSpikingModel } from '../src/snn/file.js';
import { readCheckpoint } from '../src/training/checkpoint.js';
import { cli, writeTinyCheckpoint, writeTinyMnist } from './support/cliFixture.js';
import { largestWeight } from './support/spikingModels.js';

let folder: string;
let spec: string;
let model: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-cli-'));
  spec = await writeTinyMnist(join(folder, 'data'));
  await writeTinyCheckpoint(join(folder, 'trained'), spec);
  model = join(folder, 'tiny.safetensors');
  const ran = await cli(['convert', join(folder, 'trained'), '--out', model]);
  expect(ran).toMatchObject({ code: 0 });
  expect(ran.stdout).toContain(`Wrote ${model}: int8`);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Exactly one JSON document on stdout. */
function document(stdout: string): Record<string, unknown> {
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe('usage', () => {
  const commands = ['quickstart', 'train', 'finetune', 'average', 'convert', 'export', 'eval', 'merge', 'worker', 'predict', 'inspect', 'bench', 'models', 'serve'];

  it('lists all commands and prints the version', async () => {
    const help = await cli(['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    for (const command of commands) expect(help.stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    for (const name of ['NOISEFLOOR_ISA', 'NOISEFLOOR_DEBUG', 'NO_COLOR', '130']) expect(help.stdout).toContain(name);
    expect(await cli(['--version'])).toEqual({ code: 0, stdout: `${packageVersion()}\n`, stderr: '' });
  });

  it.each(commands)('prints help of %s with defaults', async (command) => {
    const help = await cli([command, '--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain(`Usage: noisefloor ${command}`);
    expect(help.stdout).toContain('--json');
    const defaults = help.stdout.replace(/\s+/g, ' ').match(/default: (?!false)/g) ?? [];
    expect(defaults.length > 0).toBe(!['inspect', 'export', 'merge', 'models'].includes(command));
  });

  it.each([
    ['nothing', []],
    ['an unknown command', ['evl']],
    ['an unknown option', ['inspect', 'x', '--colour']],
    ['a missing argument', ['eval']],
    ['a missing option', ['eval', 'x']],
    ['an argument too many', ['inspect', 'x', 'y']],
    ['a step count of 0', ['eval', 'x', '--data', 'mnist', '--time-steps', '1,0']],
    ['a step count of 1025', ['eval', 'x', '--data', 'mnist', '--time-steps', '1025']],
    ['a delay that is no number', ['eval', 'x', '--data', 'mnist', '--delay', 'x']],
    ['steps named twice', ['eval', 'x', '--data', 'mnist', '--time-steps', '2,2']],
    ['a limit that is not a number', ['eval', 'x', '--data', 'mnist', '--limit', '1e3']],
    ['a learning rate of 0', ['train', '--network', 'x', '--data', 'y', '--out', 'z', '--learning-rate', '0']],
    ['an unknown augmentation', ['train', '--network', 'x', '--data', 'y', '--out', 'z', '--augment', 'flip,blur']],
    ['an augmentation named twice', ['train', '--network', 'x', '--data', 'y', '--out', 'z', '--augment', 'flip,flip']],
    ['an unknown noise', ['train', '--network', 'x', '--data', 'y', '--out', 'z', '--noise', 'pink']],
    ['an unknown activation', ['train', '--network', 'x', '--data', 'y', '--out', 'z', '--activation', 'elu']],
    ['a noise variant D', ['train', '--network', 'x', '--data', 'y', '--out', 'z', '--noise', 'adaptor', '--noise-variant', 'D']],
    ['weights of 4 bits', ['train', '--network', 'x', '--data', 'y', '--out', 'z', '--weight-bits', '4']],
    ['an option of another noise', ['train', '--network', 'mnist-small', '--data', 'mnist', '--out', 'z', '--noise', 'nq', '--noise-variant', 'A']],
    ['a noise that the activation cannot take', ['train', '--network', 'mnist-small', '--data', 'mnist', '--out', 'z', '--noise', 'nq', '--activation', 'tcl']],
    ['fine-tuning over 33 steps', ['finetune', 'x', '--data', 'y', '--out', 'z', '--time-steps', '33']],
    ['an unknown gradient', ['finetune', 'x', '--data', 'y', '--out', 'z', '--gradient', 'forwards']],
    ['an unknown surrogate', ['finetune', 'x', '--data', 'y', '--out', 'z', '--surrogate', 'step']],
    ['a loss part above 1', ['finetune', 'x', '--data', 'y', '--out', 'z', '--loss-per-step', '2']],
    ['shares that are no numbers', ['average', 'x', 'y', '--shares', '1,b', '--out', 'z']],
    ['no share', ['average', 'x', 'y', '--shares', '0,0', '--out', 'z']],
    ['held-out images in a journal', ['eval', 'x', '--data', 'mnist', '--held-out', '--journal', 'j']],
    ['held-out images of pictures', ['eval', 'x', '--data', 'imagenet:x', '--held-out']],
    ['held-out images from a queue', ['eval', 'x', '--data', 'mnist', '--held-out', '--queue', 'redis://localhost']],
    ['unknown weights', ['convert', 'x', '--out', 'y', '--weights', 'int4']],
    ['a threshold below 0', ['eval', 'x', '--data', 'mnist', '--early-exit', '1,-2']],
    ['a threshold named twice', ['eval', 'x', '--data', 'mnist', '--early-exit', '1,1']],
    ['a threshold that is no probability', ['eval', 'x', '--data', 'mnist', '--early-exit', '2', '--exit-measure', 'softmax']],
    ['an unknown measure', ['eval', 'x', '--data', 'mnist', '--early-exit', '1', '--exit-measure', 'entropy']],
    ['chunks of other steps', ['eval', 'x', '--data', 'mnist', '--early-exit', '1', '--exit-chunks', '1,2']],
    ['chunks without early exit', ['eval', 'x', '--data', 'mnist', '--exit-chunks', '1,1,2,4']],
    ['a report that is no page', ['eval', 'x', '--data', 'mnist', '--report', 'r.pdf']],
  ])('exits with 2 for %s and says how to go on', async (_, argv) => {
    const ran = await cli(argv);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).not.toBe('');
    expect(ran.stderr).not.toMatch(/^ {4}at /m);
  });

  it.each([
    ['no network', [], 'Give a --network to train, or with --initial-from the folder of a trained one.'],
    ['two networks', ['--network', 'mnist-small', '--initial-from', 'x'], 'leave out network'],
    ['another width of a trained network', ['--initial-from', 'x', '--width', '2'], 'leave out width'],
  ])('refuses to train %s', async (_, argv, message) => {
    const ran = await cli(['train', ...argv, '--data', 'mnist', '--out', join(folder, 'refused')]);
    expect(ran).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(message) as string });
  });

  it('exits with 2 for an invalid argument found later, naming what there is', async () => {
    const ran = await cli(['eval', model, '--data', 'imagenet']);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toBe('error: Unknown data set "imagenet". Should be one of: mnist, mnist:DIR, cifar10:DIR, cifar100:DIR, imagenet:DIR. Name the folder: imagenet:DIR.\n');
  });

  it('exits with 1 for a file that is not there, with a stack only on request', async () => {
    const argv = ['inspect', join(folder, 'none.safetensors')];
    const ran = await cli(argv);
    expect(ran).toMatchObject({ code: 1, stdout: '' });
    expect(ran.stderr).toMatch(/^error: No .* at .*none\.safetensors: check the path\.\n$/);
    expect((await cli(argv, { debug: true })).stderr).toMatch(/^ {4}at /m);
  });

  it('puts the error as the one JSON document on stdout with --json', async () => {
    const failed = await cli(['inspect', join(folder, 'none.safetensors'), '--json']);
    expect(failed.code).toBe(1);
    expect(document(failed.stdout)).toMatchObject({ error: { code: 'FILE_NOT_FOUND' } });
    const misused = await cli(['inspect', '--json']);
    expect(misused.code).toBe(2);
    expect(document(misused.stdout)).toMatchObject({ error: { code: 'USAGE' } });
  });

  it('exits with 130 when interrupted', async () => {
    const ran = await cli(['eval', model, '--data', spec], { signal: AbortSignal.abort() });
    expect(ran).toMatchObject({ code: 130, stdout: '' });
    expect(ran.stderr).toMatch(/^error: Interrupted\./);
  });
});

describe('convert', () => {
  it('reports what rounding costs, as JSON', async () => {
    const out = join(folder, 'wide.safetensors');
    const ran = await cli(['convert', join(folder, 'trained'), '--out', out, '--weights', 'int16', '--json']);
    expect(document(ran.stdout)).toMatchObject({ command: 'convert', model: out, weights: 'int16' });
    expect((await readFile(out)).length).toBeGreaterThan((await readFile(model)).length);
    const narrow = await cli(['convert', join(folder, 'trained'), '--out', out, '--weights', 'int7', '--json']);
    expect(document(narrow.stdout)).toMatchObject({ weights: 'int7' });
    expect(largestWeight(await readSpikingModel(out))).toBe(63);
  });
});

describe('average', () => {
  it('writes the mean of trained networks, which converts and is evaluated on the images held out', async () => {
    const [trained, out, averaged] = [join(folder, 'trained'), join(folder, 'average'), join(folder, 'average.safetensors')];
    const ran = await cli(['average', trained, trained, '--shares', '3,1', '--out', out, '--json']);
    expect(document(ran.stdout)).toEqual({ command: 'average', networks: [trained, trained], shares: [3, 1], out });
    expect((await readCheckpoint(out)).parameters).toEqual((await readCheckpoint(trained)).parameters);
    expect(await cli(['convert', out, '--out', averaged])).toMatchObject({ code: 0 });
    const held = await cli(['eval', averaged, '--data', spec, '--held-out', '--time-steps', '2', '--json']);
    expect(document(held.stdout)).toMatchObject({ command: 'eval', heldOut: true, images: 6 });
    const again = await cli(['average', trained, trained, '--out', out]);
    expect(again).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('exists already: give another folder') as string });
    const alone = await cli(['average', trained, '--out', join(folder, 'alone')]);
    expect(alone).toMatchObject({ code: 2, stdout: '' });
    expect(alone.stderr).toContain('two networks or more');
  });
});

describe('convert with calibration', () => {
  it('finds the thresholds of relu on training images, and fails without them', async () => {
    const [trained, out] = [join(folder, 'relu'), join(folder, 'relu.safetensors')];
    await writeTinyCheckpoint(trained, spec, { kind: 'relu' });
    const refused = await cli(['convert', trained, '--out', out]);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('node "act": relu has no threshold. Calibrate it on images first');
    const argv = ['convert', trained, '--out', out, '--calibrate', spec, '--calibration', 'maximum', '--calibration-images', '20', '--compare', '--json'];
    const ran = await cli(argv);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain('Calibrating tiny on 20 training images');
    expect(ran.stderr).toContain('Corrected act, 1 of 1');
    const { comparison } = document(ran.stdout) as { comparison: { layers: { name: string; correlation: number }[] } };
    expect(comparison).toMatchObject({ timeSteps: 16, images: 20, layers: [{ name: 'act' }] });
    expect(comparison.layers[0]!.correlation).toBeGreaterThan(0.99);
    expect((await readSpikingModel(out)).provenance).toMatchObject({ calibration: { method: 'maximum', images: 20 } });
  });

  it('refuses a method without images, and a network that needs none', async () => {
    const blind = await cli(['convert', join(folder, 'trained'), '--out', join(folder, 'x'), '--calibration', 'mse']);
    expect(blind).toMatchObject({ code: 2 });
    expect(blind.stderr).toContain('Calibration needs images: give --calibrate');
    const uncompared = await cli(['convert', join(folder, 'trained'), '--out', join(folder, 'x'), '--compare']);
    expect(uncompared).toMatchObject({ code: 2 });
    expect(uncompared.stderr).toContain('--compare needs images: give --calibrate');
    const other = await cli(['convert', join(folder, 'trained'), '--out', join(folder, 'x'), '--calibrate', spec]);
    expect(other).toMatchObject({ code: 2 });
    expect(other.stderr).toContain('has no relu activation: nothing to calibrate');
  });
});

describe('eval', () => {
  it('prints the JSON document as specified, arrays in the order of the time steps', async () => {
    const argv = ['eval', model, '--data', spec, '--time-steps', '4,1,2', '--batch-size', '7', '--threads', '1', '--json'];
    const { code, stdout } = await cli(argv);
    expect(code).toBe(0);
    const result = document(stdout);
    expect(Object.keys(result)).toEqual([
      'command', 'model', 'data', 'images', 'damaged', 'timeSteps', 'top1', 'top5', 'spikesPerNeuron', 'synapticOperations',
      'imagesPerSecond', 'seconds', 'threads', 'isa',
    ]);
    expect(result).toMatchObject({ command: 'eval', model, data: spec, images: 25, timeSteps: [4, 1, 2], threads: 1 });
    const operations = result['synapticOperations'] as Record<string, number[]>;
    expect(Object.keys(operations)).toEqual(['effectiveACs', 'effectiveMACs', 'dense']);
    expect(operations['dense']).toEqual([784 * 4 + 4 * 1960, 784 * 4 + 1960, 784 * 4 + 2 * 1960]);
    for (const accuracy of result['top1'] as number[]) expect(accuracy * 25).toBeCloseTo(Math.round(accuracy * 25), 9);
    const [four, one] = result['spikesPerNeuron'] as number[];
    expect(four).toBeGreaterThan(one!);
  });

  it('gives the same counts whatever batches and threads', async () => {
    const counts = async (...more: string[]): Promise<unknown> => {
      const { stdout } = await cli(['eval', model, '--data', spec, '--json', ...more]);
      const { top1, top5, spikesPerNeuron, synapticOperations } = document(stdout);
      return { top1, top5, spikesPerNeuron, synapticOperations };
    };
    expect(await counts('--batch-size', '25', '--threads', '2')).toEqual(await counts('--batch-size', '25', '--threads', '1'));
    const limited = document((await cli(['eval', model, '--data', spec, '--json', '--limit', '10'])).stdout);
    expect(limited['images']).toBe(10);
  });

  it('draws the curve of early exit', async () => {
    const argv = ['eval', model, '--data', spec, '--time-steps', '1,4', '--early-exit', '0,0.5,1', '--exit-measure', 'softmax', '--exit-chunks', '1,3'];
    const { code, stdout } = await cli([...argv, '--json']);
    expect(code).toBe(0);
    const { top1, earlyExit } = document(stdout) as { top1: number[]; earlyExit: { curve: { threshold: number; top1: number; meanSteps: number }[] } };
    expect(earlyExit).toMatchObject({ images: 25, timeSteps: 4, measure: 'softmax', chunks: [1, 3], full: { top1: top1[1] } });
    expect(earlyExit.curve.map(({ threshold }) => threshold)).toEqual([0, 0.5, 1]);
    expect(earlyExit.curve[0]).toMatchObject({ top1: top1[0], meanSteps: 1, exits: [25, 0] });
    const readable = await cli(argv);
    expect(readable.stdout).toContain('Early exit by softmax, at most T = 4, in chunks of 1, 3:');
    expect(readable.stdout).toMatch(/all steps .* 4\.00 /);
  });

  it('writes a report with the dense network beside it', async () => {
    const report = join(folder, 'out', 'r.html');
    const argv = ['eval', model, '--data', spec, '--time-steps', '1,8', '--against', join(folder, 'trained'), '--report', report, '--json'];
    const { code, stdout, stderr } = await cli(argv);
    expect(code).toBe(0);
    expect(stderr).toContain(`Wrote ${report}`);
    expect(document(stdout)).toMatchObject({ dense: { images: 25, batchSize: 64 } });
    const json = JSON.parse(await readFile(report.replace('.html', '.json'), 'utf8')) as { comparison: { layers: { name: string; correlation: number }[] }; seed?: number };
    expect(json.comparison.layers.map((layer) => layer.name)).toEqual(['act']);
    expect(json.comparison.layers[0]!.correlation).toBeGreaterThan(0.9);
    expect(await readFile(report, 'utf8')).toContain('ANN against SNN');
  });

  it('refuses a data set that does not fit the model', async () => {
    const cifar = join(folder, 'cifar');
    await mkdir(cifar);
    for (const name of ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch']) {
      await writeFile(join(cifar, `${name}.bin`), new Uint8Array(3073));
    }
    const ran = await cli(['eval', model, '--data', `cifar10:${cifar}`]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toMatch(/tiny takes images of \[1, 28, 28\] but those of cifar10:.* are \[3, 32, 32\]/);
  });
});

describe('predict', () => {
  it('names the best classes of each picture', async () => {
    const path = join(folder, 'picture.png');
    await sharp({ create: { width: 60, height: 40, channels: 3, background: '#808080' } }).png().toFile(path);
    const { code, stdout } = await cli(['predict', model, path, path, '--time-steps', '4', '--top', '3', '--json']);
    expect(code).toBe(0);
    const { predictions } = document(stdout) as unknown as { predictions: { image: string; classes: { class: string; logit: number; probability: number }[] }[] };
    expect(predictions).toHaveLength(2);
    expect(predictions[0]).toEqual(predictions[1]);
    const { classes } = predictions[0]!;
    expect(classes).toHaveLength(3);
    expect(classes[0]!.logit).toBeGreaterThanOrEqual(classes[1]!.logit);
    expect(classes[0]!.probability).toBeLessThanOrEqual(1);
    const readable = await cli(['predict', model, path]);
    expect(readable.stdout.trim().split('\n')).toHaveLength(6);
  });

  it('is told from which step on a model whose layers start later says something, as are bench, eval and inspect', async () => {
    const [path, late] = [join(folder, 'late.png'), join(folder, 'late.safetensors')];
    await sharp({ create: { width: 28, height: 28, channels: 3, background: '#404040' } }).png().toFile(path);
    const read = await readSpikingModel(model);
    await writeSpikingModel(late, { ...read, layers: read.layers.map((layer, i) => ({ ...layer, start: i })) });
    const start = read.layers.length - 1;
    expect((await cli(['predict', late, path, '--time-steps', String(start + 1)])).code).toBe(0);
    for (const argv of [['predict', late, path], ['bench', late]]) {
      const early = await cli([...argv, '--time-steps', String(start)]);
      expect(early).toMatchObject({ code: 2, stdout: '' });
      expect(early.stderr).toContain(`starts after step ${start}: give --time-steps of at least ${start + 1}.`);
    }
    const evaluated = await cli(['eval', late, '--data', spec, '--time-steps', String(start + 2)]);
    expect(evaluated.stdout).toContain(`Layers start one behind the other, the read-out after step ${start}: all steps count`);
    expect((await cli(['inspect', late])).stdout).toMatch(/threshold +│ start/);
    expect((await cli(['inspect', model])).stdout).not.toContain('start');
  });

  it('lets a picture leave early', async () => {
    const path = join(folder, 'early.png');
    await sharp({ create: { width: 28, height: 28, channels: 3, background: '#404040' } }).png().toFile(path);
    const predictions = async (...more: string[]) =>
      (document((await cli(['predict', model, path, '--json', ...more])).stdout) as { predictions: { timeSteps?: number; classes: unknown[] }[] }).predictions[0]!;
    expect(await predictions('--time-steps', '4', '--early-exit', '0')).toMatchObject({ timeSteps: 1, classes: (await predictions('--time-steps', '1')).classes });
    const late = await predictions('--time-steps', '4', '--early-exit', '1e9', '--exit-chunks', '2,2');
    expect(late).toMatchObject({ timeSteps: 4, classes: (await predictions('--time-steps', '4')).classes });
    expect((await cli(['predict', model, path, '--early-exit', '0'])).stdout).toContain('early.png after 1 of 8 time steps');
    expect(await cli(['predict', model, path, '--exit-measure', 'softmax'])).toMatchObject({ code: 2 });
  });

  it('says which picture cannot be read', async () => {
    const ran = await cli(['predict', model, join(folder, 'none.png')]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('none.png');
  });
});

describe('inspect', () => {
  it('tells layers, shapes, parameters, thresholds and bytes', async () => {
    const { code, stdout } = await cli(['inspect', model, '--json']);
    expect(code).toBe(0);
    expect(document(stdout)).toMatchObject({
      command: 'inspect',
      name: 'tiny',
      bytes: (await readFile(model)).length,
      parameters: 64 + 4 + 4 + 1960 + 10,
      denseMacs: 784 * 4 + 1960,
      layers: [
        { name: 'act', shape: [4, 7, 7], neurons: 196, synapses: [{ source: 'input', weights: [4, 1, 4, 4] }] },
        { name: 'fc', kind: 'readout', shape: [10, 1, 1], synapses: [{ source: 'act', weights: [10, 4, 7, 7] }] },
      ],
    });
    const layers = document(stdout)['layers'] as { threshold?: { smallest: number; largest: number } }[];
    expect(layers[0]!.threshold!.smallest).toBeCloseTo(2, 2);
    expect((await cli(['inspect', model])).stdout).toMatch(/act .*\[4, 7, 7\].*\[4, 1, 4, 4\] of input/);
  });
});

describe('bench', () => {
  it('measures both sides at batch 1 and N', async () => {
    const dense = join(folder, 'tiny.onnx');
    await writeFile(dense, exportOnnx(await readCheckpoint(join(folder, 'trained'))));
    const argv = ['bench', model, '--against', dense, '--data', spec, '--batch-size', '8', '--runs', '5', '--threads', '1', '--json'];
    const { code, stdout } = await cli(argv);
    expect(code).toBe(0);
    const { timings } = document(stdout) as unknown as { timings: { name: string; batchSize: number; runs: number; median: number; p95: number }[] };
    expect(timings.map(({ batchSize, runs }) => [batchSize, runs])).toEqual([[1, 5], [1, 5], [8, 5], [8, 5]]);
    expect(timings.map(({ name }) => name.split(',')[0])).toEqual(['spiking', 'dense', 'spiking', 'dense']);
    for (const { median, p95 } of timings) {
      expect(median).toBeGreaterThan(0);
      expect(p95).toBeGreaterThanOrEqual(median);
    }
  });

  it('says so when the images are random', async () => {
    const { code, stdout, stderr } = await cli(['bench', model, '--runs', '2', '--batch-size', '1']);
    expect(code).toBe(0);
    expect(stderr).toContain('Random images');
    expect(stdout.match(/spiking, /g)).toHaveLength(1);
  });
});
