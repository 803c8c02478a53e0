import { mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, basename } from 'node:path';
import { randomBytes } from 'node:crypto';
import { NoisefloorError } from './errors.js';

/**
 * Writes a whole file or nothing: to a temporary name in the same folder, flushed to disk, then renamed over
 * `path`. Missing folders are made, a symbolic link stays and its target is replaced. A full disk or a kill leaves the
 * file that was there before.
 *
 * @throws NoisefloorError `IO`, also where `path` is a folder or a device, which a rename would destroy
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array | readonly Uint8Array[]): Promise<void> {
  let temporary: string | undefined;
  try {
    const target = await replaceable(path);
    temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`);
    await mkdir(dirname(target), { recursive: true });
    const file = await open(temporary, 'wx');
    try {
      for (const chunk of Array.isArray(data) ? (data as readonly Uint8Array[]) : [data as string | Uint8Array]) {
        await file.writeFile(chunk);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    if (temporary !== undefined) await rm(temporary, { force: true }).catch(() => undefined);
    throw new NoisefloorError('IO', `Could not write ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Reads a whole file; `FILE_NOT_FOUND` or `IO` says which `what` was wanted and where. */
export async function readWholeFile(path: string, what: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new NoisefloorError('FILE_NOT_FOUND', `No ${what} at ${path}: check the path.`, { cause: error });
    if (code === 'EISDIR') throw new NoisefloorError('IO', `${path} is a folder: give the path of a file, the ${what}.`, { cause: error });
    if (code === 'ENOTDIR') throw new NoisefloorError('IO', `No ${what} at ${path}: part of that path is a file where a folder is expected.`, { cause: error });
    throw new NoisefloorError('IO', `Could not read ${what} ${path}: ${message}`, { cause: error });
  }
}

/** `path` with its links followed; refused where it names something else than a file. */
async function replaceable(path: string): Promise<string> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (!found) return path;
  if (!found.isFile()) throw new Error(`it is ${found.isDirectory() ? 'a folder' : 'not a regular file'}; give the path of a file.`);
  return realpath(path);
}
