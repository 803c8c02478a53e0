// Converts pretrained networks with every calibration and evaluates them beside the dense ones: the tables of docs/converting.md.
// Resumable: what is in --out is not done again. One run of the largest T gives all T and all delays of the read-out.
// node benchmarks/calibration.mjs --pretrained DIR --imagenet DIR --cifar10 DIR --out runs/calibration --parallel 2
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { calibrationCorrections, DenseSession, evaluateDense, normalizeImages, openImages, readOnnx, readSplit, readSpikingModel, SpikingSession } from 'noisefloor';
import { AccuracyCounter, potentialsAfter } from '../dist/evaluate/logits.js';
import { every, noisefloor, printTable } from './rows.mjs';

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
/** File of --pretrained, images, normalisation. */
const networks = {
  squeezenet1_1: { data: 'imagenet', ...imagenet },
  mobilenet_v1_075_224: { data: 'imagenet', mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  cifar10_resnet20: { data: 'cifar10', ...imagenet },
};

const whole = (text) => Number.parseInt(text, 10);
const names = (text) => text.split(',');
const options = new Command('calibration')
  .requiredOption('--pretrained <dir>', `folder with ${Object.keys(networks).map((name) => `${name}.onnx`).join(', ')}`)
  .requiredOption('--out <dir>', 'folder for models, journals and results')
  .option('--imagenet <dir>', 'as imagenet:DIR takes')
  .option('--cifar10 <dir>', 'as cifar10:DIR takes')
  .addOption(new Option('--networks <list>').argParser(names).default(Object.keys(networks)))
  .addOption(new Option('--calibrations <list>', 'a percentile as percentile:99.9').argParser(names).default(['maximum', 'percentile:99.99', 'percentile:99.9', 'mse', 'ltb']))
  .addOption(new Option('--corrections <list>').argParser(names).default([...calibrationCorrections]))
  .addOption(new Option('--convert <options>', 'further options of convert, such as "--weights int16"').default(''))
  .addOption(new Option('--time-steps <list>').argParser((text) => names(text).map(whole)).default([4, 8, 16, 32, 64, 128]))
  .addOption(new Option('--delays <list>', 'steps before the read-out begins, of T of more than those').argParser((text) => names(text).map(whole)).default([0]))
  .addOption(new Option('--limit <n>', 'only the first n test images').argParser(whole))
  .addOption(new Option('--parallel <n>', 'rows at a time, each with its share of the processors').argParser(whole).default(1))
  .parse()
  .opts();

const threads = Math.max(1, Math.floor(os.availableParallelism() / options.parallel));
const specOf = (name) => `${networks[name].data}:${options[networks[name].data]}`;
const fileOf = (name) => join(options.pretrained, `${name}.onnx`);
const images = options.limit === undefined ? 'all' : `first-${options.limit}`;
await mkdir(options.out, { recursive: true });
checkNames();

const rows = options.networks.flatMap((network) =>
  options.calibrations.flatMap((calibration) => options.corrections.map((correction) => ({ network, calibration, correction }))),
);
const dense = new Map();
for (const name of options.networks) dense.set(name, await kept(join(options.out, `${name}-dense-${images}.json`), () => denseAccuracy(name)));
const results = await every(rows, options.parallel, row);
options.networks.forEach(printNetwork);

function checkNames() {
  for (const name of options.networks) {
    if (!networks[name]) throw new Error(`Unknown network "${name}": give ${Object.keys(networks).join(', ')}.`);
    if (!options[networks[name].data]) throw new Error(`${name} needs images: give --${networks[name].data}.`);
  }
}

/** The JSON of a file, made where it is missing; whole or not there. */
async function kept(file, make) {
  if (!existsSync(file)) {
    await writeFile(`${file}.part`, JSON.stringify(await make()));
    await rename(`${file}.part`, file);
  }
  return JSON.parse(await readFile(file, 'utf8'));
}

async function denseAccuracy(name) {
  const { mean, std } = networks[name];
  const { shape } = (await readOnnx(fileOf(name), { normalization: { mean, std } })).graph.input;
  const source = await openImages(specOf(name), 'test', { shape });
  const session = await DenseSession.create(fileOf(name), { threads: os.availableParallelism() });
  const split = await readSplit(source, options.limit ?? source.count);
  const found = await evaluateDense(session, split, { normalization: { mean, std }, shape, batchSize: 16 });
  await session.dispose();
  return found;
}

async function row({ network, calibration, correction }) {
  const { mean, std } = networks[network];
  const [method, percentile] = calibration.split(':');
  const name = [network, calibration, correction, options.convert].join('-').replace(/[^\w.]+/g, '-').replace(/-$/, '');
  const model = join(options.out, `${name}.safetensors`);
  if (!existsSync(model)) {
    console.error(`${name}: conversion`);
    await noisefloor(
      'convert', fileOf(network), '--calibrate', specOf(network), '--mean', mean.join(), '--std', std.join(), '--out', model, '--threads', threads,
      '--calibration', method, ...(percentile ? ['--calibration-percentile', percentile] : []), '--calibration-correct', correction, ...options.convert.split(' ').filter(Boolean),
    );
  }
  return kept(join(options.out, `${name}-${images}-${options.timeSteps.join('-')}-${options.delays.join('-')}.json`), () => {
    console.error(`${name}: evaluation`);
    return spikingAccuracy(network, model);
  });
}

/** Top-1 at each T, by delay. */
async function spikingAccuracy(network, file) {
  const model = await readSpikingModel(file);
  const source = await openImages(specOf(network), 'test', { shape: model.input.shape });
  const { images: bytes, labels, count } = await readSplit(source, options.limit ?? source.count);
  const pixels = bytes.length / count;
  const batchSize = networks[network].data === 'imagenet' ? 8 : 64;
  const right = options.delays.map(() => options.timeSteps.map(() => new AccuracyCounter()));
  const session = await SpikingSession.create(model, { threads });
  for (let first = 0; first < count; first += batchSize) {
    const end = Math.min(count, first + batchSize);
    const batch = normalizeImages(bytes.subarray(first * pixels, end * pixels), model.input.normalization, model.input.shape);
    const result = await session.run(batch, { timeSteps: Math.max(...options.timeSteps) });
    options.delays.forEach((delay, d) => options.timeSteps.forEach((steps, t) => {
      if (steps > delay) right[d][t].add(potentialsAfter(result, steps, delay), labels.subarray(first, end));
    }));
  }
  await session.dispose();
  return right.map((row) => row.map(({ top1 }) => top1));
}

function printNetwork(name) {
  const percent = (share) => (100 * share).toFixed(1);
  const { images: count, top1 } = dense.get(name);
  console.log(`\n${name}, ${count} test images, dense ${percent(top1)}${options.convert && `, convert ${options.convert}`}\n`);
  const head = ['calibration', 'correction', 'delay', ...options.timeSteps.map((t) => `T=${t}`)];
  const body = rows.flatMap(({ network, calibration, correction }, i) => {
    if (network !== name) return [];
    const label = [calibration.replace(':', ' '), correction];
    return options.delays.map((delay, d) => [...label, delay || '', ...results[i][d].map((share, t) => (options.timeSteps[t] > delay ? percent(share) : ''))]);
  });
  printTable(head, body);
}
