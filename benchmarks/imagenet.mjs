// Pictures to pixels beside torchvision on Pillow, whether they are the same, and a whole evaluation:
// node benchmarks/imagenet.mjs --data DIR --python PATH --dense FILE.onnx --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
import { execFile } from 'node:child_process';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Command, Option } from 'commander';
import { DenseSession, evaluate, normalizeImages, openImages, SpikingSession, topClasses } from 'noisefloor';
import { median } from './median.mjs';

const whole = (text) => Number.parseInt(text, 10);
const numbers = (text) => text.split(',').map(Number);
const options = new Command('imagenet')
  .requiredOption('--data <dir>', 'a folder with val/<synset>/')
  .option('--python <path>', 'with torch, torchvision and Pillow: compares with them')
  .option('--dense <file.onnx>', 'with --python: its answers on both pixels')
  .addOption(new Option('--mean <list>').argParser(numbers).default([0.485, 0.456, 0.406]))
  .addOption(new Option('--std <list>').argParser(numbers).default([0.229, 0.224, 0.225]))
  .option('--model <file.safetensors>', 'a spiking model: times a whole evaluation')
  .addOption(new Option('--time-steps <t>').argParser(whole).default(4))
  .addOption(new Option('--interpolation <kind>').choices(['bilinear', 'bicubic']).default('bilinear'))
  .addOption(new Option('--rounds <n>').argParser(whole).default(3))
  .parse()
  .opts();

const shape = [3, 224, 224];
const preprocessing = { resize: 256, crop: 224, interpolation: options.interpolation };
const source = await openImages(`imagenet:${options.data}`, 'test', { shape, preprocessing });
const cores = os.availableParallelism();
console.log(`${os.cpus()[0].model}, ${cores} processors, Node ${process.version}; ${source.count} pictures, short side 256, crop 224, ${options.interpolation}`);

const peer = options.python ? await peerOf() : undefined;
await raceDecoding();
if (peer && options.dense) await compareAnswers(await readFile(peer.out));
if (options.model) await timeEvaluation();

async function peerOf() {
  const folder = join(dirname(fileURLToPath(import.meta.url)), '.cache');
  await mkdir(folder, { recursive: true });
  const val = await stat(join(options.data, 'val')).then(() => join(options.data, 'val'), () => options.data);
  const [names, out] = [join(folder, 'pictures.txt'), join(folder, 'pictures.bin')];
  await writeFile(names, Array.from({ length: source.count }, (_, i) => join(val, source.nameOf(i))).join('\n'));
  return { names, out };
}

async function peerRound({ names, out }) {
  const script = fileURLToPath(new URL('peers/torchvision_pixels.py', import.meta.url));
  const argv = [script, names, out, '--interpolation', options.interpolation, '--workers', String(cores), '--rounds', '1'];
  return JSON.parse((await promisify(execFile)(options.python, argv)).stdout);
}

/** In turn, so that a slow minute of the machine hits both. */
async function raceDecoding() {
  const rates = { ours: [], theirs: [] };
  let versions = '';
  for (let round = 0; round < options.rounds; round++) {
    const began = performance.now();
    for await (const batch of source.batches({ batchSize: 32 })) if (batch.damaged.length > 0) console.log(batch.damaged);
    rates.ours.push((source.count * 1000) / (performance.now() - began));
    if (!peer) continue;
    const { seconds, torchvision, pillow } = await peerRound(peer);
    rates.theirs.push(source.count / seconds[0]);
    versions = `torchvision ${torchvision} on Pillow ${pillow}, DataLoader with ${cores} workers`;
  }
  const told = (all) => `${median(all).toFixed(0)} (${Math.max(...all).toFixed(0)}) images/s`;
  console.log(`preprocessing: noisefloor ${told(rates.ours)}${peer ? `, ${versions} ${told(rates.theirs)}: ${(median(rates.ours) / median(rates.theirs)).toFixed(2)}x` : ''}`);
}

/** The same dense network on our pixels and on theirs, and how far apart those are. */
async function compareAnswers(theirs) {
  const dense = await DenseSession.create(options.dense, { threads: cores });
  const normalization = { mean: options.mean, std: options.std };
  const [size, plane] = [3 * 224 * 224, 224 * 224];
  let [images, same, right, theirRight, worst, sum] = [0, 0, 0, 0, 0, 0];
  for await (const { positions, images: pixels, labels } of source.batches({ batchSize: 16 })) {
    const other = new Uint8Array(pixels.length);
    positions.forEach((position, i) => {
      for (let k = 0; k < size; k++) other[i * size + (k % 3) * plane + Math.floor(k / 3)] = theirs[position * size + k];
    });
    const answers = [];
    for (const one of [pixels, other]) {
      const logits = (await dense.run(normalizeImages(one, normalization, shape), shape)).get(dense.logitsName);
      const classes = logits.length / positions.length;
      answers.push(positions.map((_, i) => topClasses(logits.subarray(i * classes, (i + 1) * classes), 1)[0]));
    }
    positions.forEach((_, i) => {
      let difference = 0;
      for (let k = i * size; k < (i + 1) * size; k++) difference += Math.abs(pixels[k] - other[k]);
      [worst, sum] = [Math.max(worst, difference / size), sum + difference / size];
      images++;
      same += Number(answers[0][i] === answers[1][i]);
      right += Number(answers[0][i] === labels[i]);
      theirRight += Number(answers[1][i] === labels[i]);
    });
  }
  await dense.dispose();
  const percent = (count) => `${((100 * count) / images).toFixed(2)} %`;
  console.log(`pixels: mean absolute difference ${(sum / images).toFixed(3)} of 255, worst picture ${worst.toFixed(3)}`);
  console.log(`${options.dense}: the same top-1 on ${percent(same)}; top-1 ${percent(right)} on our pixels, ${percent(theirRight)} on torchvision's`);
}

async function timeEvaluation() {
  const session = await SpikingSession.create(options.model);
  const data = await openImages(`imagenet:${options.data}`, 'test', session.model.input);
  const began = performance.now();
  const { images, imagesPerSecond } = await evaluate(session, data, { timeSteps: [options.timeSteps], batchSize: 16 });
  await session.dispose();
  const rate = (images * 1000) / (performance.now() - began);
  console.log(`evaluation at T = ${options.timeSteps}: ${rate.toFixed(1)} images/s in all, ${imagesPerSecond.toFixed(1)} inside the engine, ${session.isa}, ${session.threads} threads`);
}
