import type { FastifyInstance, FastifyServerOptions } from 'fastify';
import { packageVersion } from '../../report/machine.js';
import type { Metrics } from '../metrics.js';
import { optional } from '../optional.js';
import type { InferenceService } from '../service.js';
import type { ServerContext } from './context.js';
import { errorAnswer } from './errors.js';
import { addGuards, type ServerState } from './guards.js';
import type { ServerConfig } from './options.js';
import { addPageRoutes } from './pageRoutes.js';
import { addPictureRoutes } from './pictureRoutes.js';
import { addProtocolRoutes } from './protocolRoutes.js';
import { addRepositoryRoutes } from './repositoryRoutes.js';

/** The Fastify application over a service; it listens nowhere yet. */
export async function buildApp(service: InferenceService, metrics: Metrics, config: ServerConfig): Promise<ServerContext> {
  const { fastify } = await optional('fastify', () => import('fastify'));
  const multipart = await optional('@fastify/multipart', () => import('@fastify/multipart'));
  const swagger = await optional('@fastify/swagger', () => import('@fastify/swagger'));
  const app = fastify(fastifyOptions(config)) as unknown as FastifyInstance;
  const state: ServerState = { draining: false };
  const context: ServerContext = { app, service, metrics, config, state };
  app.server.maxConnections = config.connections;
  // The schemas document: the routes check input themselves, and answer with whole bodies.
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.decorateRequest('served', '');
  app.removeAllContentTypeParsers();
  // curl -d and tritonclient send the protocol's JSON under various types.
  const takeBytes = (scope: FastifyInstance) => scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
  takeBytes(app);
  addGuards(app, config, state);
  addErrors(app, config);
  addMeasuring(app, metrics);
  await app.register(swagger.default, {
    openapi: { info: { title: 'noisefloor', description: 'Spiking neural networks: Open Inference Protocol v2 and pictures.', version: packageVersion() } },
  });
  addProtocolRoutes(context);
  addRepositoryRoutes(context);
  addPageRoutes(context);
  await app.register(async (scope) => {
    await scope.register(multipart.default, { limits: { files: 1, fields: 0, parts: 1, fileSize: config.bodyLimit } });
    addPictureRoutes(scope, context);
  });
  await app.ready();
  return context;
}

function fastifyOptions({ bodyLimit, requestTimeout, tls }: ServerConfig): FastifyServerOptions {
  const http = { headersTimeout: Math.min(requestTimeout, 10_000), connectionsCheckingInterval: Math.max(100, Math.min(requestTimeout / 4, 2000)) };
  const options = {
    bodyLimit,
    requestTimeout,
    keepAliveTimeout: 72_000,
    exposeHeadRoutes: false,
    // Draining is for RunningServer and the guards.
    forceCloseConnections: false,
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 100 },
    ...(tls ? { https: { ...http, ...tls } } : { http }),
  };
  return options;
}

function addErrors(app: FastifyInstance, { log }: ServerConfig): void {
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const { status, body, retryAfter } = errorAnswer(error);
    if (status === 500) log(`${request.method} ${request.routeOptions.url ?? '?'}: ${error.stack ?? error.message}`);
    if (retryAfter !== undefined) reply.header('retry-after', retryAfter);
    if (status === 401) reply.header('www-authenticate', 'Bearer');
    return reply.code(status).send(body);
  });
  app.setNotFoundHandler((_, reply) => reply.code(404).send({ error: 'No such endpoint: /openapi.json lists what there is.' }));
}

function addMeasuring(app: FastifyInstance, metrics: Metrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unknown';
    metrics.requests.inc({ route, status: String(reply.statusCode) });
    if (request.served !== '') metrics.requestSeconds.observe({ route, model: request.served }, reply.elapsedTime / 1000);
    done();
  });
}
