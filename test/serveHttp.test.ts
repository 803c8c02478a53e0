import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { normalizeImages } from '../src/data/batches.js';
import { logitsFromPotentials } from '../src/evaluate/logits.js';
import { spikingSource } from '../src/serve/modelSource.js';
import { serve, type RunningServer, type ServeOptions } from '../src/serve/serve.js';
import { decodeSpikingModel } from '../src/snn/file.js';
import { simulate } from '../src/snn/reference.js';
import { ask, smallModelBytes } from './support/serveFixture.js';

let folder: string;
let path: string;
let server: RunningServer;
const log: string[] = [];

function start(options: ServeOptions = {}): Promise<RunningServer> {
  return serve([spikingSource(`small=${path}`)], { port: 0, threads: 1, drainDelay: 0, log: (line) => log.push(line), ...options });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-http-'));
  path = join(folder, 'small.safetensors');
  await writeFile(path, smallModelBytes());
  server = await start({ control: true });
});
afterAll(async () => {
  await server.drain();
  await rm(folder, { recursive: true, force: true });
});

const model = decodeSpikingModel(smallModelBytes(), 'test');
const pixels = Float32Array.of(0.3, -0.2, 0.9, 1.4);
const expected = (images: Float32Array, timeSteps: number) => {
  const result = simulate(model, images, images.length / 4, { timeSteps });
  return [...Float32Array.from(logitsFromPotentials(result, model, timeSteps))];
};
const tensor = { name: 'input', shape: [1, 1, 2, 2], datatype: 'FP32', data: [...pixels] };
const infer = (body: object | string | Uint8Array, headers: Record<string, string> = {}) =>
  ask(`${server.url}/v2/models/small/infer`, { body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body), headers });

/** JSON and tensors behind it. */
function binary(request: object, ...tensors: ArrayBufferView[]) {
  const json = Buffer.from(JSON.stringify(request));
  const parts = tensors.map((one) => Buffer.from(one.buffer as ArrayBuffer, one.byteOffset, one.byteLength));
  return { body: Buffer.concat([json, ...parts]), headers: { 'inference-header-content-length': String(json.length) } };
}

