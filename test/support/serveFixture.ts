import { request, type IncomingHttpHeaders } from 'node:http';
import { encodeSpikingModel } from '../../src/snn/file.js';
import type { Answers, Backend, RunSettings } from '../../src/serve/backend.js';
import type { SpikingModel } from '../../src/snn/model.js';
import { smallNetwork } from './evaluateFixture.js';

/** Bytes of the file of the small network; `bias` makes another version, which answers otherwise. */
export function smallModelBytes(bias = 0): Buffer {
  const { model } = smallNetwork();
  const readout = { ...model.layers.at(-1)!, bias: Int32Array.of(1 + bias, 0, -1) } as SpikingModel['layers'][number];
  return Buffer.concat(encodeSpikingModel({ ...model, layers: [...model.layers.slice(0, -1), readout] }));
}

export interface FakeRun {
  readonly images: Float32Array;
  readonly settings: RunSettings;
  readonly signal: AbortSignal;
  finish(): void;
  fail(error: Error): void;
}

/** A network of two pixels and one class whose logit is the first pixel; the test says when a run ends. */
export class FakeBackend implements Backend {
  readonly kind = 'spiking';
  readonly input = { shape: [1, 1, 2], normalization: { mean: [0], std: [1] } };
  readonly classes = ['only'];
  readonly smallestTimeSteps = 1;
  readonly largestTimeSteps = 8;
  readonly layers = [];
  readonly runs: FakeRun[] = [];
  disposed = false;

  run(images: Float32Array, settings: RunSettings, signal: AbortSignal): Promise<Answers> {
    return new Promise((resolve, reject) => {
      const count = images.length / 2;
      const logits = Float32Array.from({ length: count }, (_, n) => images[2 * n]!);
      const finish = () => resolve({ count, logits, steps: new Int32Array(count).fill(settings.timeSteps) });
      this.runs.push({ images, settings, signal, finish, fail: reject });
    });
  }

  dispose(): Promise<void> {
    this.disposed = true;
    return Promise.resolve();
  }
}

/** Lets what has settled have its consequences. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What the answers may have; each has some of it. */
export interface AnswerJson {
  readonly error: string;
  readonly model_version: string;
  readonly outputs: readonly { readonly name: string; readonly data: readonly unknown[] }[];
  readonly versions: readonly string[];
  readonly paths: object;
  readonly logits: readonly (readonly number[])[];
  readonly layers: readonly { readonly spikes: readonly number[]; readonly raster: readonly (readonly number[])[] }[];
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  json(): AnswerJson;
}

export interface HttpAsk {
  readonly method?: string;
  readonly body?: string | Uint8Array;
  readonly headers?: Record<string, string>;
}

/** One request on a connection of its own. */
export function ask(url: string, { method, body, headers = {} }: HttpAsk = {}): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: method ?? (body === undefined ? 'GET' : 'POST'), headers, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const all = Buffer.concat(chunks);
        resolve({ status: answer.statusCode!, headers: answer.headers, body: all, json: () => JSON.parse(all.toString()) as AnswerJson });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
