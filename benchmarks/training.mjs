// One training step of noisefloor in ONNX Runtime against PyTorch's eager step of the same quantised network, on the
// CPU, the two taking turns; with --memory their peak memory instead, with --device cuda the same on a GPU: see README.md.
import { execFile, execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import os from 'node:os';
import Table from 'cli-table3';
import { Command, Option } from 'commander';
import { median } from './median.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const number = (text) => Number(text);
const options = new Command('training')
  .addOption(new Option('--python <path>', 'a Python with benchmarks/peers/requirements.txt installed').default('python3'))
  .addOption(new Option('--threads <n>', 'on both sides').argParser(number).default(2))
  .addOption(new Option('--steps <n>', 'timed steps a round').argParser(number).default(5))
  .addOption(new Option('--rounds <n>', 'rounds').argParser(number).default(3))
  .addOption(new Option('--memory', 'peak resident memory of ResNet-18 at batch 128, instead of times').default(false))
  .addOption(new Option('--device <device>', 'where both compute').choices(['cpu', 'cuda']).default('cpu'))
  .parse()
  .opts();

const run = promisify(execFile);
const machine = `${os.cpus()[0].model}, ${options.threads} threads, Node ${process.version}; qcfs, L = 4`;
if (options.device === 'cuda') await compareOnGpu();
else if (options.memory) await compareMemory();
else await compareTimes();

async function compareTimes() {
  const cases = [
    { network: 'resnet20', batchSize: 128 },
    { network: 'resnet18', batchSize: 64 },
  ];
  const table = new Table({ head: ['network', 'batch', 'noisefloor ms', 'noise off', 'PyTorch ms', 'speed against PyTorch'], style: { head: [], border: [] } });
  for (const { network, batchSize } of cases) {
    const times = { nq: [], none: [], torch: [] };
    for (let round = 0; round < options.rounds; round++) {
      console.error(`${network}, round ${round + 1} of ${options.rounds}`);
      for (const noise of ['nq', 'none']) times[noise].push(...(await ours(network, batchSize, noise)).milliseconds);
      times.torch.push((await pytorch(network, batchSize)).medianMs);
    }
    const [nq, none, torch] = [times.nq, times.none, times.torch].map(median);
    table.push([network, batchSize, nq.toFixed(0), none.toFixed(0), torch.toFixed(0), `${(torch / nq).toFixed(2)}x`]);
  }
  console.log(`${machine}; ours with the noise of nq, and without`);
  console.log(table.toString());
}

/** ResNet-18, batch 512. PyTorch eager in TF32, of the same quantised network and of the plain one, with ReLU. */
async function compareOnGpu() {
  const network = 'resnet18';
  const batchSize = 512;
  const onGpu = { steps: 192, device: 'cuda' };
  const peer = (activation, format) => async () => [(await pytorch(network, batchSize, ['--activation', activation, '--device', 'cuda', '--memory-format', format, '--steps', 50])).medianMs];
  const mine = (noise, precision) => async () => (await ours(network, batchSize, noise, { ...onGpu, precision })).milliseconds;
  const contestants = {
    'noisefloor, nq, mixed precision': mine('nq', 'mixed'),
    'noisefloor, noise off, mixed precision': mine('none', 'mixed'),
    'noisefloor, nq, float32': mine('nq', 'float32'),
    'PyTorch TF32, quantised': peer('qcfs', 'contiguous'),
    'PyTorch TF32, quantised, channels last': peer('qcfs', 'channels-last'),
    'PyTorch TF32, plain ReLU': peer('relu', 'contiguous'),
    'PyTorch TF32, plain ReLU, channels last': peer('relu', 'channels-last'),
  };
  const times = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const [name, time] of Object.entries(contestants)) {
      console.error(`${name}, round ${round + 1} of ${options.rounds}`);
      times[name].push(...(await time()));
    }
  }
  const table = new Table({ head: [`${network}, batch ${batchSize}`, 'ms a step', 'images/s'], style: { head: [], border: [] } });
  for (const [name, all] of Object.entries(times)) table.push([name, median(all).toFixed(1), Math.round((1000 * batchSize) / median(all))]);
  console.log(`${machine}; ${gpuName()}`);
  console.log(table.toString());
}

function gpuName() {
  return execFileSync('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader', '--id=0'], { encoding: 'utf8' }).trim();
}

/** Of whole processes: runtime, network and images included. */
async function compareMemory() {
  const [network, batchSize] = ['resnet18', 128];
  const table = new Table({ head: ['network', 'batch', 'noisefloor MiB', 'noise off', 'PyTorch MiB'], style: { head: [], border: [] } });
  const peaks = [await ours(network, batchSize, 'nq'), await ours(network, batchSize, 'none'), await pytorch(network, batchSize)];
  table.push([network, batchSize, ...peaks.map(({ peakMiB }) => peakMiB.toFixed(0))]);
  console.log(`${machine}; largest resident memory of each process`);
  console.log(table.toString());
}

async function ours(network, batchSize, noise, more = {}) {
  const job = JSON.stringify({ network, batchSize, noise, threads: options.threads, steps: options.steps, ...more });
  const { stdout } = await run(process.execPath, [join(here, 'contestants', 'training.mjs'), job]);
  return JSON.parse(stdout);
}

async function pytorch(network, batchSize, more = []) {
  const args = ['--network', network, '--batch-size', batchSize, '--threads', options.threads, '--steps', options.steps, ...more].map(String);
  const { stdout } = await run(options.python, [join(here, 'peers', 'torch_training_step.py'), ...args]);
  return JSON.parse(stdout);
}
