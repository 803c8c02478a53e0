import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { convert } from '../../src/convert/convert.js';
import { initialParameters } from '../../src/graph/parameters.js';
import { withWeightBits } from '../../src/graph/weights.js';
import { Random } from '../../src/random.js';
import { checkpointPath, readCheckpoint, readTrainingCheckpoint, writeCheckpoint, writeNetwork } from '../../src/training/checkpoint.js';
import { resolveConfig } from '../../src/training/options.js';
import { freshStart } from '../../src/training/start.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();
let directory: string;
beforeAll(async () => (directory = await mkdtemp(join(tmpdir(), 'noisefloor-checkpoint-'))));
afterAll(() => rm(directory, { recursive: true }));

const graph = withWeightBits(tinyNetwork(undefined, 16), 8);
const start = { ...freshStart(graph, resolveConfig({ network: graph, data, out: '' }), data) };
const network = { ...start.network, parameters: initialParameters(graph, new Random(5)) };

test('a network kept alone converts to the same spiking model, from a quarter of the bytes', async () => {
  const [whole, alone] = ['whole', 'alone'].map((name) => join(directory, name)) as [string, string];
  await writeCheckpoint(whole, { ...start, network: { ...network, samples: undefined } });
  await writeNetwork(alone, { ...network, samples: undefined });
  expect(convert(await readCheckpoint(alone)).model.layers).toEqual(convert(network).model.layers);
  const [wholeBytes, aloneBytes] = await Promise.all([whole, alone].map(async (one) => (await stat(checkpointPath(one))).size));
  expect(aloneBytes! / wholeBytes!).toBeLessThan(0.5);
});

test('it keeps the images that conversion measures its loss on, and its weights as float32 without weightBits', async () => {
  const out = join(directory, 'float');
  const plain = { ...network, graph: tinyNetwork(undefined, 16) };
  await writeNetwork(out, plain);
  expect(await readCheckpoint(out)).toEqual(plain);
});

test('it cannot be resumed, and the error says what can be done', async () => {
  const out = join(directory, 'kept');
  await writeNetwork(out, network);
  await expect(readTrainingCheckpoint(out)).rejects.toMatchObject({ code: 'INVALID_FILE', message: expect.stringContaining('initialFrom') as string });
});
