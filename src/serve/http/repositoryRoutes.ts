import type { FastifyRequest } from 'fastify';
import { fieldsOf, flagOf, onlyKnown, parseJson, type Fields } from '../protocol/fields.js';
import { repositoryIndex } from '../protocol/metadata.js';
import type { ServedModel } from '../servedModel.js';
import { bodyOf } from './body.js';
import type { ServerContext } from './context.js';
import { HttpError } from './errors.js';
import { schemas } from './schemas.js';

type NamedRequest = FastifyRequest<{ Params: { name: string } }>;

/** Triton's model repository extension. A load reads the files that the server was started with, never others. */
export function addRepositoryRoutes({ app, service, metrics, config }: ServerContext): void {
  app.post('/v2/repository/index', { schema: schemas.index }, async (request) => {
    const fields = await jsonBody(request, config.bodyLimit);
    onlyKnown(fields, ['ready'], 'field of the request');
    return repositoryIndex(service.models.values(), fields['ready'] === undefined ? false : flagOf(fields['ready'], 'ready'));
  });
  app.post('/v2/repository/models/:name/load', { schema: schemas.load }, async (request: NamedRequest, reply) => {
    const model = await controlled(request, []);
    await loadReported(model, { metrics, log: config.log });
    return reply.code(200).send();
  });
  app.post('/v2/repository/models/:name/unload', { schema: schemas.unload }, async (request: NamedRequest, reply) => {
    const model = await controlled(request, ['unload_dependents']);
    await model.unload();
    config.log(`${model.name}: unloaded.`);
    return reply.code(200).send();
  });

  async function controlled(request: NamedRequest, parameters: readonly string[]): Promise<ServedModel> {
    if (!config.control) throw new HttpError(403, 'Loading and unloading by clients is off: start the server with --control.');
    const fields = await jsonBody(request, config.bodyLimit);
    onlyKnown(fields, ['parameters'], 'field of the request');
    const given = fields['parameters'] === undefined ? {} : fieldsOf(fields['parameters'], 'parameters');
    const other = Object.keys(given).find((name) => !parameters.includes(name));
    if (other !== undefined) throw new HttpError(400, `The parameter ${JSON.stringify(other.slice(0, 100))} is not supported: models come from the files that the server was started with.`);
    return service.model(request.params.name);
  }
}

async function jsonBody(request: FastifyRequest, bodyLimit: number): Promise<Fields> {
  const body = await bodyOf(request, bodyLimit);
  return body.length === 0 ? {} : fieldsOf(parseJson(body, 'The request'), 'the request');
}

/** Loads, and tells log and metrics what came of it. @throws as `ServedModel.load` */
export async function loadReported(model: ServedModel, { metrics, log }: Pick<ServerContext, 'metrics'> & { log: (line: string) => void }): Promise<void> {
  try {
    const changed = await model.load();
    if (changed) log(`${model.name}: version ${model.versions.at(-1)!.version} is loaded.`);
  } catch (error) {
    metrics.loadFailures.inc({ model: model.name });
    const left = model.versions.at(-1);
    log(`${model.name}: ${left ? `version ${left.version} stays, since the files could not be loaded` : 'not loaded'}: ${(error as Error).message}`);
    throw error;
  }
}
