import type sharpFunction from 'sharp';
import { NoisefloorError } from '../errors.js';

export type Sharp = typeof sharpFunction;

/**
 * sharp with one thread a picture and no cache: several pictures at once keep the cores busy, and no picture is read twice.
 *
 * @throws NoisefloorError `MISSING_DEPENDENCY`
 */
export async function loadSharp(): Promise<Sharp> {
  try {
    const sharp = (await import('sharp')).default;
    sharp.concurrency(1);
    sharp.cache(false);
    return sharp;
  } catch (error) {
    throw new NoisefloorError(
      'MISSING_DEPENDENCY',
      `Reading pictures needs the npm package sharp: npm install sharp@0.35.5. (${(error as Error).message.split('\n')[0]})`,
      { cause: error },
    );
  }
}
