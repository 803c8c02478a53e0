import { fromBinary } from '@bufbuild/protobuf';
import { open, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { readWholeFile } from '../files.js';
import { ModelProtoSchema, TensorProto_DataLocation as DataLocation, type GraphProto, type ModelProto, type TensorProto } from '../onnx/onnx_pb.js';
import { invalidFile } from './problems.js';

export interface OnnxFile {
  readonly model: ModelProto;
  readonly graph: GraphProto;
  /** Version of the standard operators. */
  readonly opset: number;
}

/** Reads an ONNX file, with the tensors that it keeps in files beside it, or the bytes of one. */
export async function readOnnxFile(source: string | Uint8Array): Promise<OnnxFile> {
  const model = parse(typeof source === 'string' ? await readWholeFile(source, 'ONNX model') : source);
  const { graph } = model;
  const opset = model.opsetImport.find(({ domain }) => isStandard(domain));
  if (!graph || !opset) throw invalidFile('it holds no ONNX graph of standard operators');
  const tensors = [...graph.initializer, ...graph.node.flatMap(({ attribute }) => attribute.flatMap(({ t }) => (t ? [t] : [])))];
  for (const tensor of tensors) {
    if (tensor.dataLocation !== DataLocation.EXTERNAL) continue;
    if (typeof source !== 'string') throw invalidFile(`tensor "${tensor.name}" lies in another file, and bytes have no folder to look for it in`);
    await loadExternal(tensor, dirname(resolve(source)));
  }
  return { model, graph, opset: Number(opset.version) };
}

export function isStandard(domain: string): boolean {
  return domain === '' || domain === 'ai.onnx';
}

function parse(bytes: Uint8Array): ModelProto {
  try {
    return fromBinary(ModelProtoSchema, bytes);
  } catch (error) {
    throw invalidFile(`it is not an ONNX model (${(error as Error).message})`, error);
  }
}

/** Puts the bytes of a tensor that stands in another file into it; that file must lie in the folder of the model. */
async function loadExternal(tensor: TensorProto, folder: string): Promise<void> {
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const location = entries.get('location');
  if (!location) throw invalidFile(`tensor "${tensor.name}" lies in another file, whose name is missing`);
  const path = await insideFolder(folder, location, tensor.name);
  const file = await open(path);
  try {
    const offset = byteCount(entries.get('offset') ?? '0', tensor.name);
    const { size } = await file.stat();
    const length = byteCount(entries.get('length') ?? String(Math.max(0, size - offset)), tensor.name);
    if (offset + length > size) throw invalidFile(`tensor "${tensor.name}" reaches beyond the end of ${location}`);
    tensor.rawData = new Uint8Array(length);
    await file.read(tensor.rawData, 0, length, offset);
    tensor.dataLocation = DataLocation.DEFAULT;
  } finally {
    await file.close();
  }
}

/** The path of a file in the folder of the model, also once links are followed. */
async function insideFolder(folder: string, location: string, tensor: string): Promise<string> {
  const stated = resolve(folder, location);
  if (isInside(folder, stated)) {
    const found = await realpath(stated).catch((error: unknown) => {
      throw invalidFile(`the file ${location} with the values of tensor "${tensor}" is missing beside it`, error);
    });
    if (isInside(await realpath(folder), found)) return found;
  }
  throw invalidFile(`tensor "${tensor}" lies in ${location}, outside of the folder of the model, which is not read`);
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function byteCount(text: string, tensor: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw invalidFile(`tensor "${tensor}" has the place "${text}" in another file, which is not a number`);
}
