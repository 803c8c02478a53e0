import type { Sharp as Pipeline } from 'sharp';
import { NoisefloorError } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import type { Preprocessing } from './preprocessing.js';
import { resizeAndCrop, type Pixels } from './resample.js';
import type { Sharp } from './sharp.js';

export interface DecodeOptions {
  /** Of the result, [C, H, W] with C 1 or 3. */
  readonly shape: Shape;
  /** Without it the picture is scaled to cover [H, W] and cropped at the centre. */
  readonly preprocessing?: Preprocessing;
  /** Turns the picture as its EXIF tag says, which torchvision's data sets do not. */
  readonly orient: boolean;
}

/**
 * One picture as network input: pixels as they are stored, without colour management, as Pillow's `convert('RGB')` gives
 * them; grey repeated for 3 channels, alpha dropped, 16 bits cut to 8.
 *
 * @returns bytes, [C, H, W]
 * @throws NoisefloorError `INVALID_DATA` not a picture, or a damaged one
 */
export async function decodePicture(sharp: Sharp, bytes: Uint8Array, name: string, options: DecodeOptions): Promise<Uint8Array> {
  try {
    if (!options.preprocessing) return toPlanes(await covering(sharp, bytes, options));
    return await resizeAndCrop(await plainPixels(sharp, bytes, options), options.preprocessing);
  } catch (error) {
    if (error instanceof NoisefloorError) throw error;
    throw new NoisefloorError(
      'INVALID_DATA',
      `Could not read the picture ${name}: ${reasonOf(error as Error)}. Pass a JPEG, PNG, WebP, GIF, TIFF or AVIF file.`,
      { cause: error },
    );
  }
}

/** Alpha over black, and colours by their profile: for pictures of any origin. */
function covering(sharp: Sharp, bytes: Uint8Array, { shape, orient }: DecodeOptions): Promise<Pixels> {
  const [channels, height, width] = shape as readonly [1 | 3, number, number];
  const scaled = sharp(bytes, { autoOrient: orient }).resize(width, height, { fit: 'cover', position: 'centre' });
  return rawPixels(scaled.flatten({ background: '#000' }), channels);
}

/** The whole picture in 8 bits. Alpha is dropped, and CMYK converted without a colour profile. */
async function plainPixels(sharp: Sharp, bytes: Uint8Array, { shape, orient }: DecodeOptions): Promise<Pixels> {
  const channels = shape[0] as 1 | 3;
  const opened = sharp(bytes, { ignoreIcc: true, failOn: 'error', autoOrient: orient });
  const { space } = await opened.metadata();
  if (space !== 'cmyk') return rawPixels(opened, channels);
  const { data, info } = await opened.pipelineColourspace('cmyk').toColourspace('cmyk').raw().toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const rgb = cmykToRgb(data);
  return channels === 3 ? { data: rgb, width, height, channels } : rawPixels(sharp(rgb, { raw: { width, height, channels: 3 } }), channels);
}

async function rawPixels(pipeline: Pipeline, channels: 1 | 3): Promise<Pixels> {
  const plain = pipeline.toColourspace(channels === 1 ? 'b-w' : 'srgb').removeAlpha();
  const { data, info } = await plain.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  if (info.channels !== channels) throw new Error(`it has ${info.channels} channels after decoding, not ${channels}`);
  return { data, width: info.width, height: info.height, channels };
}

/** As Pillow converts, without a profile. */
function cmykToRgb(cmyk: Uint8Array): Buffer {
  const rgb = Buffer.alloc((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const light = 255 - cmyk[from + 3]!;
    for (let c = 0; c < 3; c++) rgb[to++] = Math.round((light * (255 - cmyk[from + c]!)) / 255);
  }
  return rgb;
}

/** Interleaved pixels [H, W, C] to planes [C, H, W]. */
function toPlanes({ data, channels, width, height }: Pixels): Uint8Array {
  const plane = width * height;
  const planes = new Uint8Array(data.length);
  for (let c = 0; c < channels; c++) {
    for (let i = 0, from = c; i < plane; i++, from += channels) planes[c * plane + i] = data[from]!;
  }
  return planes;
}

/** What sharp itself says; behind a colon comes what libvips logs, which differs from run to run where pictures are read side by side. */
function reasonOf({ message }: Error): string {
  return message.split(':')[0]!.trim();
}
