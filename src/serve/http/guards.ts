import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { HttpError } from './errors.js';
import type { ServerConfig } from './options.js';

/** Whether the server still takes requests. */
export interface ServerState {
  draining: boolean;
  /** While there, new requests wait for it before they are refused: nobody comes back just as the port closes. */
  closing?: Promise<void>;
}

/** Open to everybody: what balancers ask, and the page, whose script asks for the key. */
const open = /^\/(v2\/health\/(live|ready)\/?|page\/[\w.]*|)(\?|$)/;

/** Everything that is decided before the body of a request is read. */
export function addGuards(app: FastifyInstance, config: ServerConfig, state: ServerState): void {
  const accepted = config.apiKeys.map(digest);
  const bodies = new BodyBudget(config);
  app.addHook('onRequest', (_request, _reply, done) => void (state.closing ? state.closing.then(() => done(), done) : done()));
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-content-type-options', 'nosniff');
    if (state.draining && !request.url.startsWith('/v2/health/')) throw new HttpError(503, 'The server is stopping: ask another one.');
    if (request.headers.origin !== undefined && request.method !== 'GET') checkOrigin(request);
    if (accepted.length > 0 && !open.test(request.url)) checkKey(request, accepted);
    bodies.take(request);
    done();
  });
  // In place of the client it fails for: whoever resets the connection gives its bytes back too.
  app.addHook('onRequest', (request, reply, done) => {
    reply.raw.once('close', () => bodies.giveBack(request));
    done();
  });
  app.addHook('onSend', (_, reply, payload, done) => {
    if (state.draining) reply.header('connection', 'close');
    done(null, payload);
  });
}

/** Pages of other sites cannot use a visitor's browser to get here. */
function checkOrigin({ headers }: FastifyRequest): void {
  const host = URL.canParse(headers.origin!) ? new URL(headers.origin!).host : undefined;
  if (host !== headers.host) throw new HttpError(403, 'Requests from pages of other sites are refused.');
}

function checkKey({ headers }: FastifyRequest, accepted: readonly Buffer[]): void {
  const bearer = /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1];
  const given = bearer ?? headers['x-api-key'];
  const shown = typeof given === 'string' ? digest(given) : undefined;
  if (shown && accepted.some((key) => timingSafeEqual(key, shown))) return;
  throw new HttpError(401, 'An API key is needed: send "Authorization: Bearer KEY" or "X-API-Key: KEY".');
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** Bounds the bytes of all bodies that are held at one time. */
class BodyBudget {
  readonly #taken = new WeakMap<FastifyRequest, number>();
  #held = 0;

  constructor(readonly config: Pick<ServerConfig, 'bodyLimit' | 'memoryLimit'>) {}

  take(request: FastifyRequest): void {
    if (request.method !== 'POST') return;
    const announced = Number(request.headers['content-length'] ?? this.config.bodyLimit);
    const bytes = Math.min(announced, this.config.bodyLimit); // Beyond the limit the body is refused unread.
    if (this.#held + bytes > this.config.memoryLimit) throw new HttpError(503, 'Too many requests are being received: ask again later.');
    this.#held += bytes;
    this.#taken.set(request, bytes);
  }

  giveBack(request: FastifyRequest): void {
    this.#held -= this.#taken.get(request) ?? 0;
    this.#taken.delete(request);
  }
}
