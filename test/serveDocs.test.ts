import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { FastifyInstance } from 'fastify';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { InferenceService } from '../src/index.js';
import { smallModelBytes } from './support/serveFixture.js';

let folder: string;
let snippets: string[];
beforeAll(async () => {
  // Inside the package, so that the snippets find it and Fastify by name.
  folder = await mkdtemp(join(import.meta.dirname, '.serving-'));
  await writeFile(join(folder, 'model.safetensors'), smallModelBytes());
  const page = await readFile(new URL('../docs/serving.md', import.meta.url), 'utf8');
  snippets = [...page.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code!.replace('digits=model', `digits=${folder}/model`));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('runs the Fastify snippet', async () => {
  const file = join(folder, 'fastify.mjs');
  await writeFile(file, `${snippets[0]}\nexport { app };`);
  const { app } = (await import(pathToFileURL(file).href)) as { app: FastifyInstance };
  const picture = await sharp(Buffer.from([0, 80, 160, 255]), { raw: { width: 2, height: 2, channels: 1 } }).png().toBuffer();
  const answer = await app.inject({ method: 'POST', url: '/digit', payload: picture, headers: { 'content-type': 'image/png' } });
  expect(answer.json<{ label: string }[]>().map(({ label }) => label).sort()).toEqual(['a', 'b', 'c']);
  await app.close();
});

it('runs the Next.js snippet', async () => {
  const file = join(folder, 'route.mjs');
  await writeFile(file, snippets[2]!);
  const { POST } = (await import(pathToFileURL(file).href)) as { POST: (request: Request) => Promise<Response> };
  const picture = await sharp(Buffer.from([0, 80, 160, 255]), { raw: { width: 2, height: 2, channels: 1 } }).png().toBuffer();
  const answer = await POST(new Request('http://localhost/digit', { method: 'POST', body: new Uint8Array(picture) }));
  expect(((await answer.json()) as { label: string }[]).map(({ label }) => label).sort()).toEqual(['a', 'b', 'c']);
  await (await (globalThis as unknown as { digits: Promise<InferenceService> }).digits).close();
});

it('runs the worker snippet', async () => {
  const file = join(folder, 'worker.mjs');
  await writeFile(file, snippets[1]!);
  const worker = new Worker(pathToFileURL(file), { workerData: { model: join(folder, 'model.safetensors') } });
  const answered = new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  worker.postMessage(Float32Array.of(0.3, -0.2, 0.9, 1.4));
  expect(await answered).toHaveLength(3);
  await worker.terminate();
});
