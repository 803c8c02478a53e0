import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get, type RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IncomingMessage } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { spikingSource } from '../src/serve/modelSource.js';
import { serve } from '../src/serve/serve.js';
import { selfSigned } from './support/certificate.js';
import { cli } from './support/cliFixture.js';
import { ask, smallModelBytes } from './support/serveFixture.js';

let folder: string;
const file = (name: string) => join(folder, name);
const [own, other] = [selfSigned(), selfSigned()];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-tls-'));
  await writeFile(file('small.safetensors'), smallModelBytes());
  await writeFile(file('cert.pem'), own.cert);
  await writeFile(file('other-key.pem'), other.key);
  await writeFile(file('text.pem'), 'not a key\n');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function status(url: string, options: RequestOptions): Promise<number> {
  const [answer] = (await once(get(url, { agent: false, ...options }), 'response')) as [IncomingMessage];
  answer.resume();
  return answer.statusCode!;
}

it('serves HTTPS alone, with the certificate that it was given', async () => {
  await using server = await serve([spikingSource(file('small.safetensors'))], { port: 0, threads: 1, tls: own, drainDelay: 0 });
  expect(server.url).toMatch(/^https:/);
  const url = `${server.url}/v2/models/small`;
  expect(await status(url, { ca: own.cert })).toBe(200);
  await expect(status(url, {})).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
  await expect(status(url, { ca: other.cert })).rejects.toMatchObject({ code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO_VERIFY/) as string });
  await expect(ask(url.replace('https:', 'http:'))).rejects.toThrow(/socket hang up|ECONNRESET/);
});

it('refuses certificates and keys that cannot be used', async () => {
  const error = async (cert: string, key: string) => (await cli(['serve', file('small.safetensors'), '--port', '0', '--tls-cert', file(cert), '--tls-key', file(key)])).stderr;
  expect(await error('cert.pem', 'other-key.pem')).toMatch(/The certificate and the private key cannot be used: .*mismatch.*Give two PEM files that belong together/);
  expect(await error('cert.pem', 'text.pem')).toContain('The certificate and the private key cannot be used');
  expect(await error('text.pem', 'other-key.pem')).toContain('The certificate and the private key cannot be used');
  expect(await error('cert.pem', 'none.pem')).toContain('No private key at');
});
