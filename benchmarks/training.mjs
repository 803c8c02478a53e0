// One training step of noisefloor in ONNX Runtime against PyTorch's eager step of the same quantised network, on the
// CPU, the two taking turns; with --memory their peak memory instead: see README.md.
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import os from 'node:os';
import Table from 'cli-table3';
import { Command, Option } from 'commander';

const here = dirname(fileURLToPath(import.meta.url));
const number = (text) => Number(text);
const options = new Command('training')
  .addOption(new Option('--python <path>', 'a Python with benchmarks/peers/requirements.txt installed').default('python3'))
  .addOption(new Option('--threads <n>', 'on both sides').argParser(number).default(2))
  .addOption(new Option('--steps <n>', 'timed steps a round').argParser(number).default(5))
  .addOption(new Option('--rounds <n>', 'rounds').argParser(number).default(3))
  .addOption(new Option('--memory', 'peak resident memory of ResNet-18 at batch 128, instead of times').default(false))
  .parse()
  .opts();

const run = promisify(execFile);
const machine = `${os.cpus()[0].model}, ${options.threads} threads, Node ${process.version}; qcfs, L = 4`;
if (options.memory) await compareMemory();
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

/** Of whole processes: runtime, network and images included. */
async function compareMemory() {
  const [network, batchSize] = ['resnet18', 128];
  const table = new Table({ head: ['network', 'batch', 'noisefloor MiB', 'noise off', 'PyTorch MiB'], style: { head: [], border: [] } });
  const peaks = [await ours(network, batchSize, 'nq'), await ours(network, batchSize, 'none'), await pytorch(network, batchSize)];
  table.push([network, batchSize, ...peaks.map(({ peakMiB }) => peakMiB.toFixed(0))]);
  console.log(`${machine}; largest resident memory of each process`);
  console.log(table.toString());
}

async function ours(network, batchSize, noise) {
  const job = JSON.stringify({ network, batchSize, noise, threads: options.threads, steps: options.steps });
  const { stdout } = await run(process.execPath, [join(here, 'contestants', 'training.mjs'), job]);
  return JSON.parse(stdout);
}

async function pytorch(network, batchSize) {
  const args = ['--network', network, '--batch-size', batchSize, '--threads', options.threads, '--steps', options.steps].map(String);
  const { stdout } = await run(options.python, [join(here, 'peers', 'torch_training_step.py'), ...args]);
  return JSON.parse(stdout);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
