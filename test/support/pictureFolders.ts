import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';

export const shape = [3, 16, 16] as const;

/** The devkit's meta.mat with ILSVRC2012_ID 1 kit fox, 2 English setter, 300 tench. */
export const metaMat = Buffer.from(
  (JSON.parse(readFileSync(new URL('../vectors/pictures.json', import.meta.url), 'utf8')) as { 'meta.mat': string })['meta.mat'],
  'base64',
);

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'noisefloor-pictures-'));
}

/** A picture of one colour, a little larger than `shape`. */
export function picture(grey: number): Promise<Buffer> {
  return sharp({ create: { width: 24, height: 20, channels: 3, background: { r: grey, g: grey, b: grey } } }).jpeg({ quality: 100 }).toBuffer();
}

/** Files by their path, folders made. */
export function writeFiles(folder: string, files: Readonly<Record<string, string | Buffer>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/** `archive` of everything in `folder`; a name that ends in .gz is compressed. */
export function makeTar(archive: string, folder: string, format = 'gnu'): void {
  execFileSync('tar', [`--format=${format}`, archive.endsWith('.gz') ? '-czf' : '-cf', archive, '-C', folder, '.']);
}

export function valName(number: number): string {
  return `ILSVRC2012_val_${String(number).padStart(8, '0')}.JPEG`;
}
