import fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convert } from '../src/convert/convert.js';
import { NoisefloorError } from '../src/errors.js';
import { Random } from '../src/random.js';
import { decodeSafetensors, encodeSafetensors, type SafeTensor } from '../src/safetensors.js';
import { decodeSpikingModel, encodeSpikingModel, readSpikingModel, writeSpikingModel } from '../src/snn/file.js';
import { checkModel } from '../src/snn/check.js';
import type { SpikingLayer, SpikingModel } from '../src/snn/model.js';
import { smallNetwork } from './support/evaluateFixture.js';
import { randomSpikingModel, withMaxPool } from './support/spikingModels.js';

const model = randomSpikingModel(new Random(5));
const good = Buffer.concat(encodeSpikingModel(model));

/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return -- the tests break JSON on purpose */
interface Parts {
  metadata: Record<string, string>;
  tensors: Map<string, SafeTensor>;
  model: any;
}

/** The file with its metadata, its description or its tensors changed. */
function changed(change: (parts: Parts) => void): Buffer {
  const { tensors, metadata } = decodeSafetensors(good, 'good');
  const parts: Parts = { tensors, metadata: { ...metadata }, model: JSON.parse(metadata['model']!) };
  change(parts);
  if (parts.metadata['model'] === metadata['model']) parts.metadata['model'] = JSON.stringify(parts.model);
  return Buffer.concat(encodeSafetensors(parts));
}

function problemOf(bytes: Uint8Array): string {
  try {
    decodeSpikingModel(bytes, 'some/model.safetensors');
  } catch (error) {
    expect(error).toBeInstanceOf(NoisefloorError);
    expect((error as NoisefloorError).code).toBe('INVALID_FILE');
    expect((error as NoisefloorError).message).toContain('some/model.safetensors');
    return (error as NoisefloorError).message;
  }
  throw new Error('accepted');
}

describe('spiking model file', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'noisefloor-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
  });

  it.each(Array.from({ length: 20 }, (_, seed) => seed))('round-trips random model %i', (seed) => {
    const original = randomSpikingModel(new Random(seed));
    expect(decodeSpikingModel(Buffer.concat(encodeSpikingModel(original)), 'x')).toStrictEqual(original);
  });

  it('keeps how pictures become the input, and refuses what does not give it', () => {
    const preprocessing = { resize: 3, crop: 2, interpolation: 'bicubic' } as const;
    const pictures = convert(smallNetwork().network, { preprocessing }).model;
    expect(pictures.input.preprocessing).toEqual(preprocessing);
    expect(decodeSpikingModel(Buffer.concat(encodeSpikingModel(pictures)), 'x').input).toStrictEqual(pictures.input);
    const wrong = (change: object) => () => checkModel({ ...pictures, input: { ...pictures.input, preprocessing: { ...preprocessing, ...change } } });
    expect(wrong({ resize: 1 })).toThrow(/a whole number from 2 for input.preprocessing.resize/);
    expect(wrong({ interpolation: 'nearest' })).toThrow(/bilinear or bicubic for input.preprocessing.interpolation/);
    expect(() => convert(smallNetwork().network, { preprocessing: { ...preprocessing, crop: 1 } })).toThrow(/for crop/);
    expect(problemOf(changed((parts) => (parts.model.input.preprocessing = { ...preprocessing, crop: 999 })))).toContain('input.preprocessing.crop');
    expect(problemOf(changed((parts) => (parts.model.input.preprocessing = { ...preprocessing, crop: '2' })))).toContain('input.preprocessing.crop is not a number');
  });

  it('goes through the disk', async () => {
    const path = join(folder, 'made', 'model.safetensors');
    await writeSpikingModel(path, model);
    expect(await readSpikingModel(path)).toStrictEqual(model);
  });

  it('says which file is missing', async () => {
    const path = join(folder, 'absent.safetensors');
    await expect(readSpikingModel(path)).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: `No spiking model at ${path}: check the path.`,
    });
  });

  it('refuses to write what it would refuse to read', () => {
    const broken = { ...model, classes: [] };
    expect(() => encodeSpikingModel(broken)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }) as Error);
  });

  it('ignores keys of a later minor change', () => {
    const bytes = changed((parts) => {
      parts.model.comment = 'x';
      parts.metadata['extra'] = 'y';
    });
    expect(decodeSpikingModel(bytes, 'x')).toStrictEqual(model);
  });
});

