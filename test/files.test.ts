import { lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readWholeFile, writeFileAtomic } from '../src/files.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-files-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('writeFileAtomic', () => {
  it('makes folders, joins chunks, replaces, and leaves nothing else', async () => {
    const path = join(folder, 'a', 'b', 'file');
    await writeFileAtomic(path, 'before');
    await writeFileAtomic(path, [Buffer.from('af'), Buffer.from('ter')]);
    expect(await readFile(path, 'utf8')).toBe('after');
    expect(await readdir(join(folder, 'a', 'b'))).toEqual(['file']);
  });

  it('replaces the target of a symbolic link and leaves the link', async () => {
    const [target, link] = [join(folder, 'target'), join(folder, 'link')];
    await writeFile(target, 'before');
    await symlink('target', link);
    await writeFileAtomic(link, 'after');
    expect(await readFile(target, 'utf8')).toBe('after');
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
  });

  it('refuses a folder and leaves it', async () => {
    const path = join(folder, 'sub');
    await mkdir(path);
    await expect(writeFileAtomic(path, 'x')).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('it is a folder') as string });
    expect((await readdir(folder))).toEqual(['sub']);
  });

  it.skipIf(process.platform === 'win32')('refuses a device and leaves it, even as root', async () => {
    const link = join(folder, 'null');
    await symlink('/dev/null', link);
    await expect(writeFileAtomic(link, 'x')).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('not a regular file') as string });
    expect((await stat(link)).isCharacterDevice()).toBe(true);
  });

  it('says which path cannot be written, and keeps the file in the way', async () => {
    const file = join(folder, 'file');
    await writeFile(file, 'here');
    const path = join(file, 'below');
    await expect(writeFileAtomic(path, 'x')).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining(path) as string });
    expect(await readFile(file, 'utf8')).toBe('here');
  });
});

describe('readWholeFile', () => {
  it('tells a missing file from one that cannot be read', async () => {
    await expect(readWholeFile(join(folder, 'none'), 'model')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await expect(readWholeFile(folder, 'model')).rejects.toMatchObject({ code: 'IO' });
  });
});
