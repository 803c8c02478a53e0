import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { decodePicture } from '../../src/data/pictures.js';
import { checkPreprocessing, cropStart, interpolations, resizedSize, usualPreprocessing } from '../../src/data/preprocessing.js';

interface Vectors {
  readonly resize: number;
  readonly crop: number;
  readonly pictures: readonly { readonly name: string; readonly file: string; readonly bilinear: string; readonly bicubic: string }[];
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/pictures.json', import.meta.url), 'utf8')) as Vectors;
const { resize, crop } = vectors;
const shape = [3, crop, crop];

function meanDifference(a: Uint8Array, b: Uint8Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]!), 0) / a.length;
}

describe.each(interpolations)('%s, against torchvision', (interpolation) => {
  it.each(vectors.pictures)('$name', async (picture) => {
    const options = { shape, preprocessing: { resize, crop, interpolation }, orient: false };
    const pixels = await decodePicture(sharp, Buffer.from(picture.file, 'base64'), picture.name, options);
    expect(meanDifference(pixels, Buffer.from(picture[interpolation], 'base64'))).toBeLessThan(0.25); // JPEG decoders differ a little in the chroma of some sizes
  });
});

describe('decodePicture', () => {
  const preprocessing = { resize: 8, crop: 8, interpolation: 'bilinear' } as const;
  const flat = (raw: Uint16Array, channels: 1 | 3) => sharp(raw, { raw: { width: 16, height: 16, channels } });

  it('cuts 16 bits to 8', async () => {
    const grey = await flat(new Uint16Array(256).fill(0x80ff), 1).toColourspace('grey16').png().toBuffer();
    const rgb = await flat(Uint16Array.from({ length: 768 }, (_, i) => [0x10ff, 0x4000, 0xffff][i % 3]!), 3).toColourspace('rgb16').png().toBuffer();
    expect((await sharp(grey).metadata()).depth).toBe('ushort');
    const decode = (bytes: Buffer) => decodePicture(sharp, bytes, 'x', { shape: [3, 8, 8], preprocessing, orient: false });
    expect([...(await decode(grey))]).toEqual(new Array(192).fill(0x80));
    expect([...new Set(await decode(rgb))]).toEqual([0x10, 0x40, 0xff]);
  });

  it('turns a picture by its EXIF tag only where asked to', async () => {
    const upright = Buffer.alloc(192, 10).fill(200, 96); // the lower half is bright
    const tagged = await sharp(upright, { raw: { width: 8, height: 8, channels: 3 } }).withMetadata({ orientation: 3 }).png().toBuffer();
    const decode = async (orient: boolean) => (await decodePicture(sharp, tagged, 'x', { shape: [3, 8, 8], preprocessing, orient }))[0];
    expect(await decode(false)).toBe(10);
    expect(await decode(true)).toBe(200);
  });

  it('gives one channel where the network takes one', async () => {
    const bytes = Buffer.from(vectors.pictures.find(({ name }) => name === 'grey JPEG')!.file, 'base64');
    const options = { preprocessing: { resize, crop, interpolation: 'bilinear' }, orient: false } as const;
    const one = await decodePicture(sharp, bytes, 'x', { ...options, shape: [1, crop, crop] });
    const three = await decodePicture(sharp, bytes, 'x', { ...options, shape });
    expect(Buffer.concat([one, one, one]).equals(three)).toBe(true);
  });

  it('refuses what is no picture, and a picture that is cut off', async () => {
    const whole = Buffer.from(vectors.pictures[1]!.file, 'base64');
    for (const bytes of [Buffer.from('no picture'), Buffer.alloc(0), whole.subarray(0, whole.length / 2)]) {
      const decoding = decodePicture(sharp, bytes, 'a/b.jpg', { shape, preprocessing: usualPreprocessing(crop), orient: false });
      await expect(decoding).rejects.toMatchObject({ code: 'INVALID_DATA', message: expect.stringContaining('a/b.jpg') as string });
    }
  });
});

describe('geometry of torchvision', () => {
  it('rounds the long side down', () => {
    expect(resizedSize(500, 375, 256)).toEqual([341, 256]);
    expect(resizedSize(375, 500, 256)).toEqual([256, 341]);
    expect(resizedSize(300, 300, 256)).toEqual([256, 256]);
  });

  it('rounds half a pixel to the even side', () => {
    expect([341, 343, 256, 224].map((size) => cropStart(size, 224))).toEqual([58, 60, 16, 0]);
  });

  it('refuses what does not give the input', () => {
    const good = { resize: 256, crop: 224, interpolation: 'bilinear' } as const;
    expect(usualPreprocessing(224)).toEqual(good);
    expect(() => checkPreprocessing({ ...good, crop: 200 }, [3, 224, 224])).toThrow(/224 and 224, height and width of the input, for crop/);
    expect(() => checkPreprocessing({ ...good, resize: 200 }, [3, 224, 224])).toThrow(/from 224/);
    expect(() => checkPreprocessing({ ...good, interpolation: 'nearest' as 'bilinear' }, [3, 224, 224])).toThrow(/bilinear, bicubic/);
  });
});
