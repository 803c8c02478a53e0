import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { NoisefloorError } from '../errors.js';

/** What a file must be. */
export interface Expected {
  readonly bytes: number;
  readonly sha256: string;
}

export interface DownloadOptions {
  readonly signal?: AbortSignal;
  /** Bytes there, of those wanted. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Fetches a file over HTTP to `path`, whole and checked or not at all. What a cut connection leaves is kept as
 * `path.part`, and the next call asks the server for the rest of it.
 *
 * @throws NoisefloorError IO: no connection, a refusal, a cut; INVALID_FILE: not the file wanted, and nothing of it is kept
 */
export async function download(url: string, path: string, expected: Expected, options: DownloadOptions = {}): Promise<void> {
  const part = `${path}.part`;
  await mkdir(dirname(path), { recursive: true }).catch((error: Error) => fail('IO', `Could not make ${dirname(path)}: ${error.message}`, error));
  if ((await sizeOf(part)) >= expected.bytes) await rm(part, { force: true });
  await fetchRest(url, part, expected, options);
  if (!(await isFile(part, expected))) {
    await rm(part, { force: true });
    fail('INVALID_FILE', `${url} is not the file that this release knows (its SHA-256 is not ${expected.sha256}). Nothing was kept: check the address.`);
  }
  await rename(part, path);
}

/** Whether `path` is there and is the file expected. */
export async function isFile(path: string, { bytes, sha256 }: Expected): Promise<boolean> {
  if ((await sizeOf(path)) !== bytes) return false;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex') === sha256;
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

async function fetchRest(url: string, part: string, expected: Expected, { signal, onProgress }: DownloadOptions): Promise<void> {
  const before = await sizeOf(part);
  const response = await request(url, before, signal);
  let done = response.status === 206 ? before : 0;
  const file = await open(part, done === 0 ? 'w' : 'a');
  try {
    for await (const chunk of response.body!) {
      done += (chunk as Uint8Array).length;
      if (done > expected.bytes) break; // the check of the whole refuses it
      await file.writeFile(chunk as Uint8Array);
      onProgress?.(done, expected.bytes);
    }
  } catch (error) {
    interrupted(error, signal, `The connection to ${url} was cut after ${done} of ${expected.bytes} bytes. Run it again: it goes on from there.`);
  } finally {
    await file.close();
  }
  if (done > expected.bytes) {
    await rm(part, { force: true });
    fail('INVALID_FILE', `${url} is longer than the ${expected.bytes} bytes that this release knows. Nothing was kept: check the address.`);
  }
  if (done < expected.bytes) fail('IO', `${url} ended after ${done} of ${expected.bytes} bytes. Run it again: it goes on from there.`);
}

async function request(url: string, from: number, signal: AbortSignal | undefined): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { ...(from > 0 && { headers: { range: `bytes=${from}-` } }), ...(signal && { signal }) });
  } catch (error) {
    interrupted(error, signal, `Could not reach ${url} (${reason(error)}).`);
  }
  const starts = response.headers.get('content-range')?.startsWith(`bytes ${from}-`) ?? false;
  if (response.status === 200 || (response.status === 206 && starts)) return response;
  await response.body?.cancel();
  // The server does not have the rest of what is here, or sent another part: from the beginning.
  if (from > 0 && (response.status === 206 || response.status === 416)) return request(url, 0, signal);
  fail('IO', `${url} answered ${response.status} ${response.statusText}: check the address.`);
}

function interrupted(error: unknown, signal: AbortSignal | undefined, message: string): never {
  if (signal?.aborted) fail('ABORTED', 'The download goes on when it is run again.', error);
  fail('IO', message, error);
}

/** `fetch failed` says nothing; its cause does. */
function reason(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message !== '' ? cause.message : ((cause as NodeJS.ErrnoException | undefined)?.code ?? message);
}

function fail(code: 'IO' | 'INVALID_FILE' | 'ABORTED', message: string, cause?: unknown): never {
  throw new NoisefloorError(code, message, { cause });
}
