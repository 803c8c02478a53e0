import { inflateSync } from 'node:zlib';
import { NoisefloorError } from '../../errors.js';

// Types of MATLAB's level 5 files ("MAT-File Format", MathWorks), as far as meta.mat has them.
const compressed = 15;
const matrix = 14;
const structure = 2;
const numeric: Readonly<Record<number, (bytes: Buffer, at: number) => number>> = {
  1: (bytes, at) => bytes.readInt8(at),
  2: (bytes, at) => bytes.readUInt8(at),
  3: (bytes, at) => bytes.readInt16LE(at),
  4: (bytes, at) => bytes.readUInt16LE(at),
  5: (bytes, at) => bytes.readInt32LE(at),
  6: (bytes, at) => bytes.readUInt32LE(at),
  9: (bytes, at) => bytes.readDoubleLE(at),
};

interface Element {
  readonly type: number;
  readonly data: Buffer;
  readonly next: number;
}

/**
 * The synset of each ILSVRC2012_ID, which the ground truth of the devkit counts in, from the devkit's data/meta.mat.
 *
 * @throws NoisefloorError `INVALID_DATA`
 */
export function readDevkitSynsets(mat: Buffer, name: string): Map<number, string> {
  try {
    return synsetsOf(mat);
  } catch (error) {
    throw new NoisefloorError('INVALID_DATA', `${name} is not the meta.mat of the devkit: ${(error as Error).message}. Download the devkit again.`, { cause: error });
  }
}

function synsetsOf(mat: Buffer): Map<number, string> {
  if (!mat.subarray(0, 10).equals(Buffer.from('MATLAB 5.0'))) throw new Error('it is not a MATLAB 5.0 file');
  const outer = elementAt(mat, 128);
  const { type, data } = outer.type === compressed ? elementAt(inflateSync(outer.data), 0) : outer;
  if (type !== matrix) throw new Error('it does not begin with a matrix');
  const [flags, , , nameLength, names, ...values] = elements(data);
  if (flags!.data[0] !== structure) throw new Error('it has no structure array');
  const length = nameLength!.data.readInt32LE();
  const fields = Array.from({ length: names!.data.length / length }, (_, i) => text(names!.data.subarray(i * length, (i + 1) * length)));
  const [id, synset] = [fields.indexOf('ILSVRC2012_ID'), fields.indexOf('WNID')];
  if (id < 0 || synset < 0) throw new Error('it has no fields ILSVRC2012_ID and WNID');
  const map = new Map<number, string>();
  for (let at = 0; at + fields.length <= values.length; at += fields.length) {
    map.set(content(values[at + id]!)[0]!, String.fromCharCode(...content(values[at + synset]!)));
  }
  return map;
}

/** The values of a matrix of numbers or characters: its fourth element, after flags, dimensions and name. */
function content({ data }: Element): number[] {
  const { type, data: bytes } = elements(data)[3]!;
  const unicode = type === 16 ? 2 : type === 17 ? 4 : type;
  const read = numeric[unicode];
  if (!read) throw new Error(`it has values of type ${type}`);
  const width = unicode === 9 ? 8 : unicode > 4 ? 4 : unicode > 2 ? 2 : 1;
  return Array.from({ length: bytes.length / width }, (_, i) => read(bytes, i * width));
}

function elements(data: Buffer): Element[] {
  const all: Element[] = [];
  for (let at = 0; at < data.length; at = all.at(-1)!.next) all.push(elementAt(data, at));
  return all;
}

function elementAt(data: Buffer, at: number): Element {
  const tag = data.readUInt32LE(at);
  const small = tag >>> 16;
  if (small > 0) return { type: tag & 0xffff, data: data.subarray(at + 4, at + 4 + small), next: at + 8 };
  const size = data.readUInt32LE(at + 4);
  const end = at + 8 + size;
  return { type: tag, data: data.subarray(at + 8, end), next: tag === compressed ? end : Math.ceil(end / 8) * 8 };
}

function text(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/\0.*$/s, '');
}
