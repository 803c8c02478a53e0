// ResNet-50 at 224 x 224, T = 8, against ONNX Runtime fp32 of the same network: node benchmarks/resnet50.mjs --images DIR
// Weights are random, batch normalisation and thresholds are measured on the pictures: it shows speed at the activity that is
// printed, not accuracy.
import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Command, Option } from 'commander';
import Table from 'cli-table3';
import { buildNetwork, calibrate, convert, exportOnnx, normalizeImages, SpikingSession, weightTypes, writeSpikingModel } from 'noisefloor';
import { readImages } from '../dist/data/images.js';
import { initialParameters } from '../dist/graph/parameters.js';
import { Random } from '../dist/random.js';
import { buildTrainingModels } from '../dist/training/artifacts.js';
import { resolveConfig } from '../dist/training/options.js';
import { TrainingStepper } from '../dist/training/stepper.js';
import { median } from './median.mjs';

const number = (text) => Number(text);
const options = new Command('resnet50')
  .requiredOption('--images <dir>', 'a folder of pictures, or of folders of them')
  .addOption(new Option('--count <n>', 'pictures').argParser(number).default(8))
  .addOption(new Option('--weights <type>', 'of the spiking model').choices([...weightTypes]).default('int7'))
  .addOption(new Option('--time-steps <t>').argParser(number).default(8))
  .addOption(new Option('--percentile <p>', 'of the activations below the threshold').argParser(number).default(99.9))
  .addOption(new Option('--shift <x>', 'bias of batch normalisation: the lower, the fewer spikes').argParser(number).default(0))
  .addOption(new Option('--threads <n>', 'on both sides').argParser(number).default(2))
  .addOption(new Option('--rounds <n>', 'fresh processes a contestant').argParser(number).default(3))
  .addOption(new Option('--seconds <n>', 'timed seconds a process').argParser(number).default(5))
  .parse()
  .opts();

const here = dirname(fileURLToPath(import.meta.url));
const file = (name) => join(here, '.cache', name);
const shape = [3, 224, 224];
const normalization = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

const pixels = await readImages(await pictures(options.images, options.count), shape);
const images = normalizeImages(pixels, normalization, shape);
const network = await calibrate(await randomNetwork(), { images, count: options.count }, { method: 'percentile', percentile: options.percentile, batchSize: 4, timeSteps: 32, stagger: 0 });
const { model } = convert(network, { weights: options.weights });
const files = { model: file('resnet50.safetensors'), fp32: file('resnet50.onnx'), inputs: file('resnet50.f32') };
await mkdir(dirname(files.model), { recursive: true });
await writeSpikingModel(files.model, model);
await writeFile(files.fp32, exportOnnx(network, { activations: 'clipped' }));
await writeFile(files.inputs, images);
await printActivity();
await race();

async function pictures(folder, count) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile() && /\.(jpe?g|png|webp)$/i.test(entry.name)).map((entry) => join(entry.parentPath, entry.name));
  if (paths.length < count) throw new Error(`${folder} has ${paths.length} pictures: give --count ${paths.length} or less.`);
  return paths.sort().slice(0, count);
}

/** Batch normalisation takes its statistics from one training step without a change of the weights. */
async function randomNetwork() {
  const built = buildNetwork('resnet50-imagenet', { inputShape: shape, classes: 1000, activation: { kind: 'relu' } });
  const graph = { ...built, nodes: built.nodes.map((node) => (node.op === 'batchNorm' ? { ...node, momentum: 1 } : node)) };
  const config = resolveConfig({ network: graph, batchSize: options.count, data: '', out: '' });
  const models = buildTrainingModels(graph, config, normalization);
  const stepper = await TrainingStepper.create(graph, config, normalization, models, { threads: options.threads });
  stepper.state.load(initialParameters(graph, new Random(0)));
  const labels = new BigInt64Array(options.count);
  await stepper.steps([{ pixels, labels }], [{ epoch: 0, step: 0, globalStep: 1, learningRate: 0, sigma: {}, lastCheckpoint: 'none' }]);
  const parameters = stepper.state.parameters();
  for (const node of graph.nodes) if (node.op === 'batchNorm') parameters.get(`${node.name}.bias`).data.fill(options.shift);
  await stepper.release();
  return { graph, parameters, normalization, classes: Array.from({ length: 1000 }, (_, i) => String(i)), provenance: {} };
}

async function printActivity() {
  const session = await SpikingSession.create(model, { threads: options.threads });
  const { statistics } = await session.run(images, { timeSteps: options.timeSteps, statistics: true });
  await session.dispose();
  const spikes = statistics.spikes.flatMap((steps) => [...steps]).reduce((a, b) => a + b);
  const neurons = model.layers.slice(0, -1).reduce((sum, layer) => sum + layer.shape.reduce((a, b) => a * b), 0);
  const operations = statistics.synapticOperations.flatMap((steps) => [...steps]).reduce((a, b) => a + b);
  console.log(`T*d ${(spikes / neurons / options.count).toFixed(2)}; ${(operations / options.count / 1e9).toFixed(2)} G synaptic operations a picture`);
}

async function race() {
  const job = { images: options.count, batchSize: 1, threads: options.threads, seconds: options.seconds, inputs: files.inputs, shape };
  const ort = `ONNX Runtime ${createRequire(import.meta.url)('onnxruntime-node/package.json').version} fp32, clipped activations`;
  const contestants = {
    [`noisefloor ${options.weights}, T=${options.timeSteps}`]: ['noisefloor.mjs', { ...job, model: files.model, timeSteps: options.timeSteps }],
    [ort]: ['onnxruntime.mjs', { ...job, model: files.fp32 }],
  };
  const times = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const [name, [script, argument]] of Object.entries(contestants)) {
      const { stdout } = await promisify(execFile)(process.execPath, [join(here, 'contestants', script), JSON.stringify(argument)], { maxBuffer: 2 ** 26 });
      times[name].push(...JSON.parse(stdout).milliseconds);
    }
  }
  const table = new Table({ head: ['ResNet-50, 224 x 224, batch 1', 'ms/image', 'fastest'], style: { head: [], border: [] } });
  for (const [name, all] of Object.entries(times)) table.push([name, median(all).toFixed(1), Math.min(...all).toFixed(1)]);
  console.log(`${os.cpus()[0].model}, ${options.threads} threads`);
  console.log(table.toString());
}
