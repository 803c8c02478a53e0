import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { imagenetSynsets } from '../../src/data/imagenet/synsets.js';
import { openImages } from '../../src/data/open.js';
import { firstOf, readSplit, type ImageBatch, type ImageSource } from '../../src/data/source.js';
import { makeTar, metaMat, picture, shape, temporaryFolder, valName, writeFiles } from '../support/pictureFolders.js';

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true }));

/** Class index of kit fox, English setter and tench. */
const [fox, setter, tench] = ['n02119789', 'n02100735', 'n01440764'].map((id) => imagenetSynsets.findIndex((one) => one.id === id)) as [number, number, number];
const greys = [10, 90, 170, 250];
/** Of pictures 1 to 4. */
const labels = [setter, tench, fox, tench];
const synsetOf = (label: number): string => imagenetSynsets[label]!.id;

let jpegs: Buffer[];
let flat: Record<string, Buffer>;
let inClasses: Record<string, Buffer>;
beforeAll(async () => {
  jpegs = await Promise.all(greys.map(picture));
  flat = Object.fromEntries(jpegs.map((jpeg, i) => [valName(i + 1), jpeg]));
  inClasses = Object.fromEntries(jpegs.map((jpeg, i) => [`${synsetOf(labels[i]!)}/${valName(i + 1)}`, jpeg]));
});

async function batchesOf(source: ImageSource, batchSize = 3): Promise<ImageBatch[]> {
  const batches: ImageBatch[] = [];
  for await (const batch of source.batches({ batchSize })) batches.push(batch);
  return batches;
}

async function contents(path: string, part: 'train' | 'test' = 'test'): Promise<{ labels: number[]; greys: number[] }> {
  const source = await openImages(`imagenet:${path}`, part, { shape });
  const batches = await batchesOf(source);
  return {
    labels: batches.flatMap((batch) => [...batch.labels]),
    greys: batches.flatMap((batch) => batch.positions.map((_, i) => batch.images[i * 768]!)),
  };
}

const expected = { labels, greys };
const put = (path: string, prefix = ''): string => {
  const prefixed = (files: Record<string, Buffer>) => Object.fromEntries(Object.entries(files).map(([name, bytes]) => [prefix + name, bytes]));
  writeFiles(join(folder, path), prefixed(path.startsWith('flat') ? flat : inClasses));
  return join(folder, path);
};

