import { endianness } from 'node:os';
import { NoisefloorError, describeValue, invalidArgument, shortened } from './errors.js';
import { elementCount } from './tensor.js';

export type SafeTensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array;

/** A tensor in row-major order; a scalar has shape []. */
export interface SafeTensor {
  readonly shape: readonly number[];
  readonly data: SafeTensorData;
}

/** The content of a safetensors file: tensors by name, and free-form text by key. */
export interface SafeTensorsFile {
  readonly tensors: Map<string, SafeTensor>;
  readonly metadata: Record<string, string>;
}

interface DataType {
  readonly size: number;
  readonly view: (bytes: ArrayBuffer, offset: number, length: number) => SafeTensorData;
}

const dataTypes = new Map<string, DataType>([
  ['F64', { size: 8, view: (b, at, n) => new Float64Array(b, at, n) }],
  ['I64', { size: 8, view: (b, at, n) => new BigInt64Array(b, at, n) }],
  ['F32', { size: 4, view: (b, at, n) => new Float32Array(b, at, n) }],
  ['I32', { size: 4, view: (b, at, n) => new Int32Array(b, at, n) }],
  ['I16', { size: 2, view: (b, at, n) => new Int16Array(b, at, n) }],
  ['I8', { size: 1, view: (b, at, n) => new Int8Array(b, at, n) }],
  ['U8', { size: 1, view: (b, at, n) => new Uint8Array(b, at, n) }],
]);

const metadataKey = '__metadata__';
const lengthBytes = 8;
const alignment = 8;
/** The limit of the reference implementation. */
const maxHeaderBytes = 100_000_000;

/**
 * Writes the safetensors format (https://github.com/huggingface/safetensors): 8 bytes of header length, the header in
 * JSON padded with spaces so that the data starts at a multiple of 8, then the tensors, widest elements first, so that
 * each is aligned to its element size. The same file gives the same bytes.
 *
 * @returns chunks in order, for `writeFileAtomic`; they share memory with the tensors.
 * @throws NoisefloorError INVALID_ARGUMENT if a shape and its data differ in size, or a name is reserved.
 */
