import fc from 'fast-check';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NoisefloorError } from '../src/errors.js';
import { Random } from '../src/random.js';
import { encodeSpikingModel, readSpikingModel } from '../src/snn/file.js';
import { SpikingSession } from '../src/snn/session.js';
import { elementCount } from '../src/tensor.js';
import { randomSpikingModel, withMaxPool } from './support/spikingModels.js';

// Whatever is in a model file, it runs or is refused with a NoisefloorError: no other error, and no crash of the process.

const good = Buffer.concat(encodeSpikingModel(withMaxPool(randomSpikingModel(new Random(5)), new Random(6))));
const headerBytes = Number(good.readBigUInt64LE());
const fixed = { seed: Number(process.env.PROPERTY_SEED ?? 1), numRuns: Number(process.env.PROPERTY_RUNS ?? 1500) };

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'noisefloor-hostile-'))));
afterAll(() => rm(folder, { recursive: true }));

/** `ran`, or the code of the refusal. */
async function outcome(bytes: Uint8Array): Promise<string> {
  const path = join(folder, 'model.safetensors');
  await writeFile(path, bytes);
  try {
    const model = await readSpikingModel(path);
    encodeSpikingModel(model);
    const session = await SpikingSession.create(model, { threads: 1 });
    try {
      await session.run(new Float32Array(elementCount(model.input.shape)).fill(0.5), { timeSteps: 1 });
    } finally {
      await session.dispose();
    }
    return 'ran';
  } catch (error) {
    if (!(error instanceof NoisefloorError)) throw error;
    if (error.code === 'INVALID_FILE') expect(error.message.length).toBeLessThan(1000);
    return error.code;
  }
}

/** How often each outcome was met. */
async function outcomes<T>(broken: fc.Arbitrary<T>, bytesOf: (value: T) => Uint8Array): Promise<Record<string, number>> {
  const met: Record<string, number> = {};
  const property = fc.asyncProperty(broken, async (value) => {
    const now = await outcome(bytesOf(value));
    met[now] = (met[now] ?? 0) + 1;
  });
  await fc.assert(property, fixed);
  return met;
}

/** JSON text, not a value: `NaN`, numbers beyond float64 and very deep lists are texts too. */
class Raw {
  constructor(readonly text: string) {}
}

function stringify(value: unknown): string {
  if (value instanceof Raw) return value.text;
  if (Array.isArray(value)) return `[${value.map(stringify).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([key, inner]) => `${JSON.stringify(key)}:${stringify(inner)}`)
    .join(',')}}`;
}

const deep = (open: string, close: string): Raw => new Raw(open.repeat(200_000) + close.repeat(200_000));
const hostileTexts = [
  'NaN',
  '1e999',
  '-1e999',
  '1e-999',
  '-0',
  '1e21',
  '9007199254740993',
  'undefined',
  '{"a":1,"a":2}',
  '"\\ud800"',
  '',
];

const hostile: fc.Arbitrary<unknown> = fc.oneof(
  { arbitrary: fc.integer({ min: -2, max: 9 }), weight: 6 },
  { arbitrary: fc.tuple(fc.integer({ min: -1, max: 5 }), fc.integer({ min: -1, max: 5 })), weight: 2 },
  fc.constantFrom(
    0.5,
    127,
    128,
    255,
    32_767,
    32_768,
    65_535,
    65_536,
    2 ** 24,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    1e300,
    5e-324,
  ),
  fc.constantFrom('I8', 'I16', 'I32', 'F64', 'U8', 'input', 'layer0', 'identity', 'conv2d', '__proto__', 'x'.repeat(100_000)),
  fc.constantFrom(
    ...hostileTexts.map((text) => new Raw(text)),
    deep('[', ']'),
    deep('{"a":', '}'),
    new Raw(`[${'1,'.repeat(99_999)}1]`),
  ),
  fc.jsonValue({ maxDepth: 2 }),
);

interface Edit {
  /** Child taken at each depth, by its number. */
  readonly path: readonly number[];
  readonly action: 'replace' | 'delete' | 'add' | 'swap';
  readonly value: unknown;
}

const edits = fc.array(
  fc.record({
    path: fc.array(fc.nat(11), { minLength: 1, maxLength: 6 }),
    action: fc.constantFrom('replace', 'replace', 'replace', 'delete', 'add', 'swap'),
    value: hostile,
  }),
  { minLength: 1, maxLength: 3 },
);

type Node = Record<string, unknown>;
const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && !(value instanceof Raw);