describe('layouts', () => {
  it('a folder a synset, in DIR/val or in DIR', async () => {
    expect(await contents(put('classes'))).toEqual(expected);
    expect(await contents(put('classes-val', 'val/'))).toEqual(expected);
    mkdirSync(join(folder, 'linked'));
    for (const label of new Set(labels)) symlinkSync(join(folder, 'classes', synsetOf(label)), join(folder, 'linked', synsetOf(label)));
    expect(await contents(join(folder, 'linked'))).toEqual(expected);
  });

  it.each([
    ['val.txt', () => labels.map((label, i) => `${valName(i + 1)} ${label}\n`).join('')],
    ['LOC_val_solution.csv', () => ['ImageId,PredictionString', ...labels.map((label, i) => `${valName(i + 1).slice(0, -5)},${synsetOf(label)} 85 1 499 272 `)].join('\n')],
    ['imagenet_2012_validation_synset_labels.txt', () => labels.map(synsetOf).join('\n')],
  ])('flat with %s', async (name, text) => {
    const dir = put(`flat-${name}`);
    writeFiles(dir, { [name]: text() });
    expect(await contents(dir)).toEqual(expected);
  });

  const devkit = { 'data/ILSVRC2012_validation_ground_truth.txt': '2\n300\n1\n300\n', 'data/meta.mat': metaMat };

  it('flat with the devkit, unpacked beside it', async () => {
    put('flat-devkit/ILSVRC2012_img_val');
    writeFiles(join(folder, 'flat-devkit/ILSVRC2012_devkit_t12'), devkit);
    expect(await contents(join(folder, 'flat-devkit'))).toEqual(expected);
  });

  it('the archives as downloaded: flat val, devkit, train of archives', async () => {
    const dir = join(folder, 'archives');
    mkdirSync(dir);
    put('flat-packed');
    makeTar(join(dir, 'ILSVRC2012_img_val.tar'), join(folder, 'flat-packed'));
    writeFiles(join(folder, 'devkit-packed/ILSVRC2012_devkit_t12'), devkit);
    makeTar(join(dir, 'ILSVRC2012_devkit_t12.tar.gz'), join(folder, 'devkit-packed'));
    for (const label of new Set(labels)) {
      const id = synsetOf(label);
      const own = Object.fromEntries(jpegs.flatMap((jpeg, i) => (labels[i] === label ? [[`${id}_${i}.JPEG`, jpeg]] : [])));
      writeFiles(join(folder, 'train-packed', id), own);
      mkdirSync(join(folder, 'train-archives'), { recursive: true });
      makeTar(join(folder, 'train-archives', `${id}.tar`), join(folder, 'train-packed', id));
    }
    makeTar(join(dir, 'ILSVRC2012_img_train.tar'), join(folder, 'train-archives'));
    expect(await contents(dir)).toEqual(expected);
    expect(await contents(join(dir, 'ILSVRC2012_img_val.tar'))).toEqual(expected);
    // In turn from each class: tench, setter, fox, tench.
    expect(await contents(dir, 'train')).toEqual({ labels: [tench, setter, fox, tench], greys: [90, 10, 170, 250] });
  });

  it('an archive with long names, in two formats', async () => {
    const long = `${'long-'.repeat(30)}.JPEG`;
    writeFiles(join(folder, 'long-names', 'n01440764'), { [long]: jpegs[3]! });
    for (const format of ['gnu', 'pax']) {
      makeTar(join(folder, `${format}.tar`), join(folder, 'long-names'), format);
      expect(await contents(join(folder, `${format}.tar`))).toEqual({ labels: [tench], greys: [250] });
    }
  });

  it('classes of any name, and calibration pictures', async () => {
    const dir = join(folder, 'pets');
    writeFiles(dir, { 'val/dog/a.png': jpegs[0]!, 'val/cat/b.jpg': jpegs[1]!, 'calibration/dog/c.jpg': jpegs[2]!, 'calibration/cat/d.jpg': jpegs[3]! });
    expect(await contents(dir)).toEqual({ labels: [0, 1], greys: [90, 10] });
    const source = await openImages(`imagenet:${dir}`, 'train', { shape });
    expect(source.classes).toEqual(['cat', 'dog']);
    const split = await readSplit(source, 1);
    expect([split.count, ...split.labels, split.images.length, split.images[0]]).toEqual([1, 0, 768, 250]);
  });

  it('classes in the order of synset_words.txt', async () => {
    const dir = join(folder, 'own-order');
    writeFiles(dir, { 'val/dog/a.png': jpegs[0]!, 'val/cat/b.jpg': jpegs[1]!, 'synset_words.txt': 'dog good dog\nbird\ncat a cat, a feline\n' });
    const source = await openImages(`imagenet:${dir}`, 'test', { shape });
    expect(source.classes).toEqual(['good dog', 'bird', 'a cat, a feline']);
    expect((await contents(dir)).labels).toEqual([0, 2]);
  });
});

