import { normalizeImages } from '../../data/batches.js';
import { refused } from '../../errors.js';
import type { Shape } from '../../graph/graph.js';
import { elementCount } from '../../tensor.js';
import type { Backend } from '../backend.js';
import { wrong } from './fields.js';

/** FP32: normalised, as the network takes it. UINT8: pixels from 0 to 255, which the server normalises. */
export const inputTypes = ['FP32', 'UINT8'] as const;
type InputType = (typeof inputTypes)[number];

/** What a request is read against. */
export interface RequestContext {
  readonly backend: Backend;
  /** Time steps of a request that names none. */
  readonly timeSteps: number;
  /** Most images of a request. */
  readonly maxImages: number;
}

/** @param bytes row-major, little-endian */
export function imagesFromBytes(bytes: Buffer, datatype: string, context: RequestContext, shape: readonly number[]): Float32Array {
  const type = checkTensor(datatype, context, shape);
  const size = elementCount(shape) * (type === 'FP32' ? 4 : 1);
  if (bytes.length !== size) throw wrong('the input', `${size} bytes of ${type} [${shape.join(', ')}]`, `${bytes.length} bytes`);
  if (type === 'UINT8') return normalised(bytes, context.backend);
  // Bytes of a request begin anywhere; floats must not.
  return new Float32Array(new Uint8Array(bytes).buffer);
}

/** @param data flat, or nested as the shape says */
export function imagesFromNumbers(data: readonly unknown[], datatype: string, context: RequestContext, shape: readonly number[]): Float32Array {
  const type = checkTensor(datatype, context, shape);
  const size = elementCount(shape);
  const numbers = new Float32Array(size);
  const filled = Array.isArray(data[0]) ? fillNested(numbers, data, shape) : fillFlat(numbers, data, 0, size);
  if (filled !== size) throw wrong('inputs[0].data', `${size} numbers, as the shape [${shape.join(', ')}] says`, `${filled} of them`);
  if (type === 'FP32') return numbers;
  const bad = numbers.findIndex((n) => !(Number.isInteger(n) && n >= 0 && n <= 255));
  if (bad >= 0) throw wrong(`element ${bad} of the UINT8 input`, 'a whole number from 0 to 255', numbers[bad]);
  return normalised(Uint8Array.from(numbers), context.backend);
}

/** @returns how many numbers there are */
function fillFlat(numbers: Float32Array, data: readonly unknown[], start: number, count: number): number {
  if (data.length !== count) return start + data.length;
  for (let i = 0; i < count; i++) {
    const value = data[i];
    if (typeof value !== 'number') throw wrong(`element ${start + i} of inputs[0].data`, 'a number', value);
    numbers[start + i] = value;
  }
  return start + count;
}

function fillNested(numbers: Float32Array, data: readonly unknown[], shape: readonly number[]): number {
  let at = 0;
  const walk = (level: readonly unknown[], axis: number): void => {
    if (level.length !== shape[axis]) throw wrong(`a list of inputs[0].data at depth ${axis + 1}`, `${shape[axis]} elements`, level.length);
    if (axis === shape.length - 1) {
      at = fillFlat(numbers, level, at, level.length);
      return;
    }
    for (const one of level) {
      if (!Array.isArray(one)) throw wrong(`an element of inputs[0].data at depth ${axis + 1}`, 'a list', one);
      walk(one, axis + 1);
    }
  };
  walk(data, 0);
  return at;
}

/** Before memory is taken for so many images. */
function checkTensor(datatype: string, { backend: { input }, maxImages }: RequestContext, shape: readonly number[]): InputType {
  if (!(inputTypes as readonly string[]).includes(datatype)) throw wrong('inputs[0].datatype', `one of ${inputTypes.join(', ')}`, datatype);
  if (!fits(shape, input.shape)) throw wrong('inputs[0].shape', `[N, ${input.shape.join(', ')}]`, shape);
  if (shape[0]! > maxImages) throw refused(`A request may have at most ${maxImages} images but this one has ${shape[0]}: divide it.`);
  return datatype as InputType;
}

function fits(shape: readonly number[], image: Shape): boolean {
  return shape.length === image.length + 1 && image.every((n, i) => n === shape[i + 1]);
}

function normalised(pixels: Uint8Array, { input }: Backend): Float32Array {
  return normalizeImages(pixels, input.normalization, input.shape);
}