describe('max-pooling in a file', () => {
  const pooled = withMaxPool(randomSpikingModel(new Random(5)), new Random(6));
  const poolAt = pooled.layers.length - 2;
  const pooledFile = Buffer.concat(encodeSpikingModel(pooled));
  const spoiled = (change: (layer: any, parts: Parts) => void): Buffer => {
    const { tensors, metadata } = decodeSafetensors(pooledFile, 'pooled');
    const parts: Parts = { tensors, metadata: { ...metadata }, model: JSON.parse(metadata['model']!) };
    change(parts.model.layers[poolAt], parts);
    return Buffer.concat(encodeSafetensors({ tensors, metadata: { ...parts.metadata, model: JSON.stringify(parts.model) } }));
  };

  it('is version 2, and comes back; a file without it is version 1', () => {
    expect(decodeSafetensors(pooledFile, 'x').metadata['version']).toBe('2');
    expect(decodeSafetensors(good, 'x').metadata['version']).toBe('1');
    expect(decodeSpikingModel(pooledFile, 'x')).toStrictEqual(pooled);
  });

  it.each<[string, (layer: any, parts: Parts) => void, RegExp]>([
    ['in version 1', (_, p) => (p.metadata['version'] = '1'), /pool.kind is "maxPool", not one of spiking, readout/],
    ['of the input', (l) => (l.source = 'input'), /name of an earlier layer for pool.source/],
    ['of no layer', (l) => (l.source = 'pool'), /name of an earlier layer for pool.source/],
    ['with other channels', (l) => l.shape[0]++, /a source of \d+ channels/],
    ['without kernel', (l) => delete l.kernel, /pool.kernel is not a list/],
    ['with a kernel of 0', (l) => (l.kernel = [0, 1]), /pool.kernel/],
    ['with a huge kernel', (l) => (l.kernel = [256, 256]), /area at most/],
    ['with a stride of 0', (l) => (l.stride = [0, 1]), /pool.stride/],
    ['with three paddings', (l) => (l.padding = [0, 0, 0]), /pool.padding is not four numbers/],
    ['with padding as large as the kernel', (l) => (l.padding = [2, 0, 0, 0]), /less than the kernel/],
    ['with another size', (l) => (l.stride = [1, 2]), /by its windows/],
  ])('%s is refused', (_, change, message) => {
    expect(problemOf(spoiled(change))).toMatch(message);
  });
});

describe('layers that start later in a file', () => {
  const later = { ...model, layers: model.layers.map((layer, i) => ({ ...layer, start: 3 * i })) } as SpikingModel;
  const file = Buffer.concat(encodeSpikingModel(later));

  it('are version 3, and come back', () => {
    expect(decodeSafetensors(file, 'x').metadata['version']).toBe('3');
    const read = decodeSpikingModel(file, 'x');
    expect(read.layers.map((layer) => (layer.kind === 'maxPool' ? undefined : layer.start))).toEqual(later.layers.map((_, i) => (i === 0 ? undefined : 3 * i)));
    expect(read.layers[1]).toStrictEqual(later.layers[1]);
  });

  it.each<[string, unknown, RegExp]>([
    ['below 0', -1, /a whole number from 0 to 1023 for .*\.start but received -1/],
    ['behind the last step', 1024, /a whole number from 0 to 1023/],
    ['that is no whole number', 0.5, /a whole number from 0 to 1023/],
    ['that is no number', '3', /\.start is not a number/],
  ])('a start %s is refused', (_, start, message) => {
    const spoiled = (version: string): Buffer =>
      changed((parts) => {
        parts.metadata['version'] = version;
        parts.model.layers[0].start = start;
      });
    expect(problemOf(spoiled('3'))).toMatch(message);
    expect(problemOf(spoiled('2'))).toMatch(/has a start, which is of version "3"/);
  });
});

