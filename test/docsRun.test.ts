import { spawn, type ChildProcess } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildWhereOld } from './support/built.js';
import { blocks, blocksOf, pages, root, title, type Block } from './support/documentation.js';
import { writeRuns, writeWorld } from './support/docsWorld.js';
import { freePort, serverProgram, startServer, type RedisServer } from './support/redisServer.js';

/** What is not run here, by how it begins, and why. One line of an indented block each, or a fenced block. */
const elsewhere: readonly (readonly [page: string, start: string, why: string])[] = [
  ['README.md', 'npm ci && npm run quickstart', 'run by .ci/run, reduced'],
  ['README.md', 'npm ci && npm test', 'run by .ci/run'],
  ['CONTRIBUTING.md', 'npm ci', 'run by .ci/run'],
  ['CONTRIBUTING.md', 'npm test', 'run by .ci/run'],
  ['CONTRIBUTING.md', 'bash scripts/test-native.sh', 'run by .ci/run'],
  ['CONTRIBUTING.md', 'bash scripts/fuzz.sh 600', '10 minutes, with Clang'],
  ['CONTRIBUTING.md', 'npm run lint && npm run types', 'run by .ci/run'],
  ['CONTRIBUTING.md', 'bash .ci/run', 'this test is part of it'],
  ['benchmarks/README.md', 'npm run benchmark -- --data cifar10:DIR --python PATH', 'needs PyTorch'],
  ['benchmarks/README.md', 'npm run benchmark:training -- --python PATH', 'needs PyTorch'],
  ['docs/architecture.md', 'data -> graph', 'a drawing'],
  ['docs/finetuning.md', 'D(t) = G(t) h(t) + D(t+1)  ', 'a formula'],
  ['docs/finetuning.md', 'D(t) = G(t) h(t) + D(t+1) (', 'a formula'],
  ['docs/format.md', '{ "name": string', 'a grammar'],
  ['docs/getting-started.md', 'npm install noisefloor', 'run by scripts/test-package.sh, of the tarball'],
  ['docs/installing.md', 'npm install noisefloor', 'run by scripts/test-package.sh, of the tarball'],
  ['docs/installing.md', 'pip install ziglang', 'a compiler of 100 MB; .ci/run uses it where it is'],
  ['docs/installing.md', 'npm ci', 'run by .ci/run'],
  ['docs/installing.md', 'node scripts/prebuild.mjs linux-x64', 'run by .ci/run where Zig is'],
  ['docs/installing.md', 'node scripts/prebuild.mjs check', 'run by .ci/run where Zig is'],
  ['docs/installing.md', 'bash scripts/test-prebuilds.sh', 'run by .ci/run'],
  ['docs/results.md', 'node benchmarks/methods.mjs', 'needs a GPU'],
  ['docs/scale-out.md', 'apiVersion: apps/v1', 'needs a Kubernetes cluster'],
  ['docs/serving.md', "import Fastify from 'fastify'", 'run by test/serveDocs.test.ts'],
  ['docs/serving.md', '// worker.mjs', 'run by test/serveDocs.test.ts'],
  ['docs/serving.md', "import { InferenceService, bestClasses, pictureInput, spikingSource } from 'noisefloor';\n\nexport", 'run by test/serveDocs.test.ts'],
  ['docs/training.md', 'm = theta / 2', 'a formula'],
];

/** What stands in for data, addresses and hours; WORLD is the folder that a page runs in. */
const substitutions: readonly (readonly [text: RegExp, by: string])[] = [
  [/cifar10:DIR/g, 'cifar10:WORLD/cifar'], // 100 pictures to train, 20 to test
  [/imagenet:(DIR|\$IMAGENET)/g, 'imagenet:WORLD'], // 21 pictures of 7 classes
  [/--data mnist\b/g, '--data mnist:WORLD/digits'], // 60 digits to train, 25 to test
  [/'mnist'/g, "'mnist:WORLD/digits'"],
  [/--network resnet20/g, '--network resnet20 --width 0.1 --batch-size 20'],
  [/out: 'runs\/own'/g, "out: 'runs/own-program'"], // the command line before it made runs/own
  [/start: 1000, end: 2000/g, 'start: 10, end: 20'],
  [/--epochs \d+/g, '--epochs 1'],
  [/--array=1-32/g, '--array=1-3'],
  [/(TASK_ID)\/32/g, '$1/3'],
  [/other\.nir/g, 'r20.nir'],
  [/--port 8080/g, '--port PORT'],
  [/--poll 5/g, '--poll 5 --port PORT'],
  [/localhost:8080/g, 'localhost:PORT'],
  [/redis:\/\/HOST:6379/g, 'REDIS'],
  [/npm run benchmark -- /g, 'npm --prefix ROOT run benchmark -- --rounds 1 --seconds 0.05 --images 8 --batch-sizes 1 --checkpoint WORLD/runs/r20 '],
  [/benchmarks\/augmentation\.mjs/g, '$& --rounds 1'],
  [/benchmarks\/serving\.mjs/g, '$& --seconds 1 --images 8 --no-dense --checkpoint WORLD/runs/r20'],
];

