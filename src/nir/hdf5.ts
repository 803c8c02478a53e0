import type * as H5wasm from 'h5wasm/node';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NoisefloorError } from '../errors.js';

export type Group = H5wasm.Group;

/** An array of an HDF5 file as numbers. */
export interface NumberArray {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Loads the optional dependency h5wasm when it is first needed; `MISSING_DEPENDENCY` where it is absent. */
async function loadHdf5(): Promise<typeof H5wasm> {
  try {
    const library = await import('h5wasm/node');
    await library.ready;
    return library;
  } catch (error) {
    throw new NoisefloorError('MISSING_DEPENDENCY', `NIR files need h5wasm, which could not be loaded (${(error as Error).message}). Install it with: npm install h5wasm@0.10.3`, {
      cause: error,
    });
  }
}

/** The bytes of an HDF5 file that `fill` writes. */
export async function writeHdf5(fill: (file: Group) => void): Promise<Uint8Array> {
  const { File } = await loadHdf5();
  return inFolder(async (path) => {
    const file = new File(path, 'w');
    try {
      fill(file);
    } finally {
      file.close();
    }
    return readFile(path);
  });
}

/** What `read` finds in an HDF5 file; `INVALID_FILE` where it is none. */
export async function readHdf5<T>(bytes: Uint8Array, name: string, read: (file: Group) => T): Promise<T> {
  const { File } = await loadHdf5();
  return inFolder(async (path) => {
    await writeFile(path, bytes);
    const file = new File(path, 'r');
    if (file.file_id < 0n) throw new NoisefloorError('INVALID_FILE', `${name} is no HDF5 file: give a file that NIR wrote.`);
    try {
      return read(file);
    } catch (error) {
      if (error instanceof NoisefloorError) throw error;
      throw new NoisefloorError('INVALID_FILE', `${name} is damaged: ${(error as Error).message}. Write it again.`, { cause: error });
    } finally {
      file.close();
    }
  });
}

/** The library reads and writes files only: one in a folder of its own, for as long as it takes. */
async function inFolder<T>(use: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'noisefloor-'));
  try {
    return await use(join(folder, 'file.h5'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export function childGroup(group: Group, name: string): Group | undefined {
  const child = group.keys().includes(name) ? group.get(name) : null;
  return child && 'keys' in child ? child : undefined;
}

/** A data set of numbers or, as a list, of one; undefined where there is none. */
export function numbersOf(group: Group, name: string): NumberArray | undefined {
  const child = group.keys().includes(name) ? group.get(name) : null;
  if (!child || !('shape' in child) || !('value' in child)) return undefined;
  const { value } = child;
  const list = ArrayBuffer.isView(value) ? (value as unknown as ArrayLike<number | bigint>) : [value as number | bigint];
  const data = Float64Array.from(list, Number);
  return data.some(Number.isNaN) ? undefined : { shape: child.shape ?? [], data };
}

export function textOf(group: Group, name: string): string | undefined {
  const child = group.keys().includes(name) ? group.get(name) : null;
  return child && 'value' in child && typeof child.value === 'string' ? child.value : undefined;
}

/** A data set of texts, in row-major order. */
export function textsOf(group: Group, name: string): string[] {
  const child = group.keys().includes(name) ? group.get(name) : null;
  const value = child && 'value' in child ? child.value : undefined;
  return Array.isArray(value) ? value.map(String) : [];
}
