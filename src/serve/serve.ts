import { stat } from 'node:fs/promises';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { NoisefloorError } from '../errors.js';
import { buildApp } from './http/app.js';
import type { ServerContext } from './http/context.js';
import { resolveServerOptions, type ServerOptions } from './http/options.js';
import { loadReported } from './http/repositoryRoutes.js';
import type { ModelSource } from './modelSource.js';
import { Metrics } from './metrics.js';
import { InferenceService, type ServiceOptions } from './service.js';
import type { ServedModel } from './servedModel.js';

/** Milliseconds without a new connection after which a draining server closes its port, and the longest wait for them. */
const [quietTime, longestWait] = [50, 1000];

export type ServeOptions = ServerOptions & Omit<ServiceOptions, 'observe'>;

/** A server that listens. */
export class RunningServer {
  #ended: Promise<void> | undefined;
  readonly #polling = new AbortController();
  /** Private: its type is Fastify's, which is optional. */
  readonly #context: ServerContext;

  private constructor(
    context: ServerContext,
    /** Such as `http://127.0.0.1:8080`. */
    readonly url: string,
  ) {
    this.#context = context;
    if (context.config.poll > 0) for (const model of this.service.models.values()) void this.#poll(model);
  }

  get service(): InferenceService {
    return this.#context.service;
  }

  /** @internal */
  static async start(sources: readonly ModelSource[], options: ServeOptions): Promise<RunningServer> {
    const config = resolveServerOptions(options);
    if (sources.length === 0) throw new NoisefloorError('INVALID_ARGUMENT', 'There is no model to serve: give at least one.');
    const metrics = await Metrics.create();
    const service = await InferenceService.create(sources, { ...pickService(options), observe: metrics.observe });
    try {
      await metrics.watch(service);
      const context = await buildApp(service, metrics, config);
      const url = await context.app.listen({ host: config.host, port: config.port }).catch((error: unknown) => {
        throw new NoisefloorError('IO', `Could not listen on ${config.host}:${config.port}: ${(error as Error).message}`, { cause: error });
      });
      return new RunningServer(context, url);
    } catch (error) {
      await service.close();
      throw error;
    }
  }

  /**
   * Ends gracefully: from now on not ready, new requests are answered 503; what was taken on is answered; then connections close.
   * Those that are left after `drainTimeout` are cut. May be called again.
   */
  drain(): Promise<void> {
    this.#ended ??= this.#drain();
    return this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  async #drain(): Promise<void> {
    const { app, config, state } = this.#context;
    state.draining = true;
    this.#polling.abort();
    await sleep(config.drainDelay);
    const closeIdle = app.server.closeIdleConnections.bind(app.server);
    // Node would reset clients that have just connected and are about to ask: they are told 503 first.
    app.server.closeIdleConnections = () => undefined;
    const sweep = setInterval(closeIdle, Math.max(50, config.drainDelay));
    const cut = setTimeout(() => app.server.closeAllConnections(), config.drainTimeout);
    await (state.closing = this.#stopListening());
    delete state.closing;
    await app.close();
    clearInterval(sweep);
    clearTimeout(cut);
    await this.service.close();
  }

  /** The kernel resets whoever waits to be accepted when a port closes: so it closes once nobody has come for a while. */
  async #stopListening(): Promise<void> {
    const { app, config } = this.#context;
    const quiet = Math.min(quietTime, config.drainDelay);
    const end = performance.now() + longestWait;
    let came = performance.now();
    app.server.on('connection', () => (came = performance.now()));
    while (performance.now() < Math.min(end, came + quiet)) {
      await sleep(quiet / 5);
      await turn(); // A busy loop may have kept somebody waiting.
    }
    app.server.close();
  }

  /** A file that is being written may be met half: it is refused, and read again once it has changed again. */
  async #poll(model: ServedModel): Promise<void> {
    const { signal } = this.#polling;
    let seen = await fileState(model);
    for (;;) {
      await sleep(this.#context.config.poll, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      const now = await fileState(model);
      if (now === seen) continue;
      seen = now;
      if (model.versions.length > 0) await loadReported(model, { ...this.#context, log: this.#context.config.log }).catch(() => undefined);
    }
  }
}

/**
 * Serves models over HTTP: Open Inference Protocol v2, pictures, metrics and a page (docs/serving.md).
 *
 * @param sources such as `spikingSource('r20.safetensors')`; the first is what `/v1/classify` uses where a request names none
 * @throws NoisefloorError INVALID_ARGUMENT (options), MISSING_DEPENDENCY, IO (the port), and as loading a model
 */
export function serve(sources: readonly ModelSource[], options: ServeOptions = {}): Promise<RunningServer> {
  return RunningServer.start(sources, options);
}

function pickService(options: ServeOptions): Omit<ServiceOptions, 'observe'> {
  const { threads, niceness, maxBatch, latencyBudget, queue, deadline } = options;
  return Object.fromEntries(Object.entries({ threads, niceness, maxBatch, latencyBudget, queue, deadline }).filter(([, value]) => value !== undefined));
}

async function fileState({ source }: ServedModel): Promise<string> {
  const files = await source.files().catch(() => []);
  const states = files.map(async ({ path, version }) => {
    const found = await stat(path).catch(() => undefined);
    return [version, found?.mtimeMs, found?.size, found?.ino].join(':');
  });
  return (await Promise.all(states)).join();
}
