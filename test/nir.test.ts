import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { convert } from '../src/convert/convert.js';
import { DenseSession } from '../src/evaluate/dense.js';
import { GraphBuilder } from '../src/graph/builder.js';
import type { TrainedNetwork } from '../src/graph/network.js';
import { writeHdf5, type Group } from '../src/nir/hdf5.js';
import { readNir } from '../src/nir/read.js';
import { encodeNir } from '../src/nir/write.js';
import { exportOnnx } from '../src/onnx/export.js';
import { Random } from '../src/random.js';
import { readSpikingModel } from '../src/snn/file.js';
import { SpikingSession } from '../src/snn/session.js';
import { cli, writeTinyCheckpoint, writeTinyMnist } from './support/cliFixture.js';
import { constructedNetwork, randomNetwork } from './support/trainedNetworks.js';

let folder: string;
const file = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-'));
});
afterAll(() => rm(folder, { recursive: true }));

const failure = (code: string, message: RegExp): Error => expect.objectContaining({ code, message: expect.stringMatching(message) as string }) as Error;
const vector = (name: string): string => new URL(`vectors/nir/${name}`, import.meta.url).pathname;

interface Peer {
  readonly timeSteps: number;
  readonly images: number[][][][];
  readonly results: Record<string, number[]>[];
}

describe('a file of the Python package nir', () => {
  it('gives the spikes that PyTorch gives of it, but for neurons that stand at their threshold', async () => {
    const { timeSteps, images, results } = JSON.parse(await readFile(vector('peer.json'), 'utf8')) as Peer;
    const { model } = convert(await readNir(vector('peer.nir')), { weights: 'int16' });
    await using session = await SpikingSession.create(model);
    const { counts, potentials } = await session.run(Float32Array.from(images.flat(3)), { timeSteps, counts: true });
    const spiking = model.layers.filter(({ kind }) => kind === 'spiking');
    expect(spiking.map(({ name }) => name)).toEqual(['if1', 'if2', 'if3', 'if4']);
    spiking.forEach(({ name }, i) => {
      const expected = results.flatMap((result) => result[name]!);
      const differences = expected.reduce((sum, count, n) => sum + Math.abs(count - counts![i]![n]!), 0);
      expect(differences / expected.reduce((a, b) => a + b), name).toBeLessThan(0.01);
    });
    const readout = model.layers.at(-1)!;
    const last = potentials.subarray(-9);
    results.forEach(({ output }, n) => output!.forEach((value, c) => expect(last[3 * n + c]! * ('unit' in readout ? readout.unit[c]! : 0)).toBeCloseTo(value, 2)));
  });

  it('says what NIR does not', async () => {
    const { provenance, normalization, classes } = await readNir(vector('peer.nir'), { classes: ['a', 'b', 'c'], normalization: { mean: [0, 1], std: [1, 2] } });
    expect(provenance).toEqual({ imported: { file: 'peer', producer: 'nir', notes: [expect.stringMatching(/begin at half of their threshold and subtract it/)] } });
    expect({ normalization, classes }).toEqual({ normalization: { mean: [0, 1], std: [1, 2] }, classes: ['a', 'b', 'c'] });
  });
});

/** Logits of clipped activations, of the samples. */
async function clipped(network: TrainedNetwork, { samples }: TrainedNetwork): Promise<Float32Array> {
  await using session = await DenseSession.create(exportOnnx(network, { activations: 'clipped' }));
  return (await session.run(samples!.images, network.graph.input.shape)).get('logits')!;
}

