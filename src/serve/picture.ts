import { normalizeImages } from '../data/batches.js';
import { checkPictureShape } from '../data/images.js';
import { decodePicture } from '../data/pictures.js';
import { loadSharp, type Sharp } from '../data/sharp.js';
import { NoisefloorError } from '../errors.js';
import type { Backend } from './backend.js';

/** Whether a picture is a JPEG, PNG or WebP, which are the formats taken from strangers, by its first bytes. */
export function isKnownPicture(bytes: Buffer): boolean {
  const start = bytes.subarray(0, 12).toString('latin1');
  return start.startsWith('\xff\xd8\xff') || start.startsWith('\x89PNG\r\n') || (start.startsWith('RIFF') && start.endsWith('WEBP'));
}

/**
 * A JPEG, PNG or WebP as input of a network, scaled and cropped as the model says, off the event loop.
 *
 * @param maxPixels as the file declares them: more are refused before any is decoded
 * @returns normalised, [1, C, H, W]
 * @throws NoisefloorError INVALID_DATA, INVALID_ARGUMENT (the model takes no pictures), MISSING_DEPENDENCY
 */
export async function pictureInput(bytes: Buffer, { input }: Backend, maxPixels: number): Promise<Float32Array> {
  checkPictureShape(input.shape);
  const sharp = await loadSharp();
  await checkSize(sharp, bytes, maxPixels);
  const { shape, preprocessing } = input;
  const pixels = await decodePicture(sharp, bytes, 'of the request', { shape, orient: true, ...(preprocessing && { preprocessing }) });
  return normalizeImages(pixels, input.normalization, shape);
}

async function checkSize(sharp: Sharp, bytes: Buffer, maxPixels: number): Promise<void> {
  const { width, height } = await sharp(bytes, { limitInputPixels: false }).metadata().catch((error: unknown) => {
    throw new NoisefloorError('INVALID_DATA', `The picture is damaged: ${(error as Error).message}.`, { cause: error });
  });
  if (width * height <= maxPixels) return;
  throw new NoisefloorError('INVALID_DATA', `The picture has ${width} x ${height} pixels: send one of at most ${maxPixels} in all.`);
}
