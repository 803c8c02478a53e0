// Ranges for the int8 opponent, from training images: never from those that are timed.
import { DenseSession, exportOnnx, int8Ranges, normalizeImages } from 'noisefloor';

const batch = 64;

/** Ranges of the nodes that exportInt8Onnx needs, over the first `count` training images. */
export async function calibrate(network, { train, shape, normalization }, threads, count = 512) {
  const [input, ...taps] = int8Ranges(network);
  const session = await DenseSession.create(exportOnnx(network, { activations: 'clipped', taps }), { threads });
  const size = shape.reduce((a, b) => a * b);
  const ranges = new Map([input, ...taps].map((name) => [name, { min: 0, max: 0 }]));
  for (let start = 0; start + batch <= count; start += batch) {
    const images = normalizeImages(train.images.slice(start * size, (start + batch) * size), normalization, shape);
    widen(ranges.get(input), images);
    for (const [name, values] of await session.run(images, shape, taps)) widen(ranges.get(name), values);
  }
  await session.dispose();
  return ranges;
}

function widen(range, values) {
  for (const value of values) {
    if (value < range.min) range.min = value;
    if (value > range.max) range.max = value;
  }
}
