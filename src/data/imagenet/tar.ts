import { closeSync, openSync, readSync, fstatSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { NoisefloorError } from '../../errors.js';

/** A file inside a tar archive, where its bytes are. */
export interface TarMember {
  readonly path: string;
  readonly offset: number;
  readonly size: number;
}

const block = 512;
type Read = (offset: number, length: number) => Buffer;

/**
 * The files of an uncompressed tar archive, found by going from header to header, so that any of them can be read without
 * the others (which the libraries that read tar as a stream cannot). Archives inside it are opened up: the members of
 * n01440764.tar are `n01440764/...`.
 *
 * @throws NoisefloorError `FILE_NOT_FOUND`, `IO`, `INVALID_DATA` not a tar archive, or cut off
 */
export function listTar(path: string): TarMember[] {
  const file = openFile(path);
  try {
    const read: Read = (offset, length) => {
      const buffer = Buffer.alloc(length);
      return buffer.subarray(0, readSync(file, buffer, 0, length, offset));
    };
    return openInner(read, [...members(read, 0, fstatSync(file).size, path)], path);
  } finally {
    closeSync(file);
  }
}

/** The files of a tar archive in memory. */
export function listTarBuffer(bytes: Buffer, name: string): TarMember[] {
  return [...members((offset, length) => bytes.subarray(offset, offset + length), 0, bytes.length, name)];
}

export async function readMember(archive: string, { path, offset, size }: TarMember): Promise<Buffer> {
  const file = await open(archive);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, offset);
    if (bytesRead !== size) throw damaged(archive, `${path} is cut off`);
    return buffer;
  } finally {
    await file.close();
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new NoisefloorError('FILE_NOT_FOUND', `No tar archive at ${path}: check the path.`, { cause: error });
    throw new NoisefloorError('IO', `Could not read the tar archive ${path}: ${message}`, { cause: error });
  }
}

function openInner(read: Read, outer: readonly TarMember[], archive: string): TarMember[] {
  return outer.flatMap((member) => {
    if (!member.path.endsWith('.tar')) return [member];
    const folder = member.path.slice(0, -'.tar'.length);
    const inner = [...members(read, member.offset, member.offset + member.size, `${archive}: ${member.path}`)];
    return inner.map((one) => ({ ...one, path: `${folder}/${one.path}` }));
  });
}

/** Regular files between two positions; `name` is for messages. */
function* members(read: Read, from: number, to: number, name: string): Generator<TarMember> {
  let longName: string | undefined;
  let at = from;
  while (at < to) {
    const header = read(at, block);
    if (header.length < block) throw damaged(name, 'it ends inside a header');
    if (header.every((byte) => byte === 0)) return;
    checkSum(header, name);
    const size = number(header, 124, 12);
    const offset = at + block;
    if (offset + size > to) throw damaged(name, `${longName ?? text(header, 0, 100)} is cut off`);
    const type = String.fromCharCode(header[156]!);
    if (type === 'L') longName = text(read(offset, size), 0, size);
    else if (type === 'x') longName = paxPath(read(offset, size).toString('utf8')) ?? longName;
    else {
      if (type === '0' || type === '\0') yield { path: clean(longName ?? ownName(header)), offset, size };
      longName = undefined;
    }
    at = offset + Math.ceil(size / block) * block;
  }
  if (at > to) throw damaged(name, 'it is cut off');
}

function ownName(header: Buffer): string {
  const prefix = text(header, 257, 5) === 'ustar' && header[263] === 0x30 ? text(header, 345, 155) : '';
  return prefix === '' ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`;
}

function clean(path: string): string {
  return path.replace(/^(\.\/)+/, '');
}

function paxPath(records: string): string | undefined {
  return /^\d+ path=(.*)$/m.exec(records)?.[1];
}

function text(bytes: Buffer, start: number, length: number): string {
  const field = bytes.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? length : end).toString('utf8');
}

/** Octal, or base 256 where the first bit is set (GNU). */
function number(header: Buffer, start: number, length: number): number {
  if (header[start]! < 0x80) return Number.parseInt(text(header, start, length).trim() || '0', 8);
  return header.subarray(start + 1, start + length).reduce((sum, byte) => sum * 256 + byte, 0);
}

function checkSum(header: Buffer, name: string): void {
  const sum = header.reduce((all, byte, i) => all + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  if (sum !== number(header, 148, 8)) throw damaged(name, 'it is not an uncompressed tar archive');
}

function damaged(name: string, problem: string): NoisefloorError {
  return new NoisefloorError('INVALID_DATA', `The tar archive ${name} cannot be read: ${problem}. Download it again, and leave it as it is.`);
}
