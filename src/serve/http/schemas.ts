// What /openapi.json is made of. The routes check their input themselves, with errors in the words of the protocol.
import type { FastifySchema } from 'fastify';
import { confidenceMeasures } from '../../snn/earlyExit.js';
import { maxTimeSteps } from '../../snn/model.js';
import { outputNames } from '../protocol/inferRequest.js';
import { inputTypes } from '../protocol/inputTensor.js';
import { extensions } from '../protocol/metadata.js';

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const integer = { type: 'integer' } as const;
const number = { type: 'number' } as const;
const list = (items: object) => ({ type: 'array', items }) as const;
const object = (properties: Record<string, object>, required: string[] = Object.keys(properties)) => ({ type: 'object', properties, required }) as const;
const described = <T extends object>(schema: T, description: string) => ({ ...schema, description });

const error = object({ error: text });
const failed = (status: string, description: string) => ({ [status]: described(error, description) });
const refused = failed('4xx', 'The request is wrong; 429: the queue is full, Retry-After says when to ask again.');
const unable = failed('5xx', '503: not loaded, or stopping; 504: the deadline has passed.');
const answers = (schema: object, description: string) => ({ 200: described(schema, description), ...refused, ...unable });

const runParameters = {
  time_steps: described({ type: 'integer', minimum: 1, maximum: maxTimeSteps }, 'Time steps; with early_exit the most of them.'),
  early_exit: described({ type: 'number', minimum: 0 }, 'Leave before all steps are done, once the image is this sure.'),
  exit_measure: described({ type: 'string', enum: [...confidenceMeasures] }, 'Of early_exit; default margin, the lead of the first logit.'),
  exit_chunks: described(text, 'Time steps between exits, such as "1,1,2,4", which is the default.'),
  top_k: described({ type: 'integer', minimum: 1 }, 'Classes to name.'),
  timeout: described({ type: 'integer', minimum: 0 }, 'Deadline in microseconds, at most that of the server.'),
};

const params = (at: string) => object(Object.fromEntries([...at.matchAll(/:(\w+)/g)].map(([, name]) => [name!, text])));

const tensor = object(
  { name: text, shape: list(integer), datatype: text, parameters: { type: 'object' }, data: described({ type: 'array', items: {} }, 'Row-major, flat or nested; absent where the tensor follows the JSON as bytes.') },
  ['name', 'shape', 'datatype'],
);

const inferRequest = object(
  {
    id: text,
    inputs: described(list(tensor), `One, named input, ${inputTypes.join(' (normalised) or ')} (pixels), [N, C, H, W].`),
    outputs: list(object({ name: { type: 'string', enum: [...outputNames] }, parameters: object({ binary_data: flag, classification: integer }, []) }, ['name'])),
    parameters: object({ ...runParameters, binary_data_output: flag }, []),
  },
  ['inputs'],
);

const inferResponse = object({ id: text, model_name: text, model_version: text, outputs: list(tensor) }, ['model_name', 'model_version', 'outputs']);
const scored = object({ label: text, index: integer, logit: number, probability: number });
const ofModel = object({ model: text, version: text, ...runParameters }, []);
const tensors = object({ name: text, datatype: text, shape: list(integer) });
const control = object({ parameters: { type: 'object' } }, []);

const query = { querystring: ofModel };
const picture = { consumes: ['image/jpeg', 'image/png', 'image/webp', 'multipart/form-data'] };
const tag = (name: string, summary: string) => ({ tags: [name], summary });

export const schemas = {
  server: { ...tag('protocol', 'About the server'), response: answers(object({ name: text, version: text, extensions: list({ type: 'string', enum: [...extensions] }) }), 'Metadata') },
  live: { ...tag('health', 'Whether the process runs'), response: { 200: object({ live: flag }) } },
  ready: { ...tag('health', 'Whether all models are loaded and the server is not stopping'), response: { 200: object({ ready: flag }), 503: object({ ready: flag }) } },
  model: (at: string) => ({
    ...tag('protocol', 'About a model'),
    params: params(at),
    response: answers(
      object({ name: text, versions: list(text), platform: text, inputs: list(tensors), outputs: list(tensors), labels: list(text), smallest_time_steps: integer, largest_time_steps: integer, spiking_layers: list(object({ name: text, shape: list(integer) })) }),
      'Metadata',
    ),
  }),
  modelReady: (at: string) => ({ ...tag('health', 'Whether a model is loaded'), params: params(at), response: { 200: object({ name: text, ready: flag }), 503: object({ name: text, ready: flag }) } }),
  infer: (at: string) => ({
    ...tag('protocol', 'Inference, with JSON or binary tensors'),
    params: params(at),
    headers: object({ 'Inference-Header-Content-Length': described(integer, 'Bytes of JSON in front of binary tensors; 0: the body is the input.') }, []),
    body: inferRequest,
    response: answers(inferResponse, 'Outputs; with this header in the answer the tensors follow the JSON as bytes.'),
  }),
  index: { ...tag('repository', 'Models and their versions'), body: object({ ready: flag }, []), response: answers(list(object({ name: text, version: text, state: text, reason: text })), 'The index') },
  load: { ...tag('repository', 'Read the files of a model again'), params: params(':name'), body: control, response: answers({ type: 'null' }, 'Loaded') },
  unload: { ...tag('repository', 'Take a model out of service'), params: params(':name'), body: control, response: answers({ type: 'null' }, 'Unloaded') },
  classify: { ...tag('pictures', 'Classify a picture: JPEG, PNG or WebP'), ...picture, ...query, response: answers(object({ model: text, version: text, steps: integer, classes: list(scored) }), 'Classes, best first') },
  trace: {
    ...tag('pictures', 'Classify a picture and tell what happened at each time step'),
    ...picture,
    querystring: object({ model: text, version: text, time_steps: runParameters.time_steps }, []),
    response: answers(
      object({ model: text, version: text, labels: list(text), logits: list(list(number)), layers: list(object({ name: text, neurons: integer, spikes: list(integer), raster: list(list(integer)) })) }),
      'After each step the logits; of each layer its spikes at each step, and of some of its neurons the steps at which they spiked',
    ),
  },
} as const satisfies Record<string, FastifySchema | ((at: string) => FastifySchema)>;
