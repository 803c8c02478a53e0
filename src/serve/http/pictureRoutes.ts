import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isKnownPicture, pictureInput } from '../picture.js';
import { onlyKnown, textOf, type Fields } from '../protocol/fields.js';
import { readRunParameters, runParameters } from '../protocol/parameters.js';
import { bestClasses } from '../../evaluate/logits.js';
import { logitsOf } from '../scores.js';
import type { LoadedVersion } from '../servedModel.js';
import { traceImage } from '../trace.js';
import { bodyOf, clientSignal } from './body.js';
import type { ServerContext } from './context.js';
import { HttpError } from './errors.js';
import { schemas } from './schemas.js';

const defaultTop = 5;
/** A trace computes every number of steps up to this one. */
const mostTraced = 32;

type PictureRequest = FastifyRequest<{ Querystring: Record<string, unknown> }>;

/** Pictures in, labels out. @param app with a parser for multipart bodies */
export function addPictureRoutes(app: FastifyInstance, { service, config }: ServerContext): void {
  app.post('/v1/classify', { schema: schemas.classify }, (request: PictureRequest, reply) =>
    answer(request, reply, [...runParameters], async (loaded, bytes, fields, signal) => {
      const { backend } = loaded.batcher;
      const { settings, topK = Math.min(defaultTop, backend.classes.length), deadline } = readRunParameters(fields, backend, config.timeSteps);
      const images = await pictureInput(bytes, backend, config.pixelLimit);
      const answers = await loaded.batcher.submit(images, settings, { signal, ...(deadline !== undefined && { deadline }) });
      return { steps: answers.steps[0]!, classes: bestClasses(logitsOf(answers, 0), backend.classes, topK) };
    }),
  );
  app.post('/v1/trace', { schema: schemas.trace }, (request: PictureRequest, reply) =>
    answer(request, reply, ['time_steps'], async (loaded, bytes, fields, signal) => {
      const { backend } = loaded.batcher;
      const { timeSteps } = readRunParameters(fields, backend, config.timeSteps).settings;
      if (timeSteps > mostTraced) throw new HttpError(400, `A trace has at most ${mostTraced} time steps.`);
      const images = await pictureInput(bytes, backend, config.pixelLimit);
      return { labels: backend.classes, ...(await traceImage(loaded.batcher, images, timeSteps, { signal })) };
    }),
  );

  async function answer(
    request: PictureRequest,
    reply: FastifyReply,
    parameters: readonly string[],
    work: (loaded: LoadedVersion, bytes: Buffer, fields: Fields, signal: AbortSignal) => Promise<object>,
  ): Promise<object> {
    const signal = clientSignal(reply);
    const { model, version, ...rest } = queryFields(request.query, ['model', 'version', ...parameters]);
    const name = model === undefined ? service.models.keys().next().value! : textOf(model, 'model');
    const bytes = await pictureBytes(request);
    return service.use(name, version === undefined ? undefined : textOf(version, 'version'), async (loaded) => {
      request.served = name;
      return { model: name, version: loaded.version, ...(await work(loaded, bytes, rest, signal)) };
    });
  }

  async function pictureBytes(request: FastifyRequest): Promise<Buffer> {
    const bytes = request.isMultipart() ? await firstFile(request) : await bodyOf(request, config.bodyLimit);
    if (bytes.length === 0) throw new HttpError(400, 'The request has no picture: send a JPEG, PNG or WebP as the body, or as a file of a form.');
    if (!isKnownPicture(bytes)) throw new HttpError(415, 'The body is not a JPEG, PNG or WebP picture.');
    return bytes;
  }
}

/** Query strings have no types: what looks like a number is one. */
function queryFields(query: Readonly<Record<string, unknown>>, known: readonly string[]): Record<string, unknown> {
  onlyKnown(query, known, 'parameter');
  const typed = ([key, value]: [string, unknown]): [string, unknown] => {
    const text = ['model', 'version', 'exit_measure', 'exit_chunks'].includes(key);
    return [key, typeof value === 'string' && !text && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value];
  };
  return Object.fromEntries(Object.entries(query).map(typed));
}

async function firstFile(request: FastifyRequest): Promise<Buffer> {
  const file = await request.file();
  return file ? file.toBuffer() : Buffer.alloc(0);
}
