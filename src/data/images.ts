import type sharpFunction from 'sharp';
import { NoisefloorError } from '../errors.js';
import { readWholeFile } from '../files.js';
import type { Shape } from '../graph/graph.js';
import { elementCount } from '../tensor.js';

type Sharp = typeof sharpFunction;

/**
 * Pictures in any format that sharp reads (JPEG, PNG, WebP, GIF, TIFF, AVIF) as network input: turned as their EXIF tag
 * says, scaled to cover [H, W] and cropped at the centre, alpha over black, sRGB for 3 channels, grey for 1.
 *
 * @param shape of one image, [C, H, W] with C 1 or 3
 * @returns bytes, [paths.length, C, H, W]
 * @throws NoisefloorError `FILE_NOT_FOUND`, `INVALID_DATA` not a picture, `MISSING_DEPENDENCY` sharp is not installed
 */
export async function readImages(paths: readonly string[], shape: Shape): Promise<Uint8Array> {
  const channels = shape[0]!;
  if (shape.length !== 3 || (channels !== 1 && channels !== 3)) {
    throw new NoisefloorError(
      'INVALID_ARGUMENT',
      `Pictures have 1 or 3 channels but the model takes an input of [${shape.join(', ')}]: run it on arrays instead.`,
    );
  }
  const sharp = await loadSharp();
  const size = elementCount(shape);
  const images = new Uint8Array(paths.length * size);
  for (const [i, path] of paths.entries()) {
    const bytes = await readWholeFile(path, 'picture');
    images.set(await decode(sharp, bytes, shape, path), i * size);
  }
  return images;
}

async function decode(sharp: Sharp, bytes: Buffer, shape: Shape, path: string): Promise<Uint8Array> {
  const [channels, height, width] = shape as readonly [1 | 3, number, number];
  let data: Buffer;
  try {
    const scaled = sharp(bytes).autoOrient().resize(width, height, { fit: 'cover', position: 'centre' });
    const flat = scaled.flatten({ background: '#000' }).toColourspace(channels === 1 ? 'b-w' : 'srgb');
    data = await flat.raw({ depth: 'uchar' }).toBuffer();
  } catch (error) {
    throw new NoisefloorError(
      'INVALID_DATA',
      `Could not read the picture ${path}: ${(error as Error).message}. Pass a JPEG, PNG, WebP, GIF, TIFF or AVIF file.`,
      { cause: error },
    );
  }
  return toPlanes(data, channels, height * width, path);
}

/** Interleaved pixels [H, W, C] to planes [C, H, W]. */
function toPlanes(data: Uint8Array, channels: number, plane: number, path: string): Uint8Array {
  if (data.length !== channels * plane) {
    throw new NoisefloorError(
      'INVALID_DATA',
      `${path}: expected ${channels} channels after decoding but found ${data.length / plane}. Save it as 8-bit RGB or grey.`,
    );
  }
  const planes = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) planes[(i % channels) * plane + Math.floor(i / channels)] = data[i]!;
  return planes;
}

async function loadSharp(): Promise<Sharp> {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    throw new NoisefloorError(
      'MISSING_DEPENDENCY',
      `Reading pictures needs the npm package sharp: npm install sharp@0.35.5. (${(error as Error).message.split('\n')[0]})`,
      { cause: error },
    );
  }
}
