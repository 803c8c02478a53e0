import type { FastifyReply, FastifyRequest } from 'fastify';
import { readInferRequest } from '../protocol/inferRequest.js';
import { encodeInferResponse, type EncodedResponse } from '../protocol/inferResponse.js';
import { modelMetadata, serverMetadata } from '../protocol/metadata.js';
import { findVersion } from '../servedModel.js';
import { bodyOf, clientSignal } from './body.js';
import type { ServerContext } from './context.js';
import { schemas } from './schemas.js';

type ModelRequest = FastifyRequest<{ Params: { name: string; version?: string } }>;

/** The Open Inference Protocol v2. */
export function addProtocolRoutes({ app, service, config, state }: ServerContext): void {
  app.get('/v2', { schema: schemas.server }, () => serverMetadata());
  app.get('/v2/health/live', { schema: schemas.live }, () => ({ live: true }));
  app.get('/v2/health/ready', { schema: schemas.ready }, (_, reply) => {
    const ready = !state.draining && [...service.models.values()].every(({ versions }) => versions.length > 0);
    return reply.code(ready ? 200 : 503).send({ ready });
  });
  const metadata = ({ params }: ModelRequest) => {
    const model = service.model(params.name);
    return modelMetadata(model, findVersion(model, params.version).batcher.backend);
  };
  const ready = ({ params }: ModelRequest, reply: FastifyReply) => {
    const model = service.model(params.name);
    const loaded = model.versions.length > 0 && findVersion(model, params.version) !== undefined;
    return reply.code(loaded && !state.draining ? 200 : 503).send({ name: model.name, ready: loaded && !state.draining });
  };
  const infer = async (request: ModelRequest, reply: FastifyReply) => sendTensors(reply, await answerInfer(request, reply));
  for (const at of ['/v2/models/:name', '/v2/models/:name/versions/:version']) {
    app.get(at, { schema: schemas.model(at) }, metadata);
    app.get(`${at}/ready`, { schema: schemas.modelReady(at) }, ready);
    app.post(`${at}/infer`, { schema: schemas.infer(at) }, infer);
  }

  async function answerInfer(request: ModelRequest, reply: FastifyReply): Promise<EncodedResponse> {
    const signal = clientSignal(reply);
    const body = await bodyOf(request, config.bodyLimit);
    const { name, version } = request.params;
    return service.use(name, version, async (loaded) => {
      request.served = name;
      const { backend } = loaded.batcher;
      const header = request.headers['inference-header-content-length'];
      const asked = readInferRequest(body, header?.toString(), { backend, timeSteps: config.timeSteps, maxImages: service.limits.queue });
      const { settings, deadline } = asked;
      const answers = await loaded.batcher.submit(asked.images, settings, { signal, ...(deadline !== undefined && { deadline }) });
      return encodeInferResponse(asked, answers, { name, version: loaded.version, classes: backend.classes });
    });
  }
}

function sendTensors(reply: FastifyReply, { body, headerLength }: EncodedResponse): FastifyReply {
  if (headerLength === undefined) return reply.type('application/json').send(body);
  return reply.type('application/octet-stream').header('inference-header-content-length', headerLength).send(body);
}
