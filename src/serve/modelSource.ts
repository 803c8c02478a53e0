import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { invalidArgument, NoisefloorError, refused } from '../errors.js';
import { checkpointPath } from '../training/checkpoint.js';
import type { Backend } from './backend.js';
import { denseBackend } from './denseBackend.js';
import { spikingBackend } from './spikingBackend.js';

/** How much of the machine a network takes. */
export interface EngineOptions {
  readonly threads: number;
  /** See `SessionOptions`; of ONNX Runtime's threads none is known. */
  readonly niceness: number;
}

/** A file that a model comes from. */
export interface VersionFile {
  readonly path: string;
  /** From a folder of versions; a single file has none, and is numbered as it changes. */
  readonly version?: number;
}

/** Where a served model comes from. Nothing that a request says ever becomes part of a path. */
export interface ModelSource {
  readonly name: string;
  /** The files as they are now, at least one. @throws NoisefloorError FILE_NOT_FOUND */
  files(): Promise<readonly VersionFile[]>;
  /** @param bytes of one of the files, given away */
  open(bytes: Buffer, file: VersionFile, engine: EngineOptions): Promise<Backend>;
}

/**
 * A spiking model from `PATH` or `NAME=PATH`: a model file, or a folder whose versions are `1.safetensors` or
 * `1/model.safetensors`, and so on. The name is by default that of the file without its extension.
 *
 * @throws NoisefloorError INVALID_ARGUMENT
 */
export function spikingSource(spec: string): ModelSource {
  const { name, path } = parseModelSpec(spec);
  return { name, files: () => versionFiles(path), open: (bytes, file, engine) => spikingBackend(bytes, file.path, engine) };
}

/**
 * The dense network of a training folder, from `DIR` or `NAME=DIR`, in ONNX Runtime; served as `NAME-dense`.
 *
 * @throws NoisefloorError INVALID_ARGUMENT
 */
export function denseSource(spec: string): ModelSource {
  const { name, path } = parseModelSpec(spec);
  return {
    name: `${name}-dense`,
    files: () => Promise.resolve([{ path: checkpointPath(path) }]),
    open: (bytes, file, { threads }) => denseBackend(bytes, file.path, threads),
  };
}

/** `PATH` or `NAME=PATH`; the name is by default that of the file without its extension. @throws NoisefloorError INVALID_ARGUMENT */
export function parseModelSpec(spec: string): { name: string; path: string } {
  const named = /^([^=/\\]*)=(.*)$/s.exec(spec);
  const path = named ? named[2]! : spec;
  if (path === '') throw invalidArgument('model', 'PATH or NAME=PATH', spec);
  const name = named ? named[1]! : basename(resolve(path)).replace(/\.safetensors$/, '');
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(name)) return { name, path };
  throw refused(`"${name}" cannot be the name of a model: use letters, digits, ".", "_" and "-", as in NAME=${path}.`);
}

async function versionFiles(path: string): Promise<VersionFile[]> {
  const found = await stat(path).catch(() => undefined); // Reading the file says what is wrong.
  if (!found?.isDirectory()) return [{ path }];
  const entries = await readdir(path, { withFileTypes: true });
  const files = entries.flatMap((entry): VersionFile[] => {
    const version = /^([1-9]\d{0,8})(\.safetensors)?$/.exec(entry.name);
    if (!version || entry.isDirectory() === (version[2] !== undefined)) return [];
    const file = join(path, entry.name);
    return [{ version: Number(version[1]), path: entry.isDirectory() ? join(file, 'model.safetensors') : file }];
  });
  if (files.length > 0) return files.sort((a, b) => a.version! - b.version!);
  throw new NoisefloorError('FILE_NOT_FOUND', `No versions in ${path}: name them 1.safetensors or 1/model.safetensors, and so on.`);
}
