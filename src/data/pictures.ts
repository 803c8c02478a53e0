import type { Sharp as Pipeline, Metadata } from 'sharp';
import { NoisefloorError } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import { cropStart, resizedSize, type Preprocessing } from './preprocessing.js';
import type { Sharp } from './sharp.js';

export interface DecodeOptions {
  /** Of the result, [C, H, W] with C 1 or 3. */
  readonly shape: Shape;
  /** Without it the picture is scaled to cover [H, W] and cropped at the centre. */
  readonly preprocessing?: Preprocessing;
  /** Turns the picture as its EXIF tag says, which torchvision's data sets do not. */
  readonly orient: boolean;
}

interface Pixels {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
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
    const pixels = options.preprocessing ? await fitted(sharp, bytes, options, options.preprocessing) : await covering(sharp, bytes, options);
    return toPlanes(pixels);
  } catch (error) {
    if (error instanceof NoisefloorError) throw error;
    throw new NoisefloorError(
      'INVALID_DATA',
      `Could not read the picture ${name}: ${(error as Error).message}. Pass a JPEG, PNG, WebP, GIF, TIFF or AVIF file.`,
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

/** torchvision's Resize and CenterCrop; benchmarks/peers/torchvision_pixels.py compares the two. */
async function fitted(sharp: Sharp, bytes: Uint8Array, { shape, orient }: DecodeOptions, preprocessing: Preprocessing): Promise<Pixels> {
  const channels = shape[0] as 1 | 3;
  const opened = sharp(bytes, { ignoreIcc: true, failOn: 'error', autoOrient: orient });
  const metadata = await opened.metadata();
  const { width, height } = orient ? metadata.autoOrient : metadata;
  const size = resizedSize(width, height, preprocessing.resize);
  const plain = await withoutExtras(sharp, opened, metadata);
  const scaled = size[0] < width ? shrunk(plain, [width, height], size, preprocessing) : await enlarged(sharp, plain, [width, height], size, preprocessing);
  const { crop } = preprocessing;
  return rawPixels(scaled.extract({ left: cropStart(size[0], crop), top: cropStart(size[1], crop), width: crop, height: crop }), channels);
}

/** Alpha would be weighed in while scaling, and CMYK be converted by a colour profile. */
async function withoutExtras(sharp: Sharp, opened: Pipeline, { space, hasAlpha }: Metadata): Promise<Pipeline> {
  if (space === 'cmyk') {
    const { data, info } = await opened.pipelineColourspace('cmyk').toColourspace('cmyk').raw().toBuffer({ resolveWithObject: true });
    return sharp(cmykToRgb(data), { raw: { width: info.width, height: info.height, channels: 3 } });
  }
  if (!hasAlpha) return opened;
  return fromPixels(sharp, await rawPixels(opened, 3));
}

/** Taking the whole picture out first keeps the JPEG decoder from shrinking it in its own, coarser way. */
function shrunk(picture: Pipeline, [width, height]: Pair, size: Pair, { interpolation }: Preprocessing): Pipeline {
  const kernel = interpolation === 'bilinear' ? 'linear' : 'cubic';
  return picture.extract({ left: 0, top: 0, width, height }).resize(...size, { fit: 'fill', kernel });
}

/** sharp's `resize` aligns corners when it scales up; torchvision aligns the centres of pixels. The rim repeats the border. */
async function enlarged(sharp: Sharp, picture: Pipeline, [width, height]: Pair, size: Pair, { interpolation }: Preprocessing): Promise<Pipeline> {
  if (size[0] === width && size[1] === height) return picture;
  const rim = 3;
  const rimmed = await rawPixels(picture.extend({ top: rim, bottom: rim, left: rim, right: rim, extendWith: 'copy' }), 3);
  const [x, y] = [size[0] / width, size[1] / height];
  const offsets = { idx: 0.5 - 0.5 / x - rim, idy: 0.5 - 0.5 / y - rim };
  return fromPixels(sharp, await rawPixels(fromPixels(sharp, rimmed).affine([[x, 0], [0, y]], { interpolator: interpolation, ...offsets }), 3));
}

type Pair = readonly [width: number, height: number];

function fromPixels(sharp: Sharp, { data, width, height, channels }: Pixels): Pipeline {
  return sharp(data, { raw: { width, height, channels } });
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
