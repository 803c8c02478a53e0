// The spiking engine against ONNX Runtime on ResNet-18: see README.md.
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Command, Option } from 'commander';
import Table from 'cli-table3';
import { SpikingSession, activeIsa, convert, evaluate, exportInt8Onnx, exportOnnx, openDataset, readCheckpoint, weightTypes, writeSpikingModel } from 'noisefloor';
import { calibrate } from './calibrate.mjs';
import { median } from './median.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const cache = join(here, '.cache');
const require = createRequire(import.meta.url);
const list = (text) => text.split(',').map(Number);
const number = (text) => Number(text);

const options = new Command('benchmark')
  .requiredOption('--data <spec>', 'real images, such as cifar10:DIR')
  .addOption(new Option('--checkpoint <dir>', 'a trained network').default(join(here, '..', 'models', 'cifar10-resnet18'), 'models/cifar10-resnet18'))
  .addOption(new Option('--weights <type>', 'of the spiking model').choices([...weightTypes]).default('int7'))
  .addOption(new Option('--time-steps <list>', 'T').argParser(list).default([4, 2], '4,2'))
  .addOption(new Option('--batch-sizes <list>', 'images a call').argParser(list).default([1, 32], '1,32'))
  .addOption(new Option('--threads <n>', 'on both sides').argParser(number).default(2))
  .addOption(new Option('--rounds <n>', 'fresh processes a contestant').argParser(number).default(3))
  .addOption(new Option('--seconds <n>', 'timed seconds a process').argParser(number).default(4))
  .addOption(new Option('--images <n>', 'test images for accuracy').argParser(number).default(512))
  .option('--python <path>', 'a Python with torch and SpikingJelly (README.md)')
  .option('--out <file>', 'all measured times as JSON')
  .parse()
  .opts();

const network = await readCheckpoint(options.checkpoint);
await mkdir(cache, { recursive: true });
const file = (name) => join(cache, name);
const files = { model: file('model.safetensors'), clipped: file('clipped.onnx'), quantised: file('quantised.onnx'), int8: file('int8.onnx') };
const { model } = convert(network, { weights: options.weights });
await writeSpikingModel(files.model, model);
await writeFile(files.clipped, exportOnnx(network, { activations: 'clipped' }));
await writeFile(files.quantised, exportOnnx(network));
await writeFile(files.int8, exportInt8Onnx(network, await calibrate(network, await openDataset(options.data), options.threads)));

const ort = `ONNX Runtime ${require('onnxruntime-node/package.json').version}`;
const script = (name) => [process.execPath, join(here, 'contestants', name)];
/** On the calling thread, as ONNX Runtime's `run` is; `background`: by the session's own, which leaves the event loop free. */
const engine = (timeSteps, { isa, background = false } = {}) => ({
  name: [`noisefloor ${options.weights}`, `T=${timeSteps}`, ...(isa ? [isa] : []), ...(background ? ['in the background'] : [])].join(', '),
  command: script('noisefloor.mjs'),
  job: { model: files.model, timeSteps, background },
  env: isa ? { NOISEFLOOR_ISA: isa } : {},
});
const dense = (name, model) => ({ name: `${ort} ${name}`, command: script('onnxruntime.mjs'), job: { model } });
const [timeSteps] = options.timeSteps;
const contestants = [
  ...options.timeSteps.map((steps) => engine(steps)),
  ...(activeIsa() === 'avx512' ? [engine(timeSteps, { isa: 'avx2' })] : []),
  engine(timeSteps, { background: true }),
  dense('fp32, clipped activations', files.clipped),
  dense('fp32, quantised as trained', files.quantised),
  dense('int8, per channel', files.int8),
];
if (options.python) {
  const command = [options.python, join(here, 'peers', 'spikingjelly_contestant.py')];
  contestants.push({ name: `SpikingJelly, T=${timeSteps}`, command, job: { model: files.model, timeSteps } });
}
const results = await race();
printSpikes(await spikes());
printTable(results);
if (options.out) await writeFile(options.out, JSON.stringify({ machine: machine(), options, results }, null, 2));

async function race() {
  const results = [];
  for (const batchSize of options.batchSizes) {
    const entries = contestants.map(({ name }) => ({ name, batchSize, milliseconds: [] }));
    for (let round = 0; round < options.rounds; round++) {
      for (const [i, contestant] of contestants.entries()) {
        console.error(`batch ${batchSize}, round ${round + 1} of ${options.rounds}: ${contestant.name}`);
        const answer = await runContestant(contestant, batchSize);
        entries[i].milliseconds.push(...answer.milliseconds.map((ms) => ms / batchSize));
        Object.assign(entries[i], { top1: answer.top1, about: answer.about });
      }
    }
    results.push(...entries);
  }
  return results;
}

async function runContestant({ command: [program, path], job, env = {} }, batchSize) {
  const { data, images, threads, seconds } = options;
  const argument = JSON.stringify({ ...job, data, images, batchSize, threads, seconds });
  const { stdout } = await promisify(execFile)(program, [path, argument], { maxBuffer: 2 ** 26, env: { ...process.env, ...env } });
  return JSON.parse(stdout);
}

async function spikes() {
  const session = await SpikingSession.create(model, { threads: options.threads });
  const data = await openDataset(options.data);
  const evaluation = await evaluate(session, data, { timeSteps: [timeSteps], limit: options.images });
  await session.dispose();
  return evaluation;
}

function machine() {
  const { model: cpu } = os.cpus()[0];
  return { cpu, cores: os.availableParallelism(), os: `${os.type()} ${os.release()}`, node: process.version };
}

function printSpikes({ layers, spikesPerNeuron }) {
  console.log(`\nT*d, mean spikes of a neuron in one inference: ${spikesPerNeuron[0].toFixed(3)}`);
  const perLayer = layers.filter((layer) => layer.spikesPerNeuron).map((layer) => `${layer.name} ${layer.spikesPerNeuron[0].toFixed(2)}`);
  console.log(perLayer.join(', '));
}

function printTable(entries) {
  const { cpu, cores, node } = machine();
  console.log(`\n${cpu}, ${cores} cores; Node ${node}; ${options.threads} threads; accuracy on ${options.images} test images\n`);
  const table = new Table({ head: ['batch', 'contestant', 'ms/image', 'fastest', 'images/s', 'top-1', `of T=${timeSteps}`, 'ran as'], style: { head: [], border: [] } });
  for (const batchSize of options.batchSizes) {
    const rows = entries.filter((entry) => entry.batchSize === batchSize);
    const ours = median(rows[0].milliseconds);
    for (const { name, milliseconds, top1, about } of rows) {
      const typical = median(milliseconds);
      table.push([batchSize, name, typical.toFixed(3), Math.min(...milliseconds).toFixed(3), (1000 / typical).toFixed(0), `${(100 * top1).toFixed(1)} %`, `${(typical / ours).toFixed(2)}x`, about]);
    }
  }
  console.log(table.toString());
}
