import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSpikingModel } from '../src/snn/file.js';
import { findZooModel, zooModels, type ZooModel } from '../src/zoo/catalogue.js';
import { cacheFolder, zooModelPath } from '../src/zoo/zoo.js';
import { cli } from './support/cliFixture.js';

const content = randomBytes(300_000);
const sha256 = createHash('sha256').update(content).digest('hex');
const model: ZooModel = { ...zooModels()[0]!, name: 'far', included: false, bytes: content.length, sha256 };

let cache: string;
let server: Server;
let baseUrl: string;
let ranges: (string | undefined)[];
let answer: (request: IncomingMessage, response: ServerResponse) => void;

/** As any file server: the whole, or from where the client asks. */
function whole({ headers }: IncomingMessage, response: ServerResponse): void {
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
  const range = `bytes ${from}-${content.length - 1}/${content.length}`;
  response.writeHead(from > 0 ? 206 : 200, from > 0 ? { 'content-range': range } : {}).end(content.subarray(from));
}

/** Half of the file, then the connection breaks. */
function cut(_: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'content-length': content.length });
  response.write(content.subarray(0, 150_000), () => setTimeout(() => response.destroy(), 50));
}

beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'noisefloor-zoo-'));
  ranges = [];
  answer = whole;
  server = createServer((request, response) => {
    ranges.push(request.headers.range);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/models/`;
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await rm(cache, { recursive: true });
});

const fetchFar = (change = {}) => zooModelPath('far', { baseUrl, cache, models: [model], ...change });

describe('the catalogue', () => {
  it.each(zooModels().filter(({ included }) => included))('$name is in the package as it says, below 1 MB', async (entry) => {
    const path = await zooModelPath(entry.name);
    const bytes = readFileSync(path);
    expect(bytes.length).toBe(entry.bytes);
    expect(bytes.length).toBeLessThan(1e6);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(entry.sha256);
    expect((await readSpikingModel(path)).name).toBe(entry.network);
  });

  it.each(zooModels())('$name has an accuracy for each number of steps, and its commands', ({ timeSteps, top1, weights, training }) => {
    expect(top1).toHaveLength(timeSteps.length);
    expect(top1.every((value) => value > 0.5 && value < 1)).toBe(true);
    expect(training.length).toBeGreaterThan(1);
    expect(/ --weights (\w+) /.exec(training.at(-1)!)?.[1] ?? 'int8').toBe(weights);
    expect(training.every((command) => command.startsWith('noisefloor '))).toBe(true);
  });

  it('answers an unknown name with those it has', () => {
    expect(() => findZooModel('resnet-99')).toThrow('Unknown model "resnet-99". Should be one of: mnist, cifar10-resnet20, cifar10-resnet18, cifar10-resnet18-t1, cifar10-resnet18-sparse.');
  });
});

describe('a model that is not in the package', () => {
  it('is fetched once, and again where the cached file is damaged', async () => {
    const seen: number[] = [];
    const path = await fetchFar({ onProgress: (done: number) => seen.push(done) });
    expect(await readFile(path)).toEqual(content);
    expect(seen.at(-1)).toBe(content.length);
    expect(await fetchFar()).toBe(path);
    expect(ranges).toEqual([undefined]);
    await writeFile(path, randomBytes(content.length));
    await fetchFar();
    expect(await readFile(path)).toEqual(content);
    expect(await readdir(cache)).toEqual(['far.safetensors']);
  });

  it('goes on where a cut connection ended', async () => {
    answer = cut;
    await expect(fetchFar()).rejects.toMatchObject({ code: 'IO', message: expect.stringMatching(/cut after \d+ of 300000 bytes/) as string });
    const { size } = statSync(join(cache, 'far.safetensors.part'));
    expect(size).toBe(150_000);
    answer = whole;
    expect(await readFile(await fetchFar())).toEqual(content);
    expect(ranges).toEqual([undefined, `bytes=${size}-`]);
  });

  it('starts over where the server does not know ranges, or refuses this one', async () => {
    const part = join(cache, 'far.safetensors.part');
    await writeFile(part, content.subarray(0, 1000));
    answer = (_, response) => response.writeHead(200).end(content);
    expect(await readFile(await fetchFar())).toEqual(content);
    await rm(join(cache, 'far.safetensors'));
    await writeFile(part, content.subarray(0, 1000));
    answer = (request, response) => (request.headers.range === undefined ? whole(request, response) : response.writeHead(416).end());
    expect(await readFile(await fetchFar())).toEqual(content);
  });

  it('is refused with a wrong checksum or length, and nothing is kept', async () => {
    for (const body of [randomBytes(content.length), Buffer.concat([content, content])]) {
      answer = (_, response) => response.writeHead(200).end(body);
      await expect(fetchFar()).rejects.toMatchObject({ code: 'INVALID_FILE' });
      expect(await readdir(cache)).toEqual([]);
    }
  });

  it('takes a shorter answer for a cut, and a wrong beginning for damage', async () => {
    answer = (_, response) => response.writeHead(200).end(content.subarray(0, 10));
    await expect(fetchFar()).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('ended after 10 of 300000') as string });
    await writeFile(join(cache, 'far.safetensors.part'), randomBytes(10));
    answer = whole;
    await expect(fetchFar()).rejects.toMatchObject({ code: 'INVALID_FILE' });
    expect(await readFile(await fetchFar())).toEqual(content);
  });

  it('says what the server answered, and where to put the file without a network', async () => {
    answer = (_, response) => response.writeHead(404).end();
    await expect(fetchFar()).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('answered 404 Not Found') as string });
    const offline = fetchFar({ baseUrl: 'http://127.0.0.1:9/none' });
    await expect(offline).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(/Could not reach .*127\.0\.0\.1:9.*copy its file to .*far\.safetensors$/) as string,
    });
  });

  it('can be given up, and goes on later', async () => {
    const controller = new AbortController();
    answer = (_, response) => void response.writeHead(200).write(content.subarray(0, 5000), () => setTimeout(() => controller.abort(), 50));
    await expect(fetchFar({ signal: controller.signal })).rejects.toMatchObject({ code: 'ABORTED' });
    answer = whole;
    expect(await readFile(await fetchFar())).toEqual(content);
  });
});

describe('the cache', () => {
  it('lies where the system keeps such things', () => {
    expect(cacheFolder({ NOISEFLOOR_CACHE: '/c' }, 'linux')).toBe('/c');
    expect(cacheFolder({ XDG_CACHE_HOME: '/x' }, 'linux')).toBe(join('/x', 'noisefloor'));
    expect(cacheFolder({ LOCALAPPDATA: '/l' }, 'win32')).toBe(join('/l', 'noisefloor'));
    expect(cacheFolder({}, 'linux')).toBe(join(homedir(), '.cache', 'noisefloor'));
  });
});

describe('on the command line', () => {
  it('lists the models, for people and as JSON', async () => {
    const listed = await cli(['models']);
    expect(listed).toMatchObject({ code: 0, stderr: '' });
    for (const { name, training } of zooModels()) for (const text of [name, ...training]) expect(listed.stdout).toContain(text);
    const { models } = JSON.parse((await cli(['models', '--json'])).stdout) as { models: (ZooModel & { where: string })[] };
    expect(models.slice(0, 2).map(({ name, where }) => [name, where])).toEqual([['mnist', 'package'], ['cifar10-resnet20', 'package']]);
  });

  it('takes a name where a model file is asked for', async () => {
    const { stdout, code } = await cli(['inspect', 'cifar10-resnet20', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'resnet20', bytes: 309488 });
    const unknown = await cli(['inspect', 'resnet-99']);
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('Give a path, or one of: mnist, cifar10-resnet20, cifar10-resnet18, cifar10-resnet18-t1, cifar10-resnet18-sparse.') as string });
  });

  it('predicts with --model or with the model first, and wants a picture', async () => {
    const picture = join(cache, 'red.png');
    const { default: sharp } = await import('sharp');
    await sharp({ create: { width: 40, height: 32, channels: 3, background: '#a02020' } }).png().toFile(picture);
    const [named, first] = [await cli(['predict', '--model', 'cifar10-resnet20', picture, '--json']), await cli(['predict', 'cifar10-resnet20', picture, '--json'])];
    expect(named).toMatchObject({ code: 0 });
    expect(named.stdout).toBe(first.stdout);
    const { predictions } = JSON.parse(named.stdout) as { predictions: { classes: unknown[] }[] };
    expect(predictions[0]!.classes).toHaveLength(5);
    for (const argv of [['predict'], ['predict', 'cifar10-resnet20'], ['predict', '--model', 'cifar10-resnet20']]) {
      expect(await cli(argv)).toMatchObject({ code: 2, stderr: expect.stringContaining('at least one picture') as string });
    }
  });
});
