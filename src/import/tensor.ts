import { TensorProto_DataType as DataType, type TensorProto } from '../onnx/onnx_pb.js';
import { invalidFile } from './problems.js';

/** A constant of an ONNX file: float32 as it is, every other type as float64, row-major. */
export interface Constant {
  readonly dims: readonly number[];
  readonly data: Float32Array | Float64Array;
}

/** Bytes of an element in `rawData`, and how one is read. */
const readers: Partial<Record<DataType, readonly [bytes: number, read: (view: DataView, at: number) => number]>> = {
  [DataType.FLOAT]: [4, (view, at) => view.getFloat32(at, true)],
  [DataType.DOUBLE]: [8, (view, at) => view.getFloat64(at, true)],
  [DataType.FLOAT16]: [2, (view, at) => halfToNumber(view.getUint16(at, true))],
  [DataType.BFLOAT16]: [2, (view, at) => bfloatToNumber(view.getUint16(at, true))],
  [DataType.INT64]: [8, (view, at) => Number(view.getBigInt64(at, true))],
  [DataType.INT32]: [4, (view, at) => view.getInt32(at, true)],
  [DataType.INT16]: [2, (view, at) => view.getInt16(at, true)],
  [DataType.INT8]: [1, (view, at) => view.getInt8(at)],
  [DataType.UINT16]: [2, (view, at) => view.getUint16(at, true)],
  [DataType.UINT8]: [1, (view, at) => view.getUint8(at)],
  [DataType.BOOL]: [1, (view, at) => view.getUint8(at)],
};

/** The values of a tensor, wherever the file keeps them; `INVALID_FILE` where they are not as many as its shape says. */
export function decodeTensor(tensor: TensorProto): Constant {
  const dims = tensor.dims.map(Number);
  const reader = readers[tensor.dataType as DataType];
  if (!reader) throw invalidFile(`tensor "${tensor.name}" has the type ${DataType[tensor.dataType] ?? tensor.dataType}, which is not read here`);
  const count = dims.reduce((product, n) => product * n, 1);
  const data = tensor.rawData.length > 0 ? fromBytes(tensor, reader) : fromFields(tensor);
  if (data.length !== count) throw invalidFile(`tensor "${tensor.name}" [${dims.join(', ')}] holds ${data.length} values instead of ${count}`);
  return { dims, data };
}

function fromBytes({ dataType, rawData, name }: TensorProto, [bytes, read]: readonly [number, (view: DataView, at: number) => number]): Constant['data'] {
  const { buffer, byteOffset, byteLength } = rawData;
  if (byteLength % bytes !== 0) throw invalidFile(`tensor "${name}" ends within a value`);
  // Processors that this runs on keep the low byte first, as ONNX does.
  if (dataType === (DataType.FLOAT as number)) return new Float32Array(new Uint8Array(rawData).buffer);
  const count = byteLength / bytes;
  const view = new DataView(buffer, byteOffset, byteLength);
  const data = isFloat(dataType) ? new Float32Array(count) : new Float64Array(count);
  for (let i = 0; i < count; i++) data[i] = read(view, i * bytes);
  return data;
}

/** Values in the field of their type: half-precision numbers are bit patterns among the 32-bit integers. */
function fromFields({ dataType, floatData, doubleData, int64Data, int32Data }: TensorProto): Constant['data'] {
  const fields: Partial<Record<DataType, () => Constant['data']>> = {
    [DataType.FLOAT]: () => Float32Array.from(floatData),
    [DataType.DOUBLE]: () => Float64Array.from(doubleData),
    [DataType.INT64]: () => Float64Array.from(int64Data, Number),
    [DataType.FLOAT16]: () => Float32Array.from(int32Data, halfToNumber),
    [DataType.BFLOAT16]: () => Float32Array.from(int32Data, bfloatToNumber),
  };
  return fields[dataType as DataType]?.() ?? Float64Array.from(int32Data);
}

function isFloat(type: number): boolean {
  return type === (DataType.FLOAT as number) || type === (DataType.FLOAT16 as number) || type === (DataType.BFLOAT16 as number);
}

/** IEEE 754 binary16. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function bfloatToNumber(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
}
