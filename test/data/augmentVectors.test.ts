import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { applyOperation, autoAugmentOperations, cifarPolicy, type AutoAugmentOperation } from '../../src/data/augment/autoAugment.js';
import { Canvas } from '../../src/data/augment/canvas.js';
import { hue } from '../../src/data/augment/colour.js';
import { ResizedCrop } from '../../src/data/augment/resizedCrop.js';

interface Picture {
  shape: number[];
  pixels: string;
  operations: { operation: AutoAugmentOperation; level: number; negate: boolean; result: string }[];
  resizedCrops: { box: [top: number, left: number, height: number, width: number]; result: string }[];
  hues: { turn: number; result: string }[];
}

/** Made by benchmarks/peers/make_augmentation_vectors.py with torchvision on Pillow images. */
const vectors = JSON.parse(readFileSync(new URL('../vectors/augmentation.json', import.meta.url), 'utf8')) as {
  policy: unknown;
  pictures: Record<string, Picture>;
};

function paint({ shape, pixels }: Picture): Canvas {
  const canvas = new Canvas(shape);
  canvas.pixels.set(Buffer.from(pixels, 'base64'));
  return canvas;
}

function digest({ pixels }: Canvas): string {
  return createHash('sha256').update(pixels).digest('hex').slice(0, 16);
}

describe.each(Object.entries(vectors.pictures))('to the byte as torchvision on Pillow, picture %s', (_, picture) => {
  test.each(Object.keys(autoAugmentOperations))('%s', (name) => {
    const rows = picture.operations.filter(({ operation }) => operation === name);
    expect(rows.length).toBeGreaterThan(0);
    for (const { operation, level, negate, result } of rows) {
      const canvas = paint(picture);
      applyOperation(canvas, operation, level, negate);
      expect(digest(canvas), `level ${level}, negate ${negate}`).toBe(result);
    }
  });

  test('bilinear resampling of RandomResizedCrop', () => {
    const resizedCrop = new ResizedCrop();
    for (const { box, result } of picture.resizedCrops) {
      const [top, left, height, width] = box;
      const canvas = paint(picture);
      resizedCrop.resize(canvas, { top, left, height, width });
      expect(digest(canvas), `box ${box.join()}`).toBe(result);
    }
  });

  test('hue', () => {
    for (const { turn, result } of picture.hues) {
      const canvas = paint(picture);
      hue(canvas, turn);
      expect(digest(canvas), `turn ${turn}`).toBe(result);
    }
  });
});

test('the CIFAR-10 policy is that of torchvision', () => {
  expect(cifarPolicy).toEqual(vectors.policy);
});