function edit(root: Node, { path, action, value }: Edit): void {
  let [node, key] = [root, ''];
  for (const [depth, at] of path.entries()) {
    const keys = Object.keys(node);
    if (keys.length === 0) break;
    key = keys[at % keys.length]!;
    const child = node[key];
    if (depth + 1 < path.length && isNode(child)) node = child;
  }
  if (action === 'delete') delete node[key];
  else if (action === 'add') node[`${key}x`] = value;
  else if (action === 'swap') [node[key], node[Object.keys(node)[0]!]] = [node[Object.keys(node)[0]!], node[key]];
  else node[key] = value;
}

function file(header: string, body: Uint8Array = good.subarray(8 + headerBytes)): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  return Buffer.concat([length, Buffer.from(header), body]);
}

function editedFile(change: { ofModel: boolean; edits: readonly Edit[] }): Buffer {
  const header = JSON.parse(good.toString('utf8', 8, 8 + headerBytes)) as Node;
  const metadata = header.__metadata__ as Node;
  const model = JSON.parse(metadata.model as string) as Node;
  for (const one of change.edits) edit(change.ofModel ? model : header, one);
  if (change.ofModel) metadata.model = stringify(model);
  return file(stringify(header));
}

describe('a hostile model file', () => {
  it('with changed, lost or added bytes', async () => {
    const change = fc.record({
      flips: fc.array(fc.record({ at: fc.nat(good.length - 1), xor: fc.integer({ min: 1, max: 255 }) }), { maxLength: 4 }),
      inBody: fc.boolean(),
      cut: fc.option(fc.record({ at: fc.nat(good.length), count: fc.nat(40) }), { freq: 3 }),
      added: fc.option(fc.record({ at: fc.nat(good.length), bytes: fc.uint8Array({ maxLength: 16 }) }), { freq: 3 }),
    });
    const met = await outcomes(change, ({ flips, inBody, cut, added }) => {
      let bytes = Buffer.from(good);
      const bodyBegins = 8 + headerBytes;
      for (const { at, xor } of flips) bytes[inBody ? bodyBegins + (at % (bytes.length - bodyBegins)) : at]! ^= xor;
      if (cut) bytes = Buffer.concat([bytes.subarray(0, cut.at), bytes.subarray(cut.at + cut.count)]);
      if (added) bytes = Buffer.concat([bytes.subarray(0, added.at), added.bytes, bytes.subarray(added.at)]);
      return bytes;
    });
    expect(Object.keys(met).sort()).toEqual(['INVALID_FILE', 'ran']);
    expect(Math.min(...Object.values(met))).toBeGreaterThan(fixed.numRuns / 20);
  });

  it('with other numbers, words, lists and objects in its header', async () => {
    const met = await outcomes(fc.record({ ofModel: fc.boolean(), edits }), editedFile);
    expect(met.ran).toBeGreaterThan(fixed.numRuns / 50);
    expect(met.INVALID_FILE).toBeGreaterThan(fixed.numRuns / 2);
  });

  it('with another length of the header', async () => {
    const lengths = fc.oneof(fc.bigInt({ min: 0n, max: BigInt(good.length) }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
    const met = await outcomes(lengths.filter((length) => length !== BigInt(headerBytes)), (length) => {
      const bytes = Buffer.from(good);
      bytes.writeBigUInt64LE(length);
      return bytes;
    });
    expect(met).toEqual({ INVALID_FILE: fixed.numRuns });
  });

  it('with a provenance that could not be written again', async () => {
    const levels = (count: number): Edit => ({
      path: [4],
      action: 'replace',
      value: new Raw(`${'{"a":'.repeat(count)}1${'}'.repeat(count)}`),
    });
    expect(await outcome(editedFile({ ofModel: true, edits: [levels(100)] }))).toBe('ran');
    expect(await outcome(editedFile({ ofModel: true, edits: [levels(101)] }))).toBe('INVALID_FILE');
    expect(await outcome(editedFile({ ofModel: true, edits: [levels(200_000)] }))).toBe('INVALID_FILE');
  });

  it.each([
    ['dtype', { dtype: deep('[', ']'), shape: [1], data_offsets: [0, 1] }],
    ['shape', { dtype: 'I8', shape: deep('[', ']'), data_offsets: [0, 1] }],
    ['offsets', { dtype: 'I8', shape: [1], data_offsets: deep('[', ']') }],
    ['a long shape', { dtype: 'I8', shape: new Raw(`[${'1,'.repeat(999_999)}2]`), data_offsets: [0, 1] }],
    ['a tensor', deep('{"a":', '}')],
  ])('with lists as deep as its memory: %s', async (_, tensor) => {
    expect(await outcome(file(stringify({ a: tensor }), Buffer.alloc(1)))).toBe('INVALID_FILE');
  });
});