describe('a source of pictures', () => {
  it('names damaged pictures and goes on', async () => {
    const dir = put('damaged');
    writeFileSync(join(dir, synsetOf(tench), valName(2)), jpegs[1]!.subarray(0, 200));
    const batches = await batchesOf(await openImages(`imagenet:${dir}`, 'test', { shape }));
    expect(batches.map(({ start, end, positions }) => [start, end, positions])).toEqual([[0, 3, [0, 2]], [3, 4, [3]]]);
    expect(batches[0]!.damaged).toEqual([{ name: `n01440764/${valName(2)}`, reason: expect.stringContaining('Could not read the picture') as string }]);
    expect(batches.flatMap((batch) => [...batch.labels])).toEqual([setter, fox, tench]);
  });

  it('reads any part of itself, with the same fingerprint however it is stored', async () => {
    const dir = put('parts');
    const source = await openImages(`imagenet:${dir}`, 'test', { shape });
    const positions: number[] = [];
    for await (const batch of source.batches({ batchSize: 1, start: 1, end: 3 })) positions.push(...batch.positions);
    expect(positions).toEqual([1, 2]);
    expect(source.nameOf(1)).toBe(`n01440764/${valName(2)}`);
    makeTar(join(folder, 'parts.tar'), dir);
    const packed = await openImages(`imagenet:${join(folder, 'parts.tar')}`, 'test', { shape });
    expect(packed.fingerprint()).toBe(source.fingerprint());
    const bicubic = { resize: 18, crop: 16, interpolation: 'bicubic' } as const;
    expect((await openImages(`imagenet:${dir}`, 'test', { shape, preprocessing: bicubic })).fingerprint()).not.toBe(source.fingerprint());
    const limited = firstOf(source, 2);
    expect([limited.count, (await batchesOf(limited)).length]).toEqual([2, 1]);
    expect(limited.fingerprint()).not.toBe(source.fingerprint());
    await expect(batchesOf(limited, 0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('stops a read that nobody wants any more', async () => {
    const source = await openImages(`imagenet:${put('stopped')}`, 'test', { shape });
    for await (const { end } of source.batches({ batchSize: 1 })) {
      expect(end).toBe(1);
      break;
    }
  });
});

describe('what is not there or wrong', () => {
  const open = (path: string, part: 'train' | 'test' = 'test') => openImages(`imagenet:${join(folder, path)}`, part, { shape });

  it.each([
    ['no folder', () => open('nowhere'), 'FILE_NOT_FOUND', /No data set folder/],
    ['no archive', () => open('nowhere.tar'), 'FILE_NOT_FOUND', /No tar archive/],
    ['no name of a folder', () => openImages('imagenet:', 'test', { shape }), 'INVALID_ARGUMENT', /Name the folder: imagenet:DIR/],
    ['an unknown data set', () => openImages('imagenot:x', 'test', { shape }), 'INVALID_ARGUMENT', /cifar100:DIR, imagenet:DIR/],
    ['no training pictures', () => open('classes-val', 'train'), 'FILE_NOT_FOUND', /no training pictures: there is val but none of calibration, train/],
    ['two channels', () => openImages(`imagenet:${folder}/classes`, 'test', { shape: [2, 16, 16] }), 'INVALID_ARGUMENT', /1 or 3 channels/],
    ['an input that is not square', () => openImages(`imagenet:${folder}/classes`, 'test', { shape: [3, 16, 12] }), 'INVALID_ARGUMENT', /16 and 12/],
  ])('%s', async (_, work, code, message) => {
    await expect(work()).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  it('flat pictures without a truth, or with a wrong one', async () => {
    const dir = put('flat-alone');
    await expect(open('flat-alone')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND', message: expect.stringContaining('val.txt, LOC_val_solution.csv') as string });
    writeFiles(dir, { 'val.txt': `${valName(1)} 1000\n` });
    await expect(open('flat-alone')).rejects.toMatchObject({ code: 'INVALID_DATA', message: expect.stringContaining('"1000" is neither') as string });
    writeFiles(dir, { 'val.txt': `${valName(1)} 3\n` });
    await expect(open('flat-alone')).rejects.toMatchObject({ code: 'INVALID_DATA', message: expect.stringContaining(valName(2)) as string });
  });

  it('archives that are cut off, or are none', async () => {
    const archive = join(folder, 'cut.tar');
    makeTar(archive, join(folder, 'classes'));
    const whole = readFileSync(archive);
    for (const length of [2000, whole.length - 6000, 700]) {
      writeFileSync(archive, whole.subarray(0, length));
      await expect(open('cut.tar')).rejects.toMatchObject({ code: 'INVALID_DATA' });
    }
    writeFileSync(archive, Buffer.alloc(2048, 1));
    await expect(open('cut.tar')).rejects.toMatchObject({ code: 'INVALID_DATA', message: expect.stringContaining('not an uncompressed tar archive') as string });
  });

  it('a devkit that is none', async () => {
    const dir = put('flat-bad-devkit');
    writeFiles(dir, { 'ILSVRC2012_validation_ground_truth.txt': '1\n', 'meta.mat': 'nothing' });
    await expect(open('flat-bad-devkit')).rejects.toMatchObject({ code: 'INVALID_DATA', message: expect.stringContaining('not a MATLAB 5.0 file') as string });
  });
});