describe('a model written and read again', () => {
  it.each([
    'multi-layer perceptron',
    'residual identity, projection, global pool',
    'groups, bias, asymmetric padding and stride',
    'pool before convolution',
    'pool between convolution and activation',
    'nested pools',
    'batch norm after an add and on an identity',
    'tree of adds with the image, a pooled branch and the same spikes twice',
    'convolution of a sum of spikes',
    'linear only',
  ])('computes what it did: %s', async (construction) => {
    const network = constructedNetwork(construction, 3, 8);
    await writeFile(file('model.nir'), await encodeNir(convert(network, { weights: 'int16' }).model));
    const again = await readNir(file('model.nir'));
    const [expected, actual] = [await clipped(network, network), await clipped(again, network)];
    const size = Math.max(...expected.map(Math.abs));
    expected.forEach((value, i) => expect(Math.abs(value - actual[i]!) / size).toBeLessThan(5e-3));
  });

  it('max-pooling has no node in NIR', async () => {
    const b = new GraphBuilder('pooled', [1, 4, 4]);
    const x = b.maxPool(b.activation(b.conv2d(b.input, 'conv', { outChannels: 2, kernel: 1 }), 'act', { kind: 'tcl', initialThreshold: 1 }), 'pool', 2);
    const network = randomNetwork(b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 3 })), 1);
    const { model } = convert({ ...network, classes: ['a', 'b', 'c'] });
    await expect(encodeNir(model)).rejects.toThrow(failure('CONVERSION', /Cannot write layer "pool": NIR has no max-pooling/));
  });
});

type Fields = Record<string, string | Float32Array | readonly [Float32Array, number[]]>;
const f = (...values: number[]): Float32Array => Float32Array.from(values);
const neurons = (more: Fields = {}): Fields => ({ type: 'IF', r: f(1, 1), v_threshold: f(1, 1), v_reset: f(0, 0), ...more });
const whole: Record<string, Fields> = {
  in: { type: 'Input', shape: f(2) },
  if: neurons(),
  linear: { type: 'Linear', weight: [f(1, 2, 3, 4), [2, 2]] },
  out: { type: 'Output', shape: f(2) },
};
const chain: readonly string[] = ['in', 'if', 'if', 'linear', 'linear', 'out'];

function fill(group: Group, fields: Fields): void {
  for (const [name, value] of Object.entries(fields)) {
    const isShaped = Array.isArray(value);
    const [data, shape] = isShaped ? (value as [Float32Array, number[]]) : [value as string | Float32Array, undefined];
    group.create_dataset({ name, data, ...(shape && { shape }) });
  }
}

/** A file with some of the nodes of `whole` replaced. */
async function nirFile(nodes: Record<string, Fields>, edges = chain): Promise<string> {
  const bytes = await writeHdf5((root) => {
    const graph = root.create_group('node');
    fill(graph, { type: 'NIRGraph' });
    const group = graph.create_group('nodes');
    for (const [name, fields] of Object.entries({ ...whole, ...nodes })) fill(group.create_group(name), fields);
    graph.create_dataset({ name: 'edges', data: [...edges], shape: [edges.length / 2, 2] });
  });
  await writeFile(file('made.nir'), bytes);
  return file('made.nir');
}

