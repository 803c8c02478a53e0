import { spawn, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cli, writeTinyCheckpoint, writeTinyMnist } from './support/cliFixture.js';
import { ask } from './support/serveFixture.js';

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'noisefloor-serve-command-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Served {
  readonly url: string;
  readonly models: readonly string[];
  /** SIGTERM; the exit code. */
  readonly stop: () => Promise<number | null>;
}

const main = new URL('../dist/cli/main.js', import.meta.url).pathname;

async function start(...argv: string[]): Promise<Served> {
  const child = spawn(process.execPath, [main, 'serve', ...argv, '--port', '0', '--json', '--threads', '1']);
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  let text = '';
  for await (const data of child.stdout as AsyncIterable<Buffer>) {
    text += data.toString();
    if (text.endsWith('}\n')) break;
  }
  const stop = () => {
    child.kill('SIGTERM');
    return ended;
  };
  return { ...(JSON.parse(text) as { url: string; models: string[] }), stop };
}

it('serves models that have a name, and a folder of versions before one', async () => {
  const { url, models, stop } = await start('mnist', 'digits=mnist');
  expect(models).toEqual(['mnist', 'digits']);
  expect((await ask(`${url}/v2/models/digits`)).json().versions).toEqual(['1']);
  expect(await stop()).toBe(0);
  expect((await cli(['serve', 'mnits'])).stderr).toMatch(/No spiking model at mnits, nor one of that name. Give a path, or one of: .*mnist/);
  const versions = join(folder, 'mnist');
  await mkdir(versions);
  expect((await cli(['serve', versions])).stderr).toContain(`No versions in ${versions}`);
});

it('serves a model and its dense network, and ends well on SIGTERM', async () => {
  const run = join(folder, 'run');
  await writeTinyCheckpoint(run, await writeTinyMnist(join(folder, 'data')));
  const model = join(folder, 'tiny.safetensors');
  expect((await cli(['convert', run, '--out', model])).code).toBe(0);
  const { url, models, stop } = await start(model, '--dense', `tiny=${run}`);
  expect(models).toEqual(['tiny', 'tiny-dense']);
  const data = Array.from({ length: 784 }, (_, i) => i % 256);
  const body = JSON.stringify({ inputs: [{ name: 'input', shape: [1, 1, 28, 28], datatype: 'UINT8', data }] });
  const best = async (name: string) => {
    const logits = (await ask(`${url}/v2/models/${name}/infer`, { body })).json().outputs[0]!.data as number[];
    return logits.indexOf(Math.max(...logits));
  };
  expect(await best('tiny')).toBeTypeOf('number');
  expect(await best('tiny-dense')).toBeGreaterThanOrEqual(0);
  const refused = await ask(`${url}/v2/models/tiny-dense/infer`, { body: body.replace(/}$/, ',"parameters":{"time_steps":4}}') });
  expect(refused.json().error).toContain('This is a dense network');
  expect(await stop()).toBe(0);
  await writeFile(join(run, 'checkpoint.safetensors'), 'garbage');
  const broken = spawnSync(process.execPath, [main, 'serve', model, '--dense', run, '--port', '0'], { encoding: 'utf8', timeout: 30_000 });
  expect(broken).toMatchObject({ status: 1, stderr: expect.stringMatching(/checkpoint.safetensors is not a valid safetensors file/) as string });
});

it('refuses options that do not go together', async () => {
  const model = join(folder, 'x.safetensors');
  await writeFile(join(folder, 'keys'), '\n');
  const error = async (...argv: string[]) => (await cli(['serve', model, ...argv])).stderr;
  expect(await error('--tls-cert', 'a.pem')).toContain('--tls-cert and --tls-key belong together');
  expect(await error('--api-key-file', join(folder, 'keys'))).toContain('has no key: write one a line');
  expect(await error('--port', '99999')).toContain('Expected a whole number from 0 to 65535');
  expect(await error()).toContain('No model file at');
});
