import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { networkOption } from '../src/cli/network.js';
import { openDataset } from '../src/data/open.js';
import { networkNames } from '../src/graph/networks/index.js';
import { readCheckpoint } from '../src/training/checkpoint.js';
import { resolveGraph } from '../src/training/options.js';
import { tinyNetwork } from './support/tinyDataset.js';
import { writeTinyMnist } from './support/cliFixture.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const example = join(root, 'docs', 'custom-network.mjs');
const run = promisify(execFile);

let folder: string;
let spec: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-custom-'));
  spec = await writeTinyMnist(join(folder, 'data'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The built command line, since a module of one's own imports the package. */
async function train(network: string, out: string, ...more: string[]): Promise<{ code: number; stderr: string }> {
  const argv = [join(root, 'dist/cli/main.js'), 'train', '--network', network, '--data', spec, '--out', join(folder, out), '--epochs', '1', '--batch-size', '16', '--threads', '1'];
  return run(process.execPath, [...argv, ...more]).then(
    ({ stderr }) => ({ code: 0, stderr }),
    ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
  );
}

describe('docs/custom-networks.md', () => {
  it('shows the module that is there', async () => {
    const page = await readFile(join(root, 'docs', 'custom-networks.md'), 'utf8');
    const [shown, program] = [...page.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
    expect(shown).toBe(await readFile(example, 'utf8'));
    expect(program).toContain("from './custom-network.mjs'");
  });

  it('trains its example from the command line, with the recipe asked for', async () => {
    const recipe = ['--noise', 'nq', '--levels', '2', '--width', '0.5', '--nesterov', '--momentum', '0.8', '--weight-decay', '0.001', '--decay', 'weights', '--ema', '0.9', '--clip-norm', '1'];
    const ran = await train(example, 'example', ...recipe);
    expect(ran).toMatchObject({ code: 0, stderr: expect.stringMatching(/Epoch 1 of 1: .* gradient norm \d/) as string });
    const { graph, provenance } = await readCheckpoint(join(folder, 'example'));
    expect(graph.name).toBe('tiny-residual');
    expect(graph.nodes.find(({ name }) => name === 'first.act')).toMatchObject({ activation: { kind: 'qcfs', levels: 2 } });
    expect(graph.nodes.find(({ name }) => name === 'first.conv')).toMatchObject({ outChannels: 4 });
    expect(provenance['training']).toMatchObject({
      optimizer: { kind: 'sgd', nesterov: true, momentum: 0.8, weightDecay: 0.001, decay: 'weights' },
      ema: 0.9,
      clipNorm: 1,
    });
  });
});

describe('--network FILE', () => {
  it('takes a graph as JSON', async () => {
    const path = join(folder, 'graph.json');
    const graph = { ...tinyNetwork(), input: { name: 'input', shape: [1, 28, 28] } };
    await writeFile(path, JSON.stringify({ ...graph, nodes: graph.nodes.map((node) => (node.op === 'linear' ? { ...node, outFeatures: 10 } : node)) }));
    expect(await train(path, 'json')).toMatchObject({ code: 0 });
    expect((await readCheckpoint(join(folder, 'json'))).graph.name).toBe('tiny');
  });

  /** As the command does, up to the graph. */
  async function graphOf(text: string) {
    const data = await openDataset(spec);
    return resolveGraph({ network: await networkOption(text), data, out: '' }, data);
  }

  it.each([
    ['a file that is not there', 'none.json', undefined, 'FILE_NOT_FOUND', /No network at .*none\.json/],
    ['what is no JSON', 'broken.json', '{', 'INVALID_FILE', /broken\.json is not JSON/],
    ['JSON that is no graph', 'other.json', '{}', 'INVALID_GRAPH', /The input of the graph/],
    ['a module without a network', 'empty.mjs', 'export const x = 1;', 'INVALID_FILE', /default export should be a graph, or a function/],
    ['a module that fails', 'failing.mjs', 'throw new Error("mine");', 'INVALID_FILE', /could not be loaded: mine/],
    ['a function that builds no graph', 'null.mjs', 'export default () => null;', 'INVALID_GRAPH', /The graph: expected an object but received null/],
  ])('refuses %s', async (_, name, content, code, message) => {
    const path = join(folder, name);
    if (content !== undefined) await writeFile(path, content);
    await expect(graphOf(path)).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  it('takes another text as a name, and lists the names there are', async () => {
    await expect(graphOf('resnet19')).rejects.toThrow(`Unknown network "resnet19". Should be one of: ${networkNames.join(', ')}.`);
  });

  it('refuses a width for a finished graph, and momentum for AdamW', async () => {
    expect(await train(join(folder, 'graph.json'), 'refused', '--width', '2')).toMatchObject({ code: 2, stderr: expect.stringMatching(/for width/) as string });
    expect(await train(example, 'refused', '--optimizer', 'adamw', '--momentum', '0.5')).toMatchObject({ code: 2, stderr: expect.stringMatching(/--momentum/) as string });
  });
});
