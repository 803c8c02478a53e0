import { describe, expect, test } from 'vitest';
import { initialParameters, parameterSpecs } from '../../src/graph/parameters.js';
import type { TrainedNetwork } from '../../src/graph/network.js';
import { Random } from '../../src/random.js';
import { averageNetworks } from '../../src/training/averageNetworks.js';
import { heldOutImages } from '../../src/training/heldOut.js';
import { resolveConfig } from '../../src/training/options.js';
import { freshStart } from '../../src/training/start.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const graph = tinyNetwork();
const data = tinyDataset();
const splitOptions = { seed: 3, validation: 20 };
const buffers = parameterSpecs(graph).filter(({ role }) => role === 'buffer').map(({ name }) => name);

/** Fine-tunings of one network: all parameters differ, the running statistics do not. */
function fineTuned(seed: number, provenance: Record<string, unknown> = { data: 'tiny', training: { ...splitOptions, epochs: seed } }): TrainedNetwork {
  const [parameters, shared] = [initialParameters(graph, new Random(seed)), initialParameters(graph, new Random(0))];
  const values = [...parameters].map(([name, { shape, data }]) => [name, { shape, data: buffers.includes(name) ? shared.get(name)!.data : data.map((x) => x + seed / 100) }] as const);
  const { classes, normalization } = data;
  return { graph, parameters: new Map(values), classes, normalization, provenance };
}

const [a, b, c] = [1, 2, 3].map((seed) => fineTuned(seed)) as [TrainedNetwork, TrainedNetwork, TrainedNetwork];

describe('the average of networks', () => {
  test('is the weighted mean of every parameter, with the statistics they share', () => {
    const { parameters, provenance } = averageNetworks([a, b, c], [3, 1, 4]);
    expect([...parameters.keys()]).toEqual([...a.parameters.keys()]);
    for (const [name, { shape, data }] of parameters) {
      expect(shape).toEqual(a.parameters.get(name)!.shape);
      const of = (network: TrainedNetwork, i: number): number => network.parameters.get(name)!.data[i]!;
      for (let i = 0; i < data.length; i++) {
        const mean = (3 * of(a, i) + of(b, i) + 4 * of(c, i)) / 8;
        expect(Math.abs(data[i]! - mean), name).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(mean)));
      }
    }
    for (const name of buffers) expect(parameters.get(name)).toBe(a.parameters.get(name));
    expect(provenance).toEqual({ data: 'tiny', training: splitOptions, averageOf: [a, b, c].map(({ provenance }, i) => ({ share: [0.375, 0.125, 0.5][i], provenance })) });
  });

  test('of equal shares by default, and a network alone where the others have none', () => {
    const halves = averageNetworks([a, b]).parameters.get('fc.weight')!.data;
    expect(halves[5]).toBeCloseTo((a.parameters.get('fc.weight')!.data[5]! + b.parameters.get('fc.weight')!.data[5]!) / 2, 6);
    expect(averageNetworks([a, b], [0, 2]).parameters).toEqual(b.parameters);
  });

  test('knows which images none of them was trained on', () => {
    const held = heldOutImages(data, averageNetworks([a, b]).provenance);
    expect(held).toEqual(heldOutImages(data, a.provenance));
    expect(held.count).toBe(20);
    const elsewhere = fineTuned(5, { data: 'tiny', training: { seed: 4, validation: 20 } });
    expect(() => heldOutImages(data, averageNetworks([a, elsewhere]).provenance)).toThrow(/no image held out/);
    for (const unknown of [fineTuned(6, {}), fineTuned(6, { data: 'tiny:OTHER', training: splitOptions })]) {
      for (const networks of [[a, unknown], [unknown, a]]) expect(() => heldOutImages(data, averageNetworks(networks).provenance)).toThrow(/no image held out|other images were held out/);
    }
    const foreign = averageNetworks([fineTuned(6, {}), fineTuned(7, {})]);
    expect(() => heldOutImages(data, foreign.provenance)).toThrow(/does not say which images were held out/);
  });

  test('cannot be trained further with images held out that one of them was trained on', () => {
    const config = resolveConfig({ network: graph, data, out: 'nowhere', seed: 5, validation: 12 });
    const all = { ...config, validation: 0 };
    for (const network of [a, averageNetworks([a, fineTuned(6, {})])]) {
      expect(() => freshStart(graph, config, data, network)).toThrow(expect.objectContaining({ code: 'CHECKPOINT_MISMATCH' }));
      expect(freshStart(graph, all, data, network).network.parameters).toEqual(network.parameters);
    }
  });

  test('a network that was trained here but does not say how is not trained further with images held out', () => {
    const config = resolveConfig({ network: graph, data, out: 'nowhere', ...splitOptions });
    const silent = fineTuned(4, { data: 'tiny', training: {} });
    expect(() => freshStart(graph, config, data, silent)).toThrow(/does not say which images were held out of its training: give validation 0/);
    expect(freshStart(graph, { ...config, validation: 0 }, data, silent).network.parameters).toEqual(silent.parameters);
  });

  test('held-out images are those of one kind of data set, and not of a calibrated model', () => {
    expect(() => heldOutImages({ ...data, spec: 'tiny:FOLDER' }, a.provenance)).toThrow(/trained on tiny, not on tiny:DIR: other images were held out/);
    expect(heldOutImages({ ...data, spec: 'tiny:B' }, { ...a.provenance, data: 'tiny:A' })).toEqual(heldOutImages(data, a.provenance));
    expect(() => heldOutImages(data, { ...a.provenance, calibration: {} })).toThrow(/was calibrated on training images/);
  });

  const statistics = buffers[0]!;
  const moved = new Map(b.parameters).set(statistics, { shape: b.parameters.get(statistics)!.shape, data: b.parameters.get(statistics)!.data.map((x) => x + 1) });
  test.each<[string, readonly TrainedNetwork[], readonly number[] | undefined, string, RegExp]>([
    ['nothing', [], undefined, 'INVALID_ARGUMENT', /two networks or more/],
    ['one network', [a], undefined, 'INVALID_ARGUMENT', /two networks or more/],
    ['fewer shares than networks', [a, b, c], [1, 1], 'INVALID_ARGUMENT', /3 networks need as many shares, not 2/],
    ['a share below 0', [a, b], [2, -1], 'INVALID_ARGUMENT', /shares/],
    ['a share that is no number', [a, b], [NaN, 1], 'INVALID_ARGUMENT', /shares/],
    ['no share', [a, b], [0, 0], 'INVALID_ARGUMENT', /a sum above 0/],
    ['calibrated networks', [a, { ...b, neurons: new Map() }], undefined, 'INVALID_ARGUMENT', /average first, then calibrate/],
    ['other layers', [a, { ...b, graph: tinyNetwork({ kind: 'relu' }) }], undefined, 'CHECKPOINT_MISMATCH', /Network 2 has other layers/],
    ['other classes', [a, b, { ...c, classes: ['x', 'y', 'z'] }], undefined, 'CHECKPOINT_MISMATCH', /Network 3 has other classes/],
    ['another normalization', [a, { ...b, normalization: { mean: [0], std: [1] } }], undefined, 'CHECKPOINT_MISMATCH', /another normalization/],
    ['other running statistics', [a, { ...b, parameters: moved }], undefined, 'CHECKPOINT_MISMATCH', /other running statistics than the first in "first\.bn\.running_mean"/],
  ])('refuses %s', (_, networks, shares, code, message) => {
    expect(() => averageNetworks(networks, shares)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) as string }));
  });
});