/** What a program takes from the text around it. */
const before: readonly (readonly [page: string, code: string])[] = [
  ['docs/engine.md', "import { SpikingSession } from 'noisefloor';\nconst session = await SpikingSession.create('model.safetensors');\nconst frames = [new Float32Array(768), new Float32Array(768)];\n"],
  ['docs/importing.md', 'const count = 2, images = new Float32Array(count * 768).fill(0.5);\n'],
];

const listed = (block: Block) => elsewhere.find(([page, start]) => page === block.page && block.text.startsWith(start));
const folder = mkdtempSync(join(tmpdir(), 'noisefloor-docs-'));
const base = join(folder, 'base');
let redis: RedisServer | undefined;
let published: Server;
beforeAll(async () => {
  await buildWhereOld();
  await writeWorld(base);
  writeRuns(base);
  const program = serverProgram();
  redis = program === undefined ? undefined : await startServer(program);
  published = createServer((request, response) => response.end(readFileSync(join(base, request.url!)))).listen(0, '127.0.0.1');
}, 120_000);
afterAll(() => {
  redis?.stop();
  published.close();
  rmSync(folder, { recursive: true, force: true });
});

it('names what is not run, and no more than that', () => {
  const found = blocks().filter(listed);
  expect(found.map((block) => listed(block)!.join())).toEqual(expect.arrayContaining(elsewhere.map((entry) => entry.join())));
  expect(found).toHaveLength(27);
  expect(blocks().length - found.length).toBeGreaterThan(50);
});

const runHere = (page: string) => blocksOf(page).filter((block) => !listed(block));

describe.each(pages.filter((page) => runHere(page).length > 0))('%s', (page) => {
  const here = runHere(page);
  const world = join(folder, page.replace('/', '-'));
  let port = 0;
  /** serve and worker go on until another takes its place, or the page ends. */
  let running: { child: ChildProcess; ended: Promise<string> } | undefined;
  beforeAll(async () => {
    port = await freePort();
    cpSync(base, world, { recursive: true, verbatimSymlinks: true });
    // What the page trains itself is not there yet.
    for (const { text } of here) for (const [, out] of text.matchAll(/^noisefloor train .*--out (\S+)/g)) rmSync(join(world, out!), { recursive: true, force: true });
  });
  afterAll(stop);

  it.for(here.map((block) => [title(block), block] as const))('%s', async ([, block], { skip }) => {
    const text = substituted(block.text);
    if (block.text.startsWith('#!')) return writeFileSync(join(world, 'shards.sh'), text); // A block after it runs it.
    if (block.fence === 'js') return runProgram(text);
    if (text.includes('REDIS')) skip('no Redis or Valkey server here');
    if (/^noisefloor (serve|worker) /.test(text)) return start(text);
    expect(await shell(text).ended).toMatch(/^exit 0/);
  });

  it('would notice a command that fails', async () => expect(await shell('noisefloor inspect no-such-file').ended).toMatch(/^exit 1/));

  function substituted(text: string): string {
    const changed = substitutions.reduce((all, [from, to]) => all.replace(from, to), text);
    return changed.replaceAll('WORLD', world).replaceAll('ROOT', root).replaceAll('PORT', String(port)).replaceAll('REDIS', redis?.url ?? 'REDIS');
  }

  async function runProgram(text: string): Promise<void> {
    const code = `${before.find(([name]) => name === page)?.[1] ?? ''}${text}`;
    const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 }; // `using` is not in every Node.
    writeFileSync(join(world, 'program.mjs'), ts.transpileModule(code, { compilerOptions }).outputText);
    expect(await shell(`'${process.execPath}' program.mjs`).ended).toMatch(/^exit 0/);
  }

  async function start(text: string): Promise<void> {
    await stop();
    running = shell(`exec ${text}`);
    const { child, ended } = running;
    if (text.startsWith('noisefloor worker')) return;
    const answers = new Promise<string>((resolve) => child.stdout!.on('data', (data: Buffer) => data.includes(`:${port}`) && resolve('answers')));
    expect(await Promise.race([answers, ended])).toBe('answers');
  }

  async function stop(): Promise<void> {
    if (!running) return;
    running.child.kill('SIGINT');
    expect(await running.ended).toMatch(/^exit (0|130)/);
    running = undefined;
  }

  function shell(text: string): { child: ChildProcess; ended: Promise<string> } {
    const env = {
      ...process.env,
      PATH: `${join(world, 'bin')}:${process.env['PATH']}`,
      NOISEFLOOR_MODELS_URL: `http://127.0.0.1:${(published.address() as AddressInfo).port}`,
      NOISEFLOOR_CACHE: join(world, 'cache'),
    };
    const child = spawn('bash', ['-euo', 'pipefail', '-c', text], { cwd: world, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()));
    return { child, ended: new Promise((resolve) => child.on('close', (code) => resolve(`exit ${code}\n${text}\n${output}`))) };
  }
});