describe('violations of the description', () => {
  const cases: [string, (parts: Parts) => void, RegExp][] = [
    ['another format', (p) => (p.metadata['format'] = 'pt'), /"format" is not/],
    ['another version', (p) => (p.metadata['version'] = '4'), /version is "4", this release reads "1", "2", "3"/],
    ['no description', (p) => delete p.metadata['model'], /"model" is missing/],
    ['description not JSON', (p) => (p.metadata['model'] = '{'), /"model" is not JSON/],
    ['description a list', (p) => (p.model = []), /model is not an object/],
    ['name', (p) => (p.model.name = 3), /name is not a string/],
    ['empty name', (p) => (p.model.name = ''), /a non-empty string for name/],
    ['classes', (p) => (p.model.classes = 'ab'), /classes is not a list/],
    ['class', (p) => (p.model.classes[0] = 1), /classes\[0\] is not a string/],
    ['number of classes', (p) => p.model.classes.push('more'), /one for each channel of the read-out/],
    ['provenance', (p) => (p.model.provenance = null), /provenance is not an object/],
    ['input', (p) => delete p.model.input, /input is not an object/],
    ['input shape', (p) => (p.model.input.shape = [1, 2]), /\[C, H, W\], positive integers for input.shape/],
    ['input size', (p) => (p.model.input.shape = [2 ** 16, 2 ** 16, 1]), /for input.shape/],
    ['input scale', (p) => (p.model.input.scale = 3), /a power of two for input.scale/],
    ['negative scale', (p) => (p.model.input.scale = -2), /a power of two for input.scale/],
    ['normalization', (p) => delete p.model.input.normalization, /input.normalization is not an object/],
    ['mean', (p) => p.model.input.normalization.mean.push(0), /input.normalization.mean/],
    ['std', (p) => (p.model.input.normalization.std[0] = 0), /input.normalization.std/],
    ['std text', (p) => (p.model.input.normalization.std[0] = '1'), /input.normalization.std is not a number/],
    ['layers', (p) => (p.model.layers = {}), /layers is not a list/],
    ['layer', (p) => (p.model.layers[0] = 1), /layers\[0\] is not an object/],
    ['layer name', (p) => (p.model.layers[0].name = 1), /layer name is not a string/],
    ['unknown kind', (p) => (p.model.layers[0].kind = 'lif'), /layer0.kind is "lif"/],
    ['read-out early', (p) => (p.model.layers[1].kind = 'readout'), /only the last layer is the read-out/],
    ['no read-out', (p) => p.model.layers.pop(), /it is the last layer/],
    ['no layers', (p) => (p.model.layers = []), /at least one layer/],
    ['layer shape', (p) => (p.model.layers[0].shape[1] += 1), /a map of/],
    ['fractional shape', (p) => (p.model.layers[0].shape[1] = 1.5), /for layer0.shape/],
    ['channels', (p) => (p.model.layers[0].shape[0] += 1), /"layer0.0.multiplier" has shape/],
    ['synapses', (p) => (p.model.layers[0].synapses = 1), /layer0.synapses is not a list/],
    ['synapse', (p) => (p.model.layers[0].synapses[0] = 1), /layer0.synapses\[0\] is not an object/],
    ['synapse kind', (p) => (p.model.layers[3].synapses[0].kind = 'pool'), /readout.0.kind is "pool"/],
    ['source later', (p) => (p.model.layers[0].synapses[0].source = 'layer1'), /for layer0.0.source/],
    ['source unknown', (p) => (p.model.layers[0].synapses[0].source = 'x'), /name of an earlier layer/],
    ['stride', (p) => (p.model.layers[0].synapses[0].stride = [1]), /layer0.0.stride is not two numbers/],
    ['zero stride', (p) => (p.model.layers[0].synapses[0].stride = [0, 1]), /for layer0.0.stride/],
    ['shift', (p) => (p.model.layers[0].synapses[0].shift = 31), /for layer0.0.shift/],
    ['shift text', (p) => (p.model.layers[0].synapses[0].shift = '1'), /layer0.0.shift is not a number/],
    ['shift behind spikes', (p) => (p.model.layers[3].synapses[0].shift = 1), /for readout.0.shift/],
    ['pool', (p) => (p.model.layers[3].synapses[0].pool = null), /readout.0.pool is not an object/],
    ['pool kernel', (p) => (p.model.layers[3].synapses[0].pool = { kernel: [0, 1], stride: [1, 1] }), /pool.kernel/],
    ['pool area', (p) => (p.model.layers[3].synapses[0].pool = { kernel: [256, 256], stride: [1, 1] }), /area at most/],
    ['pool stride', (p) => (p.model.layers[3].synapses[0].pool = { kernel: [1, 1], stride: [0, 1] }), /pool.stride/],
    ['pool too large', (p) => (p.model.layers[3].synapses[0].pool = { kernel: [99, 1], stride: [1, 1] }), /windows inside/],
    ['kernel', (p) => (p.model.layers[3].synapses[0].kernel = 'x'), /readout.0.kernel is not a list/],
    ['padding', (p) => (p.model.layers[3].synapses[0].padding = [0, 0]), /readout.0.padding is not four numbers/],
    ['negative padding', (p) => (p.model.layers[3].synapses[0].padding = [-1, 0, 0, 0]), /for readout.0.padding/],
    ['groups', (p) => (p.model.layers[3].synapses[0].groups = 7), /for readout.0.groups/],
    ['no groups', (p) => delete p.model.layers[3].synapses[0].groups, /readout.0.groups is not a number/],
  ];
  it.each(cases)('%s', (_, change, message) => {
    expect(problemOf(changed(change))).toMatch(message);
  });

  it('two layers of one name', () => {
    const twice = { ...model, layers: [model.layers[0]!, ...model.layers] };
    expect(() => checkModel(twice)).toThrow(/a name other than "input" and those before it/);
  });
});

