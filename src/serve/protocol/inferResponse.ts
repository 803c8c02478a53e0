import { topClasses } from '../../evaluate/logits.js';
import type { Answers } from '../backend.js';
import { bestClasses } from '../../evaluate/logits.js';
import { logitsOf } from '../scores.js';
import type { InferRequest, RequestedOutput } from './inferRequest.js';

/** Classes in the top outputs where the request has no `top_k`. */
const defaultTop = 5;

export interface EncodedResponse {
  readonly body: Buffer;
  /** Bytes of JSON in front of the tensors; absent where there are none. */
  readonly headerLength?: number;
}

type Tensor = {
  readonly datatype: 'FP32' | 'INT32' | 'BYTES';
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | readonly string[];
};

/** The answer in the protocol's JSON, followed by the outputs that were asked for as bytes. */
export function encodeInferResponse(request: InferRequest, answers: Answers, model: { readonly name: string; readonly version: string; readonly classes: readonly string[] }): EncodedResponse {
  const binary: Buffer[] = [];
  const outputs = request.outputs.map((output) => {
    const { datatype, shape, data } = outputTensor(output, answers, model.classes, request.topK ?? Math.min(defaultTop, model.classes.length));
    const described = { name: output.name, datatype, shape };
    if (!output.binary) return { ...described, data: Array.from<string | number>(data) };
    const bytes = tensorBytes(data);
    binary.push(bytes);
    return { ...described, parameters: { binary_data_size: bytes.length } };
  });
  const json = Buffer.from(JSON.stringify({
    ...(request.id !== undefined && { id: request.id }),
    model_name: model.name,
    model_version: model.version,
    outputs,
  }));
  return binary.length === 0 ? { body: json } : { body: Buffer.concat([json, ...binary]), headerLength: json.length };
}

function outputTensor({ name, classification }: RequestedOutput, answers: Answers, classes: readonly string[], top: number): Tensor {
  const { count, logits, steps } = answers;
  if (classification !== undefined) return { datatype: 'BYTES', shape: [count, classification], data: classified(answers, classes, classification) };
  switch (name) {
    case 'logits':
      return { datatype: 'FP32', shape: [count, classes.length], data: logits };
    case 'steps':
      return { datatype: 'INT32', shape: [count], data: steps };
    case 'top_index':
      return { datatype: 'INT32', shape: [count, top], data: Int32Array.from(best(answers, classes, top), ({ index }) => index) };
    case 'top_probability':
      return { datatype: 'FP32', shape: [count, top], data: Float32Array.from(best(answers, classes, top), ({ probability }) => probability) };
    case 'top_label':
      return { datatype: 'BYTES', shape: [count, top], data: best(answers, classes, top).map(({ label }) => label) };
  }
}

function best(answers: Answers, classes: readonly string[], top: number) {
  return Array.from({ length: answers.count }, (_, n) => bestClasses(logitsOf(answers, n), classes, top)).flat();
}

function classified(answers: Answers, classes: readonly string[], count: number): string[] {
  return Array.from({ length: answers.count }, (_, n) => {
    const logits = logitsOf(answers, n);
    return topClasses(logits, count).map((index) => `${logits[index]!.toFixed(6)}:${index}:${classes[index]}`);
  }).flat();
}

/** Little-endian, as every processor that the engine runs on; a string is its length in four bytes and its UTF-8. */
function tensorBytes(data: Tensor['data']): Buffer {
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat(data.flatMap((text) => {
    const length = Buffer.alloc(4);
    const bytes = Buffer.from(text);
    length.writeUInt32LE(bytes.length);
    return [length, bytes];
  }));
}
