import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { HttpError } from './errors.js';

const decoders = { gzip: promisify(gunzip), deflate: promisify(inflate) } as const;

/** The body of a request as bytes, unpacked; empty without one. */
export async function bodyOf(request: FastifyRequest, bodyLimit: number): Promise<Buffer> {
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const encoding = request.headers['content-encoding'];
  if (encoding === undefined || encoding === 'identity') return body;
  const decode = encoding === 'gzip' || encoding === 'deflate' ? decoders[encoding] : undefined;
  if (!decode) throw new HttpError(415, `Content-Encoding ${JSON.stringify(encoding.slice(0, 30))} is not one of gzip, deflate, identity.`);
  try {
    return await decode(body, { maxOutputLength: bodyLimit });
  } catch (error) {
    const tooLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    if (tooLarge) throw new HttpError(413, `The body unpacks to more than ${bodyLimit} bytes.`);
    throw new HttpError(400, `The body is not ${encoding}: ${(error as Error).message}.`);
  }
}

/** Fires when the client goes away before it is answered. */
export function clientSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}
