// Images that one core augments in a second: see README.md.
import os from 'node:os';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { Augmenter } from '../dist/data/augment/pipeline.js';
import { mixBatch, mixes } from '../dist/data/augment/mixing.js';
import { Random } from '../dist/random.js';

const batchSize = 128;
const { rounds: wanted } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } }).values;
const rounds = Number(wanted);
const secondsARound = 0.2;
const none = { augment: [], cutout: 0, mixup: 0 };
const cases = {
  'copy alone': none,
  'crop, flip': { ...none, augment: ['standard'] },
  autoaugment: { ...none, augment: ['autoaugment'] },
  'cutout 16': { ...none, cutout: 16 },
  'mixup 0.2': { ...none, mixup: 0.2 },
  'cutmix 1': { ...none, cutmix: 1 },
  'resized-crop': { ...none, augment: ['resized-crop'] },
  'colour-jitter': { ...none, augment: ['colour-jitter'] },
  'crop, flip, autoaugment, cutout 16': { augment: ['standard', 'autoaugment'], cutout: 16, mixup: 0 },
  'resized-crop, flip, colour-jitter': { ...none, augment: ['resized-crop', 'flip', 'colour-jitter'] },
};

const shapes = { 'CIFAR, 3 x 32 x 32': [3, 32, 32], 'ImageNet, 3 x 224 x 224': [3, 224, 224] };
const table = new Table({ head: ['augmentation', ...Object.keys(shapes)], style: { head: [], border: [] } });
for (const [name, options] of Object.entries(cases)) {
  table.push([name, ...Object.values(shapes).map((shape) => Math.round(fastest(shape, options)).toLocaleString('en'))]);
}
console.log(`${os.cpus()[0].model}, 1 core, Node ${process.version}; images a second of processor time, best of ${rounds} rounds, batches of ${batchSize}`);
console.log(table.toString());

function fastest(shape, options) {
  const size = shape.reduce((a, b) => a * b);
  const count = Math.min(1024, Math.floor(2e7 / size));
  const random = new Random(1);
  const split = { images: smoothImages(count, shape), labels: new Uint8Array(count), count };
  const facts = { spec: 'benchmark', shape, normalization: { mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2] }, augmentation: { cropPadding: 4, flip: true } };
  const augmenter = new Augmenter(facts, options);
  const pixels = new Uint8Array(batchSize * size);
  const one = () => {
    const indices = Uint32Array.from({ length: batchSize }, () => random.integer(count));
    augmenter.apply(split, indices, random, pixels);
    if (mixes(options)) mixBatch(pixels, shape, options, random);
  };
  one();
  return Math.max(...Array.from({ length: rounds }, () => rate(one)));
}

/** By processor time, so that other work on the machine does not count. */
function rate(one) {
  const began = process.cpuUsage();
  const spent = () => {
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1e6;
  };
  let images = 0;
  while (spent() < secondsARound) {
    one();
    images += batchSize;
  }
  return images / spent();
}

/** Waves of another phase each: pixels that differ, without the histogram of noise. */
function smoothImages(count, [channels, height, width]) {
  const images = new Uint8Array(new SharedArrayBuffer(count * channels * height * width));
  for (let at = 0; at < images.length; at++) {
    const x = at % width;
    const y = Math.floor(at / width) % height;
    images[at] = 128 + 110 * Math.sin((5 * x) / width + at / 5000) * Math.cos((3 * y) / height);
  }
  return images;
}
