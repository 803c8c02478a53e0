import type { Canvas } from './canvas.js';

/** image[y][x] becomes image[y + top][x + left]; black (0) where that lies outside. */
export function shift(canvas: Canvas, top: number, left: number): void {
  if (top === 0 && left === 0) return;
  const { pixels, spare, channels, height, width } = canvas;
  const [first, last] = [Math.max(0, -left), Math.min(width, width - left)];
  spare.fill(0);
  for (let c = 0; c < channels; c++) {
    for (let y = Math.max(0, -top); y < Math.min(height, height - top); y++) {
      const from = (c * height + y + top) * width + left;
      const row = (c * height + y) * width;
      for (let x = first; x < last; x++) spare[row + x] = pixels[from + x]!;
    }
  }
  canvas.swap();
}

/** Left to right. */
export function mirror({ pixels, width }: Canvas): void {
  for (let row = 0; row < pixels.length; row += width) {
    for (let left = row, right = row + width - 1; left < right; left++, right--) {
      const pixel = pixels[left]!;
      pixels[left] = pixels[right]!;
      pixels[right] = pixel;
    }
  }
}

/** Moves row y to the left by `slope` y pixels. */
export function shearX(canvas: Canvas, slope: number): void {
  affine(canvas, [1, slope, 0, 0, 1, 0]);
}

/** Moves column x up by `slope` x pixels. */
export function shearY(canvas: Canvas, slope: number): void {
  affine(canvas, [1, 0, 0, slope, 1, 0]);
}

/** About the centre, counter-clockwise. */
export function rotate(canvas: Canvas, degrees: number): void {
  const angle = (-degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [cx, cy] = [canvas.width / 2, canvas.height / 2];
  affine(canvas, [cos, sin, cx - cos * cx - sin * cy, -sin, cos, cy + sin * cx - cos * cy]);
}

type AffineMap = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/**
 * The pixel at (x, y) becomes that at (a x + b y + c, d x + e y + f), nearest neighbour, black outside. Coordinates in
 * 16-bit fixed point and taken at pixel centres, as Pillow's `Image.transform` does.
 */
function affine(canvas: Canvas, [a, b, c, d, e, f]: AffineMap): void {
  const { pixels, spare, channels, plane, height, width } = canvas;
  const [stepX, stepY] = [fixed(a), fixed(d)];
  for (let y = 0; y < height; y++) {
    let xx = fixed(c + (a + b) / 2) + y * fixed(b);
    let yy = fixed(f + (d + e) / 2) + y * fixed(e);
    for (let to = y * width; to < (y + 1) * width; to++, xx += stepX, yy += stepY) {
      const [fromX, fromY] = [xx >> 16, yy >> 16];
      const inside = fromX >= 0 && fromX < width && fromY >= 0 && fromY < height;
      const from = fromY * width + fromX;
      for (let k = 0; k < channels; k++) spare[k * plane + to] = inside ? pixels[k * plane + from]! : 0;
    }
  }
  canvas.swap();
}

function fixed(value: number): number {
  return Math.floor(value * 65536 + 0.5);
}
