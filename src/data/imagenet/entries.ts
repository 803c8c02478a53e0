import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { NoisefloorError } from '../../errors.js';
import { readWholeFile } from '../../files.js';
import { listTar, readMember } from './tar.js';

/** A picture, wherever it lies. */
export interface Entry {
  /** Below the folder or archive, with `/`. */
  readonly path: string;
  readonly read: () => Promise<Buffer>;
}

const picture = /\.(jpe?g|png|webp|bmp|gif|tiff?)$/i;

/** The pictures of a tar archive, or of a folder and of its folders; sorted by path. */
export async function listPictures(path: string): Promise<Entry[]> {
  const entries = path.endsWith('.tar') ? tarEntries(path) : await folderEntries(path);
  if (entries.length === 0) throw new NoisefloorError('INVALID_DATA', `There are no pictures in ${path}, nor in the folders in it.`);
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}

export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

function tarEntries(archive: string): Entry[] {
  const members = listTar(archive).filter(({ path }) => picture.test(path) && !path.split('/').at(-1)!.startsWith('.'));
  return members.map((member) => ({ path: member.path, read: () => readMember(archive, member) }));
}

async function folderEntries(folder: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const one of await readFolder(folder)) {
    if (one.isDirectory() || (one.isSymbolicLink() && (await isFolder(join(folder, one.name))))) {
      const inner = await readFolder(join(folder, one.name));
      for (const { name } of inner) if (picture.test(name)) entries.push(fileEntry(folder, `${one.name}/${name}`));
    } else if (picture.test(one.name)) entries.push(fileEntry(folder, one.name));
  }
  return entries;
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

function fileEntry(folder: string, path: string): Entry {
  return { path, read: () => readWholeFile(join(folder, path), 'picture') };
}

async function readFolder(folder: string) {
  try {
    return (await readdir(folder, { withFileTypes: true })).filter(({ name }) => !name.startsWith('.'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new NoisefloorError('FILE_NOT_FOUND', `No data set folder at ${folder}: check the path.`, { cause: error });
    throw new NoisefloorError('IO', `Could not read the data set folder ${folder}: ${message}`, { cause: error });
  }
}