describe('violations of the tensors', () => {
  const put = (name: string, data: SafeTensor['data'], shape = [data.length]) => (p: Parts) => p.tensors.set(name, { shape, data });
  const channels = model.layers[0]!.shape[0]!;
  const cases: [string, (parts: Parts) => void, RegExp][] = [
    ['missing', (p) => p.tensors.delete('layer0.bias'), /"layer0.bias" is missing/],
    ['surplus', put('layer9.bias', Int32Array.of(1)), /"layer9.bias" belongs to no layer/],
    ['type', put('layer0.bias', new Float32Array(channels)), /"layer0.bias" is Float32Array, not Int32Array/],
    ['weight type', put('readout.0.weight', Uint8Array.of(1)), /is Uint8Array, not Int8Array or Int16Array/],
    ['weight shape', put('readout.0.weight', Int8Array.of(1)), /"readout.0.weight" has shape \[1\]/],
    ['length', put('layer0.bias', new Int32Array(channels + 1)), /"layer0.bias" has shape/],
    ['threshold', put('layer0.threshold', new Int32Array(channels)), /positive integers for layer0.threshold .* 0 in channel 0/],
    ['multiplier', put('layer0.0.multiplier', new Int32Array(channels)), /positive integers for layer0.0.multiplier/],
    ['unit', put('layer0.unit', new Float64Array(channels).fill(NaN)), /layer0.unit .* NaN in channel 0/],
    ['units', (p) => ((p.tensors.get('readout.unit')!.data as Float64Array)[0] = 2), /one unit for all classes/],
    ['overflow', put('layer0.0.multiplier', new Int32Array(channels).fill(2 ** 31 - 1)), /overflow in channel 0/],
  ];
  it.each(cases)('%s', (_, change, message) => {
    expect(problemOf(changed(change))).toMatch(message);
  });

  it('weights of the wrong number of inputs', () => {
    const { data, shape } = changedShape();
    expect(problemOf(changed((p) => p.tensors.set('readout.0.weight', { data, shape })))).toMatch(/elements for readout.0.weight/);
  });
});

function changedShape(): SafeTensor {
  const { shape, data } = decodeSafetensors(good, 'good').tensors.get('readout.0.weight')!;
  const doubled = [shape[0]!, shape[1]! * 2, shape[2]!, shape[3]!];
  return { shape: doubled, data: new Int8Array(data.length * 2) };
}

describe('checkModel on models made in code', () => {
  const layer = model.layers[0] as SpikingLayer;
  const withLayer = (change: Partial<SpikingLayer>): SpikingModel => ({
    ...model,
    layers: [{ ...layer, ...change }, ...model.layers.slice(1)],
  });
  it.each([
    ['a plain list for the bias', { bias: [1, 2] as unknown as Int32Array }, /Int32Array for layer0.bias/],
    ['a short threshold', { threshold: new Int32Array(0) }, /elements, one a channel for layer0.threshold/],
    ['no synapses', { synapses: [] }, /at least one synapse/],
    ['the name of the input', { name: 'input' }, /a name other than "input"/],
  ])('%s', (_, change, message) => {
    expect(() => checkModel(withLayer(change))).toThrow(message);
  });
});

describe('corruption', () => {
  it('any flipped bytes or truncation give a valid model or an INVALID_FILE, nothing else', () => {
    const headerBytes = Number(good.readBigUInt64LE());
    const at = fc.oneof(fc.nat(good.length - 1), fc.integer({ min: 8, max: 7 + headerBytes }));
    const change = fc.record({ at, xor: fc.integer({ min: 1, max: 255 }) });
    const digit = fc.record({ at: fc.integer({ min: 8, max: 7 + headerBytes }), digit: fc.constantFrom('0', '1', '9', '-') });
    let rejected = 0;
    let accepted = 0;
    const attempt = (bytes: Uint8Array) => {
      try {
        checkModel(decodeSpikingModel(bytes, 'x'));
        accepted++;
      } catch (error) {
        if (!(error instanceof NoisefloorError) || error.code !== 'INVALID_FILE') throw error;
        rejected++;
      }
    };
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), fc.array(digit), (changes, digits) => {
        const bytes = Buffer.from(good);
        for (const { at, xor } of changes) bytes[at]! ^= xor;
        attempt(bytes);
        const description = Buffer.from(good);
        for (const { at, digit } of digits) if (/\d/.test(String.fromCharCode(description[at]!))) description.write(digit, at);
        attempt(description);
      }),
      { numRuns: 1500, seed: 2 },
    );
    fc.assert(
      fc.property(fc.nat(good.length - 1), (length) => {
        expect(problemOf(good.subarray(0, length))).toMatch(/not a valid safetensors file/);
      }),
      { numRuns: 300, seed: 3 },
    );
    expect(rejected).toBeGreaterThan(500);
    expect(accepted).toBeGreaterThan(100);
  });
});