describe('the protocol', () => {
  it('tells about server and models', async () => {
    expect((await ask(`${server.url}/v2`)).json()).toMatchObject({ name: 'noisefloor', extensions: ['binary_tensor_data', 'classification', 'model_repository', 'parameters'] });
    expect((await ask(`${server.url}/v2/health/live`)).json()).toEqual({ live: true });
    expect((await ask(`${server.url}/v2/health/ready`)).json()).toEqual({ ready: true });
    expect((await ask(`${server.url}/v2/models/small/ready`)).json()).toEqual({ name: 'small', ready: true });
    const about = (await ask(`${server.url}/v2/models/small/versions/1`)).json();
    expect(about).toMatchObject({
      name: 'small',
      versions: ['1'],
      platform: 'noisefloor_spiking',
      inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 1, 2, 2] }],
      labels: ['a', 'b', 'c'],
    });
    expect(about.outputs[0]).toEqual({ name: 'logits', datatype: 'FP32', shape: [-1, 3] });
    for (const at of ['models/none', 'models/small/versions/9', 'models/none/ready', 'nothing']) {
      const answer = await ask(`${server.url}/v2/${at}`);
      expect([at, answer.status, typeof answer.json().error]).toEqual([at, 404, 'string']);
    }
  });

  it('infers from JSON, flat or nested, normalised or pixels', async () => {
    const answer = await infer({ id: 'x1', inputs: [tensor], parameters: { time_steps: 3 } });
    expect(answer.json()).toEqual({
      id: 'x1',
      model_name: 'small',
      model_version: '1',
      outputs: [
        { name: 'logits', datatype: 'FP32', shape: [1, 3], data: expected(pixels, 3) },
        { name: 'steps', datatype: 'INT32', shape: [1], data: [3] },
      ],
    });
    const nested = await infer({ inputs: [{ ...tensor, data: [[[[pixels[0], pixels[1]], [pixels[2], pixels[3]]]]] }] });
    expect(nested.json().outputs[0]!.data).toEqual(expected(pixels, 4));
    const bytes = [0, 80, 160, 255];
    const images = normalizeImages(Uint8Array.from(bytes), model.input.normalization, model.input.shape);
    const fromPixels = await infer({ inputs: [{ ...tensor, datatype: 'UINT8', data: bytes }] });
    expect(fromPixels.json().outputs[0]!.data).toEqual(expected(images, 4));
  });

  it('infers from and to bytes', async () => {
    const two = Float32Array.of(...pixels, 0, 0, 1, 1);
    const input = { name: 'input', shape: [2, 1, 2, 2], datatype: 'FP32', parameters: { binary_data_size: 32 } };
    const outputs = [{ name: 'top_label', parameters: { binary_data: true } }, { name: 'logits' }];
    const { body, headers } = binary({ inputs: [input], outputs, parameters: { top_k: 1, binary_data_output: false } }, two);
    const answer = await infer(body, headers);
    const length = Number(answer.headers['inference-header-content-length']);
    const json = JSON.parse(answer.body.subarray(0, length).toString()) as { outputs: object[] };
    const logits = expected(two, 4);
    expect(answer.headers['content-type']).toBe('application/octet-stream');
    expect(json.outputs).toEqual([
      { name: 'top_label', datatype: 'BYTES', shape: [2, 1], parameters: { binary_data_size: 10 } },
      { name: 'logits', datatype: 'FP32', shape: [2, 3], data: logits },
    ]);
    const label = (n: number) => 'abc'[logits.indexOf(Math.max(...logits.slice(3 * n, 3 * n + 3)), 3 * n) - 3 * n]!;
    expect([...answer.body.subarray(length)]).toEqual([label(0), label(1)].flatMap((text) => [1, 0, 0, 0, text.charCodeAt(0)]));
    const raw = await infer(Buffer.from(pixels.buffer), { 'inference-header-content-length': '0' });
    const rest = raw.body.subarray(Number(raw.headers['inference-header-content-length']));
    expect([...new Float32Array(Uint8Array.from(rest.subarray(0, 12)).buffer)]).toEqual(expected(pixels, 4));
    expect(rest.readInt32LE(12)).toBe(4);
    const packed = await infer(gzipSync(JSON.stringify({ inputs: [tensor] })), { 'content-encoding': 'gzip' });
    expect(packed.json().outputs[0]!.data).toEqual(expected(pixels, 4));
  });

  it('leaves early, names classes, and speaks of classification as Triton does', async () => {
    const early = (await infer({ inputs: [tensor], parameters: { time_steps: 4, early_exit: 0, exit_measure: 'margin', top_k: 2 } })).json();
    expect(early.outputs.map(({ name }) => name)).toEqual(['logits', 'steps', 'top_index', 'top_label', 'top_probability']);
    expect(early.outputs[1]!.data).toEqual([1]);
    expect(early.outputs[0]!.data).toEqual(expected(pixels, 1));
    const classified = (await infer({ inputs: [tensor], outputs: [{ name: 'logits', parameters: { classification: 1 } }] })).json();
    const logits = expected(pixels, 4);
    const best = logits.indexOf(Math.max(...logits));
    expect(classified.outputs[0]).toEqual({ name: 'logits', datatype: 'BYTES', shape: [1, 1], data: [`${logits[best]!.toFixed(6)}:${best}:${'abc'[best]}`] });
  });

  const wrong: [name: string, body: object | string, error: string][] = [
    ['no JSON', '{', 'The request is not JSON'],
    ['a list', '[]', 'Expected an object for the request but received [].'],
    ['no inputs', {}, 'Expected a list for inputs'],
    ['two inputs', { inputs: [tensor, tensor] }, 'Expected one input, "input", but received 2.'],
    ['another name', { inputs: [{ ...tensor, name: 'x' }] }, 'Expected "input" for inputs[0].name'],
    ['another type', { inputs: [{ ...tensor, datatype: 'FP16' }] }, 'Expected one of FP32, UINT8 for inputs[0].datatype'],
    ['another shape', { inputs: [{ ...tensor, shape: [1, 4] }] }, 'Expected [N, 1, 2, 2] for inputs[0].shape'],
    ['too many images', { inputs: [{ ...tensor, shape: [1e9, 1, 2, 2] }] }, 'A request may have at most 256 images but this one has 1000000000'],
    ['too few numbers', { inputs: [{ ...tensor, data: [1] }] }, 'Expected 4 numbers, as the shape [1, 1, 2, 2] says'],
    ['a string', { inputs: [{ ...tensor, data: [1, 2, 3, 'x'] }] }, 'Expected a number for element 3 of inputs[0].data but received "x".'],
    ['ragged lists', { inputs: [{ ...tensor, data: [[[[1, 2], [3]]]] }] }, 'Expected 2 elements for a list of inputs[0].data at depth 4'],
    ['pixels that are none', { inputs: [{ ...tensor, datatype: 'UINT8', data: [0, 1, 2, 256] }] }, 'Expected a whole number from 0 to 255 for element 3'],
    ['bytes without the header', { inputs: [{ ...tensor, parameters: { binary_data_size: 16 } }] }, 'send the header Inference-Header-Content-Length'],
    ['an unknown parameter', { inputs: [tensor], parameters: { steps: 1 } }, 'Unknown parameter "steps". Should be one of: time_steps,'],
    ['no steps', { inputs: [tensor], parameters: { time_steps: 0 } }, 'Expected a whole number from 1 to 1024 for time_steps'],
    ['chunks that do not add up', { inputs: [tensor], parameters: { time_steps: 4, early_exit: 1, exit_chunks: '1,2' } }, 'The chunks [1, 2] are 3 time steps'],
    ['an unknown output', { inputs: [tensor], outputs: [{ name: 'y' }] }, 'Expected one of logits, steps, top_index, top_label, top_probability'],
    ['too many classes', { inputs: [tensor], parameters: { top_k: 4 } }, 'Expected a whole number from 1 to 3 for top_k'],
  ];
  it.each(wrong)('refuses %s', async (_, body, error) => {
    const answer = await infer(body);
    expect(answer.status).toBe(400);
    expect(answer.json().error).toContain(error);
  });

  it('refuses binary requests that do not add up', async () => {
    const input = { name: 'input', shape: [1, 1, 2, 2], datatype: 'FP32', parameters: { binary_data_size: 12 } };
    const short = binary({ inputs: [input] }, pixels);
    expect((await infer(short.body, short.headers)).json().error).toContain('Expected 16, the bytes behind the JSON for inputs[0].parameters.binary_data_size');
    expect((await infer(short.body, { 'inference-header-content-length': '99999' })).json().error).toContain('Inference-Header-Content-Length is "99999"');
    expect((await infer(Buffer.alloc(15), { 'inference-header-content-length': '0' })).json().error).toContain('a positive multiple of 16 bytes');
    const nan = binary({ inputs: [{ ...input, parameters: { binary_data_size: 16 } }] }, Float32Array.of(0, Number.NaN, 0, 0));
    expect((await infer(nan.body, nan.headers)).json().error).toBe('Image 0 has a pixel that is NaN: send numbers.');
    expect((await infer('x', { 'content-encoding': 'br' })).status).toBe(415);
    expect((await infer('x', { 'content-encoding': 'gzip' })).status).toBe(400);
  });

  it('survives whatever is sent', async () => {
    const bodies = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map((text) => Buffer.from(text)), fc.object().map((one) => Buffer.from(JSON.stringify({ inputs: [{ ...tensor, ...one }], ...one }))));
    await fc.assert(
      fc.asyncProperty(bodies, fc.option(fc.nat(220), { nil: undefined }), async (body, header) => {
        const answer = await infer(body, header === undefined ? {} : { 'inference-header-content-length': String(header) });
        if (answer.status !== 200) expect([answer.status, typeof answer.json().error]).toEqual([400, 'string']);
      }),
      { numRuns: 150 },
    );
    expect((await infer({ inputs: [tensor] })).status).toBe(200);
  });
});

