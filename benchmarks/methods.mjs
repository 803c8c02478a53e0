// Trains every method on the same budget, converts it and evaluates the spiking network: the rows of docs/results.md.
// Resumable: what is in --out is not done again. node benchmarks/methods.mjs --data cifar10:DIR --out runs/methods
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { every, noisefloor, printTable } from './rows.mjs';

const rows = {
  qcfs: '--noise none',
  'qcfs, L = 1': '--noise none --levels 1',
  'qcfs, L = 2': '--noise none --levels 2',
  'qcfs, L = 8': '--noise none --levels 8',
  nq: '--noise nq',
  'nq, sigma fixed at 0.15 theta': '--noise nq --noise-sigma 0.15',
  'nq, half strength': '--noise nq --noise-strength 0.5',
  'nq, L = 2': '--noise nq --levels 2',
  lsq: '--noise none --activation lsq',
  'adaptor A': '--noise adaptor',
  'adaptor A, a = 0.25': '--noise adaptor --noise-amplitude 0.25',
  'adaptor B': '--noise adaptor --noise-variant B',
  'adaptor C': '--noise adaptor --noise-variant C',
  'single-step, Gaussian 0.1': '--noise single-step --noise-sigma 0.1',
  'single-step, Gaussian 0.3': '--noise single-step',
  'single-step, Gaussian 0.5': '--noise single-step --noise-sigma 0.5',
  'single-step, uniform': '--noise single-step --noise-law uniform',
  'spike, no noise': '--noise none --activation spike',
  'single-step, Gaussian 0.1, rate 0.05': '--noise single-step --noise-sigma 0.1 --learning-rate 0.05',
  'single-step, Gaussian 0.3, rate 0.05': '--noise single-step --learning-rate 0.05',
  'single-step, Gaussian 0.5, rate 0.05': '--noise single-step --noise-sigma 0.5 --learning-rate 0.05',
  'single-step, uniform, rate 0.05': '--noise single-step --noise-law uniform --learning-rate 0.05',
  'spike, no noise, rate 0.05': '--noise none --activation spike --learning-rate 0.05',
  'slip-relu': '--noise none --activation slip-relu',
  tcl: '--noise none --activation tcl',
  relu: '--noise none --activation relu',
  'qcfs, int8 weights': '--noise none --weight-bits 8',
  'qcfs, penalty 0.03': '--noise none --activity-penalty 0.03',
  'qcfs, penalty 0.1': '--noise none --activity-penalty 0.1',
  'qcfs, penalty 0.3': '--noise none --activity-penalty 0.3',
  'qcfs, Hoyer penalty 0.02': '--noise none --activity-penalty 0.02 --penalty hoyer',
};
/** Last stages, on the first row. */
const stages = { 'qcfs, then over time at T = 2': '--time-steps 2', 'qcfs, then over time at T = 4': '--time-steps 4' };
const timeSteps = [1, 2, 4, 8, 16, 32];

const number = (text) => Number(text);
const options = new Command('methods')
  .requiredOption('--data <spec>', 'such as cifar10:DIR')
  .requiredOption('--out <dir>', 'folder for the runs')
  .addOption(new Option('--network <name>').default('resnet20'))
  .addOption(new Option('--epochs <n>').argParser(number).default(12))
  .addOption(new Option('--finetune-epochs <n>').argParser(number).default(3))
  .addOption(new Option('--batch-size <n>').argParser(number).default(256))
  .addOption(new Option('--learning-rate <x>').argParser(number).default(0.1))
  .addOption(new Option('--seed <n>').argParser(number).default(0))
  .addOption(new Option('--device <device>').choices(['cpu', 'cuda']).default('cpu'))
  .addOption(new Option('--parallel <n>', 'rows at a time').argParser(number).default(1))
  .addOption(new Option('--devices <ids>', 'CUDA devices that the rows take in turn, such as 0,1').argParser((text) => text.split(',')))
  .addOption(new Option('--only <text>', 'rows whose name contains this'))
  .addOption(new Option('--no-evaluate', 'train and convert alone, as on a GPU machine; the same command without it evaluates, anywhere'))
  .parse()
  .opts();

await mkdir(options.out, { recursive: true });
const wanted = (name) => options.only === undefined || name.includes(options.only);
const results = [
  ...(await all(rows, (method) => ['train', '--network', options.network, ...common(options.epochs, options.learningRate), ...method.split(' ')])),
  ...(await all(stages, (stage) => ['finetune', folder('qcfs'), ...common(options.finetuneEpochs, 0.002), '--clip-norm', '5', ...stage.split(' ')])),
];
if (options.evaluate) {
  printTable(['method', 'dense', ...timeSteps.map((t) => `T=${t}`), 'T*d at T=4'], results);
}

function all(table, command) {
  const left = Object.entries(table).filter(([name]) => wanted(name));
  return every(left, options.parallel, ([name, method], place) => {
    const device = options.devices ? ['--devices', options.devices[place % options.devices.length]] : [];
    return row(name, [...command(method), ...device]).catch((error) => failed(name, error));
  });
}

/** One row that fails costs no other. */
function failed(name, error) {
  console.error(`${name} failed: ${error.stderr?.trim().split('\n').at(-1) ?? error.message}`);
  process.exitCode = 1;
  return [name, 'failed'];
}

function folder(name) {
  return join(options.out, name.toLowerCase().replace(/[^a-z0-9.]+/g, '-'));
}

function common(epochs, learningRate) {
  const { data, batchSize, seed, device } = options;
  return ['--data', data, '--epochs', epochs, '--batch-size', batchSize, '--learning-rate', learningRate, '--seed', seed, '--device', device].map(String);
}

async function row(name, train) {
  const [directory, model, report] = [folder(name), `${folder(name)}.safetensors`, `${folder(name)}.json`];
  if (!existsSync(model)) {
    console.error(name);
    await noisefloor(...train, '--out', directory, ...(existsSync(join(directory, 'checkpoint.safetensors')) ? ['--resume'] : []));
    await noisefloor('convert', directory, '--out', model, '--max-time-steps', String(Math.max(...timeSteps)), ...(name === 'relu' ? ['--calibrate', options.data] : []));
  }
  if (!options.evaluate) return [];
  if (!existsSync(report)) {
    console.error(`${name}: evaluation`);
    await writeFile(report, await noisefloor('eval', model, '--data', options.data, '--time-steps', timeSteps.join(), '--against', directory, '--json'));
  }
  const { top1, spikesPerNeuron, dense } = JSON.parse(await readFile(report, 'utf8'));
  const percent = (share) => (100 * share).toFixed(2);
  return [name, percent(dense.top1), ...top1.map(percent), spikesPerNeuron[timeSteps.indexOf(4)].toFixed(2)];
}