describe('what is refused', () => {
  test('the file as it is, is read', async () => {
    const { graph } = await readNir(await nirFile({}));
    expect(graph.nodes.map(({ op }) => op)).toEqual(['activation', 'linear']);
  });

  it.each<[string, Record<string, Fields>, RegExp]>([
    ['leaky neurons', { if: { ...neurons(), type: 'LIF' } }, /^One node of made cannot be read:\n- LIF "if": its potential leaks\. Only integrate-and-fire neurons/],
    ['a node that nobody knows', { if: { type: 'Delay' } }, /Delay "if": this node is not read\. Replace it by one of: Conv2d, Affine,/],
    ['neurons that reset elsewhere', { if: neurons({ v_reset: f(0, -1) }) }, /reset to another potential than 0/],
    ['a threshold of 0', { if: neurons({ v_threshold: f(1, 0) }) }, /a threshold is not above 0/],
  ])('%s', async (_, nodes, message) => {
    await expect(readNir(await nirFile(nodes))).rejects.toThrow(failure('UNSUPPORTED_OPERATOR', message));
  });

  it('thresholds that differ within a channel, and a Flatten that leaves channels apart', async () => {
    const map = { in: { type: 'Input', shape: f(1, 1, 2) }, if: neurons({ r: [f(1, 1), [1, 1, 2]], v_threshold: [f(1, 2), [1, 1, 2]], v_reset: [f(0, 0), [1, 1, 2]] }) };
    await expect(readNir(await nirFile(map))).rejects.toThrow(failure('UNSUPPORTED_OPERATOR', /its v_threshold differs within a channel/));
    const flat = { in: map.in, if: { type: 'Flatten', start_dim: f(1) } };
    await expect(readNir(await nirFile(flat))).rejects.toThrow(failure('UNSUPPORTED_OPERATOR', /flattens from dimension 1 on\. Flatten the whole map/));
  });

  it('loops', async () => {
    await expect(readNir(await nirFile({}, [...chain, 'linear', 'if']))).rejects.toThrow(failure('UNSUPPORTED_OPERATOR', /lead back to themselves/));
  });

  it.each<[string, Record<string, Fields>, readonly string[], RegExp]>([
    ['two inputs', { in2: { type: 'Input', shape: f(2) } }, chain, /2 nodes of the type Input instead of one/],
    ['no output', { out: { type: 'Scale', scale: f(1, 1) } }, chain, /0 nodes of the type Output/],
    ['a node without its numbers', { linear: { type: 'Linear' } }, chain, /node "linear" lacks the numbers "weight"/],
    ['weights of another width', { linear: { type: 'Linear', weight: [f(1, 2, 3), [1, 3]] } }, chain, /takes 3 features of \[2\]/],
    ['a node that nothing leads to', {}, ['in', 'if', 'linear', 'out'], /nothing leads to node "linear"/],
    ['an image of two dimensions', { in: { type: 'Input', shape: f(2, 2) } }, chain, /has the shape \[2, 2\]: images are \[C, H, W\]/],
  ])('%s', async (_, nodes, edges, message) => {
    await expect(readNir(await nirFile(nodes, edges))).rejects.toThrow(failure('INVALID_FILE', message));
  });

  it('no HDF5, and HDF5 without a graph', async () => {
    await writeFile(file('text.nir'), 'this is no HDF5');
    await expect(readNir(file('text.nir'))).rejects.toThrow(failure('INVALID_FILE', /text\.nir is no HDF5 file/));
    await writeFile(file('empty.nir'), await writeHdf5((root) => fill(root, { version: '1' })));
    await expect(readNir(file('empty.nir'))).rejects.toThrow(failure('INVALID_FILE', /empty\.nir: it holds no NIR graph/));
  });
  it('cut anywhere, or with bytes that are others, a file is refused or read', async () => {
    const bytes = await readFile(vector('peer.nir'));
    const random = new Random(3);
    for (let round = 0; round < 60; round++) {
      const damaged = round % 2 === 0 ? bytes.subarray(0, random.integer(bytes.length)) : Buffer.from(bytes);
      if (round % 2 === 1) for (let i = 0; i < 20; i++) damaged[random.integer(damaged.length)] = random.integer(256);
      await writeFile(file('damaged.nir'), damaged);
      const error = (await readNir(file('damaged.nir')).catch((reason: unknown) => reason)) as { code?: string; graph?: object };
      if (!error.graph) expect(error.code, `round ${round}`).toMatch(/^(INVALID_FILE|UNSUPPORTED_OPERATOR|INVALID_ARGUMENT)$/);
    }
  });
});

test('the command line writes NIR and ONNX, and converts NIR', async () => {
  const spec = await writeTinyMnist(file('data'));
  await writeTinyCheckpoint(file('trained'), spec);
  const steps = [
    ['convert', file('trained'), '--out', file('tiny.safetensors'), '--weights', 'int16'],
    ['export', file('tiny.safetensors'), '--format', 'nir', '--out', file('tiny.nir')],
    ['convert', file('tiny.nir'), '--mean', '0.1307', '--std', '0.3081', '--out', file('again.safetensors'), '--weights', 'int16'],
    ['export', file('trained'), '--format', 'onnx', '--out', file('tiny.onnx')],
  ];
  for (const argv of steps) expect(await cli(argv)).toMatchObject({ code: 0 });
  const models = [await readSpikingModel(file('tiny.safetensors')), await readSpikingModel(file('again.safetensors'))];
  const shapes = models.map(({ layers }) => layers.map(({ kind, shape }) => [kind, ...shape]));
  expect(shapes[0]).toEqual(shapes[1]);
  await using dense = await DenseSession.create(file('tiny.onnx'));
  expect(dense.outputNames).toEqual(['logits']);
  expect(await cli(['export', file('tiny.safetensors'), '--format', 'svg', '--out', file('x')])).toMatchObject({ code: 2, stderr: expect.stringMatching(/nir, onnx/) as string });
});