describe('the repository', () => {
  const post = (at: string, body = '') => ask(`${server.url}/v2/repository/${at}`, { body });

  it('lists, unloads and loads', async () => {
    expect((await post('index')).json()).toEqual([{ name: 'small', version: '1', state: 'READY', reason: '' }]);
    expect((await post('models/small/unload')).status).toBe(200);
    expect((await post('index', '{"ready":true}')).json()).toEqual([]);
    expect((await post('index')).json()).toEqual([{ name: 'small', version: '', state: 'UNAVAILABLE', reason: 'unloaded' }]);
    expect((await ask(`${server.url}/v2/health/ready`)).status).toBe(503);
    const refused = await infer({ inputs: [tensor] });
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '1']);
    await writeFile(path, 'garbage');
    const failed = await post('models/small/load');
    expect([failed.status, failed.json().error]).toEqual([400, expect.stringContaining('small.safetensors')]);
    await writeFile(path, smallModelBytes());
    expect((await post('models/small/load')).status).toBe(200);
    expect((await infer({ inputs: [tensor] })).json().model_version).toBe('2');
    expect(log.some((line) => line.startsWith('small: not loaded:'))).toBe(true);
  });

  it('opens no file that a client names', async () => {
    const config = JSON.stringify({ parameters: { 'file:1/model.safetensors': 'AAAA' } });
    expect((await post('models/small/load', config)).json().error).toContain('is not supported');
    for (const name of ['..%2F..%2Fetc%2Fpasswd', '%2Fetc%2Fpasswd']) {
      expect((await post(`models/${name}/load`)).status).toBe(404);
      expect((await ask(`${server.url}/page/${name}`)).status).toBe(404);
    }
  });
});

