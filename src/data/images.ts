import { NoisefloorError } from '../errors.js';
import { readWholeFile } from '../files.js';
import type { Shape } from '../graph/graph.js';
import { elementCount } from '../tensor.js';
import { decodePicture } from './pictures.js';
import { checkPreprocessing, type Preprocessing } from './preprocessing.js';
import { loadSharp } from './sharp.js';

/**
 * Pictures in any format that sharp reads (JPEG, PNG, WebP, GIF, TIFF, AVIF) as network input, turned as their EXIF tag says.
 * Without a preprocessing: scaled to cover [H, W] and cropped at the centre, alpha over black, sRGB for 3 channels, grey for 1.
 *
 * @param shape of one image, [C, H, W] with C 1 or 3
 * @returns bytes, [paths.length, C, H, W]
 * @throws NoisefloorError `FILE_NOT_FOUND`, `INVALID_DATA` not a picture, `MISSING_DEPENDENCY` sharp is not installed
 */
export async function readImages(paths: readonly string[], shape: Shape, preprocessing?: Preprocessing): Promise<Uint8Array> {
  checkPictureShape(shape);
  if (preprocessing) checkPreprocessing(preprocessing, shape);
  const sharp = await loadSharp();
  const size = elementCount(shape);
  const images = new Uint8Array(paths.length * size);
  for (const [i, path] of paths.entries()) {
    const bytes = await readWholeFile(path, 'picture');
    images.set(await decodePicture(sharp, bytes, path, { shape, orient: true, ...(preprocessing && { preprocessing }) }), i * size);
  }
  return images;
}

/** @throws NoisefloorError `INVALID_ARGUMENT` no picture has that many channels */
export function checkPictureShape(shape: Shape): void {
  if (shape.length === 3 && (shape[0] === 1 || shape[0] === 3)) return;
  throw new NoisefloorError(
    'INVALID_ARGUMENT',
    `Pictures have 1 or 3 channels but the model takes an input of [${shape.join(', ')}]: run it on arrays instead.`,
  );
}