export function encodeSafetensors(file: SafeTensorsFile): Uint8Array[] {
  requireLittleEndian();
  const entries = [...file.tensors].map(([name, tensor]) => ({ name, tensor, dtype: dataTypeOf(name, tensor) }));
  entries.sort((a, b) => b.tensor.data.BYTES_PER_ELEMENT - a.tensor.data.BYTES_PER_ELEMENT);
  const fields: string[] = [];
  if (Object.keys(file.metadata).length > 0) fields.push(`"${metadataKey}":${JSON.stringify(file.metadata)}`);
  let offset = 0;
  for (const { name, tensor, dtype } of entries) {
    const end = offset + tensor.data.byteLength;
    const info = { dtype, shape: tensor.shape, data_offsets: [offset, end] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(info)}`);
    offset = end;
  }
  const data = entries.map(({ tensor: { data: d } }) => new Uint8Array(d.buffer, d.byteOffset, d.byteLength));
  return [...encodeHeader(`{${fields.join(',')}}`), ...data];
}

function encodeHeader(json: string): Uint8Array[] {
  const text = Buffer.from(json, 'utf8');
  const padded = Buffer.alloc(Math.ceil(text.length / alignment) * alignment, ' ');
  if (padded.length > maxHeaderBytes) {
    throw invalidArgument('names and metadata', `at most ${maxHeaderBytes} bytes of header`, padded.length);
  }
  text.copy(padded);
  const length = Buffer.alloc(lengthBytes);
  length.writeBigUInt64LE(BigInt(padded.length));
  return [length, padded];
}

function dataTypeOf(name: string, { shape, data }: SafeTensor): string {
  if (name === metadataKey) throw invalidArgument('tensor name', `a name other than ${metadataKey}`, name);
  if (!isShape(shape) || elementCount(shape) !== data.length) {
    throw invalidArgument(`shape of tensor "${name}"`, `dimensions of ${data.length} elements`, shape);
  }
  if (data instanceof Float64Array) return 'F64';
  if (data instanceof BigInt64Array) return 'I64';
  if (data instanceof Float32Array) return 'F32';
  if (data instanceof Int32Array) return 'I32';
  if (data instanceof Int16Array) return 'I16';
  if (data instanceof Int8Array) return 'I8';
  if (data instanceof Uint8Array) return 'U8';
  throw invalidArgument(`data of tensor "${name}"`, 'a typed array of a supported kind', data);
}

/**
 * Reads a whole safetensors file. The tensors are copies: `bytes` may be changed afterwards.
 *
 * @param path named in errors.
 * @param owned nobody else holds `bytes`, and tensors may be views of it where its alignment allows: half the memory.
 * @throws NoisefloorError INVALID_FILE on any violation of the format, or a data type other than F64, F32, I64, I32,
 *   I16, I8 and U8.
 */
export function decodeSafetensors(bytes: Uint8Array, path: string, owned = false): SafeTensorsFile {
  requireLittleEndian();
  const headerBytes = readHeaderLength(bytes, path);
  const header = parseHeader(bytes.subarray(lengthBytes, lengthBytes + headerBytes), path);
  const body = bytes.subarray(lengthBytes + headerBytes);
  const infos: TensorInfo[] = [];
  let metadata: Record<string, string> = emptyRecord();
  for (const [name, value] of Object.entries(header)) {
    if (name === metadataKey) metadata = readMetadata(value, path);
    else infos.push(readInfo(name, value, path));
  }
  checkCoverage(infos, body.length, path);
  return { tensors: new Map(infos.map((info) => [info.name, readTensor(info, body, owned)])), metadata };
}

interface TensorInfo {
  readonly name: string;
  readonly type: DataType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

function invalid(path: string, problem: string, cause?: unknown): NoisefloorError {
  const message = `${path} is not a valid safetensors file: ${shortened(problem, 500)}. Download or write the file again.`;
  return new NoisefloorError('INVALID_FILE', message, { cause });
}

function readHeaderLength(bytes: Uint8Array, path: string): number {
  if (bytes.length < lengthBytes) throw invalid(path, `${bytes.length} bytes are too few for a header length`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes)) {
    throw invalid(path, `a header of ${length} bytes is over the limit of ${maxHeaderBytes}`);
  }
  if (Number(length) > bytes.length - lengthBytes) {
    throw invalid(path, `the header needs ${length} bytes but ${bytes.length - lengthBytes} follow its length`);
  }
  return Number(length);
}

function parseHeader(bytes: Uint8Array, path: string): Record<string, unknown> {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (error) {
    throw invalid(path, `the header is not JSON in UTF-8 (${(error as Error).message})`, error);
  }
  if (!isRecord(header) || !text.startsWith('{')) throw invalid(path, 'the header is not a JSON object');
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined) throw invalid(path, `the key ${duplicate} is in the header twice`);
  return header;
}

/** First key that an object of the valid JSON `text` holds twice: `JSON.parse` would silently keep the last value. */
function findDuplicateKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  let lastString = '';
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') {
      const end = endOfString(text, i);
      lastString = text.slice(i, end);
      i = end - 1;
    } else if (character === '{') {
      open.push(new Set());
    } else if (character === '}') {
      open.pop();
    } else if (character === ':') {
      const keys = open[open.length - 1]!;
      const key = JSON.parse(lastString) as string;
      if (keys.has(key)) return lastString;
      keys.add(key);
    }
  }
  return undefined;
}

function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
  return i + 1;
}

function readMetadata(value: unknown, path: string): Record<string, string> {
  if (!isRecord(value)) throw invalid(path, `${metadataKey} is not an object`);
  const metadata = emptyRecord();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw invalid(path, `${metadataKey}.${key} is not a string`);
    metadata[key] = text;
  }
  return metadata;
}

function readInfo(name: string, value: unknown, path: string): TensorInfo {
  const tensor = `tensor ${JSON.stringify(name)}`;
  if (!isRecord(value)) throw invalid(path, `${tensor} is not described by an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  const type = typeof dtype === 'string' ? dataTypes.get(dtype) : undefined;
  if (type === undefined) {
    throw invalid(path, `${tensor} has dtype ${describeValue(dtype)}, not one of ${[...dataTypes.keys()].join(', ')}`);
  }
  if (!isShape(shape)) throw invalid(path, `${tensor} has shape ${describeValue(shape)}, not a list of dimensions`);
  if (!isRange(offsets)) throw invalid(path, `${tensor} has data_offsets ${describeValue(offsets)}, not [begin, end]`);
  const [begin, end] = offsets;
  const bytes = elementCount(shape) * type.size;
  if (bytes !== end - begin) {
    throw invalid(path, `${tensor} needs ${bytes} bytes by its shape but its data_offsets give ${end - begin}`);
  }
  return { name, type, shape, begin, end };
}

function checkCoverage(infos: readonly TensorInfo[], bodyBytes: number, path: string): void {
  let offset = 0;
  for (const { name, begin, end } of [...infos].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== offset) {
      const problem = begin < offset ? 'overlaps the tensor before it' : 'leaves a gap before it';
      throw invalid(path, `tensor ${JSON.stringify(name)} at byte ${begin} ${problem}, which ends at ${offset}`);
    }
    offset = end;
  }
  if (offset !== bodyBytes) throw invalid(path, `the tensors end at byte ${offset} of ${bodyBytes} bytes of data`);
}

function readTensor({ type, shape, begin, end }: TensorInfo, body: Uint8Array, owned: boolean): SafeTensor {
  const at = body.byteOffset + begin;
  if (owned && body.buffer instanceof ArrayBuffer && at % type.size === 0) {
    return { shape, data: type.view(body.buffer, at, (end - begin) / type.size) };
  }
  const copy = Uint8Array.from(body.subarray(begin, end));
  return { shape, data: type.view(copy.buffer, 0, (end - begin) / type.size) };
}

function isShape(value: unknown): value is readonly number[] {
  return areSizes(value) && Number.isSafeInteger(elementCount(value));
}

function isRange(value: unknown): value is readonly [number, number] {
  return areSizes(value) && value.length === 2 && value[0]! <= value[1]!;
}

function areSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Without a prototype, so that a key such as `__proto__` is a key like any other. */
function emptyRecord(): Record<string, string> {
  return Object.create(null) as Record<string, string>;
}

function requireLittleEndian(): void {
  if (endianness() !== 'LE') {
    throw new NoisefloorError('IO', 'safetensors files are little-endian: use a little-endian machine.');
  }
}