describe('pictures', () => {
  const picture = (format: 'png' | 'jpeg' | 'webp' | 'gif') =>
    sharp(Buffer.from([0, 80, 160, 255]), { raw: { width: 2, height: 2, channels: 1 } }).toFormat(format, { lossless: true }).toBuffer();
  const images = normalizeImages(Uint8Array.of(0, 80, 160, 255), model.input.normalization, model.input.shape);

  it('classifies a body and a file of a form', async () => {
    const logits = expected(images, 2);
    const best = logits.indexOf(Math.max(...logits));
    const body = await picture('png');
    const plain = (await ask(`${server.url}/v1/classify?time_steps=2&top_k=1`, { body })).json();
    expect(plain).toMatchObject({ model: 'small', steps: 2, classes: [{ label: 'abc'[best], index: best, logit: logits[best] }] });
    const edge = 'edge';
    const form = Buffer.concat([Buffer.from(`--${edge}\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n`), body, Buffer.from(`\r\n--${edge}--\r\n`)]);
    const headers = { 'content-type': `multipart/form-data; boundary=${edge}` };
    expect((await ask(`${server.url}/v1/classify?time_steps=2&top_k=1`, { body: form, headers })).json()).toEqual(plain);
    for (const format of ['jpeg', 'webp'] as const) expect((await ask(`${server.url}/v1/classify`, { body: await picture(format) })).status).toBe(200);
  });

  it('traces each step', async () => {
    const trace = (await ask(`${server.url}/v1/trace?time_steps=3`, { body: await picture('png') })).json();
    expect(trace.logits).toEqual([1, 2, 3].map((steps) => expected(images, steps)));
    const { statistics } = simulate(model, images, 1, { timeSteps: 3, statistics: true });
    expect(trace.layers).toMatchObject([{ name: 'act', neurons: 8, spikes: [...statistics!.spikes[0]!] }]);
    const marks = trace.layers[0]!.raster.flat();
    expect([0, 1, 2].map((t) => marks.filter((at) => at === t).length)).toEqual(trace.layers[0]!.spikes);
  });

  it('refuses what is no picture, or too large', async () => {
    const status = async (body: Uint8Array, query = '') => (await ask(`${server.url}/v1/classify${query}`, { body })).status;
    expect(await status(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'))).toBe(415);
    expect(await status(await picture('gif'))).toBe(415);
    expect(await status((await picture('png')).subarray(0, 40))).toBe(400);
    expect(await status(await picture('png'), '?steps=1')).toBe(400);
    expect(await status(await picture('png'), '?model=other')).toBe(404);
    const bomb = await sharp({ create: { width: 6000, height: 6000, channels: 3, background: 'red' } }).png().toBuffer();
    const answer = await ask(`${server.url}/v1/classify`, { body: bomb });
    expect([answer.status, answer.json().error]).toEqual([400, 'The picture has 6000 x 6000 pixels: send one of at most 25000000 in all.']);
    expect((await ask(`${server.url}/v1/classify`, { method: 'POST' })).status).toBe(400);
  });
});

describe('the server', () => {
  it('documents itself, counts, and has a page', async () => {
    const { paths } = (await ask(`${server.url}/openapi.json`)).json() ;
    expect(Object.keys(paths)).toEqual(expect.arrayContaining(['/v2/models/{name}/infer', '/v2/models/{name}/versions/{version}/infer', '/v1/classify', '/metrics']));
    const metrics = (await ask(`${server.url}/metrics`)).body.toString();
    expect(metrics).toMatch(/noisefloor_images_total\{model="small"\} [1-9]/);
    expect(metrics).toMatch(/noisefloor_sampled_synaptic_operations_total\{model="small"\} [1-9]/);
    expect(metrics).toMatch(/noisefloor_request_seconds_bucket\{le="0.01",route="\/v2\/models\/:name\/infer",model="small"\} \d/);
    expect(metrics).toContain('noisefloor_queue_images{model="small"} 0');
    const page = await ask(`${server.url}/`);
    expect([page.headers['content-type'], page.headers['content-security-policy']]).toEqual(['text/html; charset=utf-8', expect.stringContaining("script-src 'self'")]);
  });

  it('asks for a key where one is set, except for health and the page', async () => {
    await using guarded = await start({ apiKeys: ['0123456789abcdef'] });
    const status = async (at: string, headers: Record<string, string> = {}) => (await ask(`${guarded.url}${at}`, { headers })).status;
    expect(await Promise.all(['/', '/page/page.js', '/v2/health/live', '/v2/health/ready'].map((at) => status(at)))).toEqual([200, 200, 200, 200]);
    expect(await Promise.all(['/v2', '/metrics', '/v2/models/small', '/openapi.json'].map((at) => status(at)))).toEqual([401, 401, 401, 401]);
    expect(await status('/v2', { authorization: 'Bearer 0123456789abcdeF' })).toBe(401);
    expect(await status('/v2', { authorization: 'Bearer 0123456789abcdef' })).toBe(200);
    expect(await status('/v2', { 'x-api-key': '0123456789abcdef' })).toBe(200);
    await expect(start({ apiKeys: ['short'] })).rejects.toThrow('keys of at least 16 characters');
  });

  it('refuses control unless it was allowed, pages of other sites, and large bodies', async () => {
    await using plain = await start({ bodyLimit: 1000, memoryLimit: 1500 });
    const load = `${plain.url}/v2/repository/models/small/load`;
    expect((await ask(load, { body: '' })).status).toBe(403);
    expect((await ask(load, { body: '', headers: { origin: 'http://evil.example' } })).json().error).toBe('Requests from pages of other sites are refused.');
    const at = `${plain.url}/v2/models/small/infer`;
    expect((await ask(at, { body: 'x'.repeat(1001) })).status).toBe(413);
    expect((await ask(at, { body: gzipSync(Buffer.alloc(100_000)), headers: { 'content-encoding': 'gzip' } })).status).toBe(413);
    const held = createConnection(Number(new URL(plain.url).port), '127.0.0.1');
    held.on('error', () => undefined);
    held.write(`POST /v2/models/small/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await ask(at, { body: 'x'.repeat(600) })).status).toBe(503);
    held.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await ask(at, { body: 'x'.repeat(600) })).status).toBe(400);
  });

  it('hangs up on a client that sends too slowly', async () => {
    await using hasty = await start({ requestTimeout: 200 });
    const slow = createConnection(Number(new URL(hasty.url).port), '127.0.0.1');
    slow.write('POST /v2/models/small/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{');
    let said = '';
    slow.on('data', (data: Buffer) => (said += data.toString()));
    slow.on('error', () => undefined);
    await new Promise((resolve) => slow.on('close', resolve));
    expect(said).toContain('408');
    expect((await ask(`${hasty.url}/v2/health/live`)).status).toBe(200);
  });

  it('picks up a changed file, and keeps what it has where the file is garbage', async () => {
    const own = join(folder, 'polled.safetensors');
    await writeFile(own, smallModelBytes());
    const lines: string[] = [];
    const until = async (text: string) => {
      while (!lines.some((line) => line.includes(text))) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await using polled = await serve([spikingSource(own)], { port: 0, threads: 1, drainDelay: 0, poll: 10, log: (line) => lines.push(line) });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await writeFile(own, 'garbage, and no model');
    await until('version 1 stays, since the files could not be loaded');
    const versions = async () => (await ask(`${polled.url}/v2/models/polled`)).json().versions;
    expect(await versions()).toEqual(['1']);
    expect((await ask(`${polled.url}/metrics`)).body.toString()).toMatch(/noisefloor_load_failures_total\{model="polled"\} [1-9]/);
    await writeFile(own, smallModelBytes(3));
    await until('version 2 is loaded');
    expect(await versions()).toEqual(['2']);
  });

  it('answers what it took on before it ends, and refuses the rest', async () => {
    const stopping = await start({ drainDelay: 150 });
    const at = `${stopping.url}/v2/models/small/infer`;
    const body = JSON.stringify({ inputs: [tensor], parameters: { time_steps: 4 } });
    const early = Promise.all(Array.from({ length: 20 }, () => ask(at, { body })));
    expect((await early).map(({ status }) => status)).toEqual(Array<number>(20).fill(200));
    const ended = stopping.drain();
    const late = await ask(at, { body });
    expect([late.status, late.headers['retry-after'], late.headers.connection]).toEqual([503, '1', 'close']);
    expect((await ask(`${stopping.url}/v2/health/ready`)).status).toBe(503);
    await ended;
    await expect(ask(at, { body })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('resets nobody who keeps coming back while it ends', async () => {
    const stopping = await start({ drainDelay: 100 });
    const body = JSON.stringify({ inputs: [tensor], parameters: { time_steps: 4 } });
    const answers = new Set<number>();
    const client = async (): Promise<string> => {
      for (;;) {
        const answer = await ask(`${stopping.url}/v2/models/small/infer`, { body }).catch((error: NodeJS.ErrnoException) => error);
        if (answer instanceof Error) return answer.code ?? answer.message;
        answers.add(answer.status);
      }
    };
    const clients = Promise.all(Array.from({ length: 16 }, client));
    await sleep(50);
    await stopping.drain();
    expect(new Set(await clients)).toEqual(new Set(['ECONNREFUSED']));
    expect(answers).toEqual(new Set([200, 503]));
  });

  it('says what is wrong with its options', async () => {
    await expect(start({ port: 70_000 })).rejects.toThrow('Expected whole number from 0 to 65535 for port');
    await expect(start({ host: '203.0.113.1' })).rejects.toMatchObject({ code: 'IO' });
    await expect(serve([], {})).rejects.toThrow('There is no model to serve');
    await expect(start({ queue: 0 })).rejects.toThrow('Expected whole number >= 1 for queue');
  });
});
