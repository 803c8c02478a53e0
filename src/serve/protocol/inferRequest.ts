import { refused } from '../../errors.js';
import { elementCount } from '../../tensor.js';
import type { Backend } from '../backend.js';
import { fieldsOf, flagOf, listOf, onlyKnown, optionalFields, parseJson, textOf, wholeOf, wrong, type Fields } from './fields.js';
import { imagesFromBytes, imagesFromNumbers, type RequestContext } from './inputTensor.js';
import { readRunParameters, type RunParameters } from './parameters.js';

export const inputName = 'input';
export const outputNames = ['logits', 'steps', 'top_index', 'top_label', 'top_probability'] as const;
export type OutputName = (typeof outputNames)[number];

export interface RequestedOutput {
  readonly name: OutputName;
  readonly binary: boolean;
  /** Triton's classification extension: so many strings `value:index:label` in place of the logits. */
  readonly classification?: number;
}

export interface InferRequest extends RunParameters {
  readonly id?: string;
  /** Normalised, [N, C, H, W]. */
  readonly images: Float32Array;
  readonly outputs: readonly RequestedOutput[];
}

/**
 * An inference request of the Open Inference Protocol v2, with the binary tensor extension.
 *
 * @param headerLength the header Inference-Header-Content-Length: bytes of JSON in front of the tensors; 0: the whole body is
 *   the input in FP32, and the outputs come as bytes too
 * @throws NoisefloorError INVALID_ARGUMENT
 */
export function readInferRequest(body: Buffer, headerLength: string | undefined, context: RequestContext): InferRequest {
  const { backend, timeSteps } = context;
  if (headerLength === '0') {
    const images = imagesFromBytes(body, 'FP32', context, rawShape(body, backend));
    return { images, outputs: defaultOutputs(false, true), ...readRunParameters({}, backend, timeSteps) };
  }
  const jsonLength = headerLength === undefined ? body.length : headerBytes(headerLength, body.length);
  const request = fieldsOf(parseJson(body.subarray(0, jsonLength), 'The request'), 'the request');
  onlyKnown(request, ['id', 'model_name', 'model_version', 'inputs', 'outputs', 'parameters'], 'field of the request');
  const parameters = optionalFields(request['parameters'], 'parameters');
  const run = readRunParameters(parameters, backend, timeSteps, ['binary_data_output']);
  const binary = parameters['binary_data_output'] === undefined ? false : flagOf(parameters['binary_data_output'], 'parameters.binary_data_output');
  const outputs = request['outputs'] === undefined ? [] : listOf(request['outputs'], 'outputs').map((one, i) => readOutput(one, `outputs[${i}]`, binary, backend));
  return {
    ...(request['id'] !== undefined && { id: textOf(request['id'], 'id') }),
    images: readInput(request['inputs'], body.subarray(jsonLength), headerLength !== undefined, context),
    outputs: outputs.length > 0 ? outputs : defaultOutputs(run.topK !== undefined, binary),
    ...run,
  };
}

function headerBytes(text: string, bodyLength: number): number {
  const length = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (length <= bodyLength) return length;
  throw refused(`Inference-Header-Content-Length is ${JSON.stringify(text.slice(0, 30))}: expected the bytes of JSON, at most the ${bodyLength} of the body.`);
}

function rawShape(body: Buffer, { input }: Backend): number[] {
  const size = 4 * elementCount(input.shape);
  if (body.length > 0 && body.length % size === 0) return [body.length / size, ...input.shape];
  throw refused(`A raw body is FP32 [N, ${input.shape.join(', ')}], a positive multiple of ${size} bytes, but this one has ${body.length}.`);
}

function readInput(value: unknown, data: Buffer, hasBinary: boolean, context: RequestContext): Float32Array {
  const inputs = listOf(value, 'inputs');
  if (inputs.length !== 1) throw refused(`Expected one input, "${inputName}", but received ${inputs.length}.`);
  const input = fieldsOf(inputs[0], 'inputs[0]');
  onlyKnown(input, ['name', 'shape', 'datatype', 'parameters', 'data'], 'field of inputs[0]');
  const name = textOf(input['name'], 'inputs[0].name');
  if (name !== inputName) throw wrong('inputs[0].name', `"${inputName}"`, name);
  const shape = listOf(input['shape'], 'inputs[0].shape').map((n, i) => wholeOf(n, `inputs[0].shape[${i}]`, 1));
  const datatype = textOf(input['datatype'], 'inputs[0].datatype');
  const parameters = optionalFields(input['parameters'], 'inputs[0].parameters');
  onlyKnown(parameters, ['binary_data_size'], 'parameter of inputs[0]');
  const size = parameters['binary_data_size'];
  if (size === undefined) {
    if (data.length > 0) throw refused(`${data.length} bytes follow the JSON but no input has binary_data_size.`);
    return imagesFromNumbers(listOf(input['data'], 'inputs[0].data'), datatype, context, shape);
  }
  if (!hasBinary) throw refused('An input has binary_data_size: send the header Inference-Header-Content-Length, the bytes of JSON in front of it.');
  if (input['data'] !== undefined) throw refused('inputs[0] has data and binary_data_size: send one of them.');
  if (size !== data.length) throw wrong('inputs[0].parameters.binary_data_size', `${data.length}, the bytes behind the JSON`, size);
  return imagesFromBytes(data, datatype, context, shape);
}

function readOutput(value: unknown, path: string, binaryDefault: boolean, backend: Backend): RequestedOutput {
  const output: Fields = fieldsOf(value, path);
  onlyKnown(output, ['name', 'parameters'], `field of ${path}`);
  const name = textOf(output['name'], `${path}.name`);
  if (!(outputNames as readonly string[]).includes(name)) throw wrong(`${path}.name`, `one of ${outputNames.join(', ')}`, name);
  const parameters = optionalFields(output['parameters'], `${path}.parameters`);
  onlyKnown(parameters, ['binary_data', 'classification'], `parameter of ${path}`);
  const { binary_data: binary, classification } = parameters;
  // tritonclient sends 0 where nothing was asked for.
  const count = classification === undefined ? 0 : wholeOf(classification, `${path}.parameters.classification`, 0);
  if (count > 0 && name !== 'logits') throw refused(`Only the output logits can be given as classification, not ${name}.`);
  return {
    name: name as OutputName,
    binary: binary === undefined ? binaryDefault : flagOf(binary, `${path}.parameters.binary_data`),
    ...(count > 0 && { classification: Math.min(count, backend.classes.length) }),
  };
}

function defaultOutputs(top: boolean, binary: boolean): RequestedOutput[] {
  return outputNames.filter((name) => top || name === 'logits' || name === 'steps').map((name) => ({ name, binary }));
}
