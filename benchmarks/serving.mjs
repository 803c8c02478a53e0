// The server against the engine alone, and beside the dense network behind the same server: see README.md.
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Command, Option } from 'commander';
import Table from 'cli-table3';
import { DenseSession, SpikingSession, convert, exportOnnx, logitsFromPotentials, normalizeImages, openDataset, readCheckpoint, writeSpikingModel } from 'noisefloor';
import { padded } from './padded.mjs';

/** Milliseconds between the timers of Node's histogram (and of prom-client's), which it counts as delay. */
const timerInterval = 10;

const here = dirname(fileURLToPath(import.meta.url));
const options = new Command('serving')
  .requiredOption('--data <spec>', 'real images, such as cifar10:DIR')
  .addOption(new Option('--checkpoint <dir>', 'a trained network').default(join(here, '..', 'models', 'cifar10-resnet18-sparse'), 'models/cifar10-resnet18-sparse'))
  .addOption(new Option('--time-steps <n>', 'T').argParser(Number).default(4))
  .addOption(new Option('--threads <n>', 'of the engine').argParser(Number).default(os.availableParallelism()))
  .addOption(new Option('--niceness <n>', 'of the engine behind the server').argParser(Number).default(process.platform === 'linux' ? 5 : 0))
  .addOption(new Option('--seconds <n>', 'a load').argParser(Number).default(60))
  .addOption(new Option('--images <n>', 'different requests').argParser(Number).default(128))
  .addOption(new Option('--connections <n>', 'of a closed loop').argParser(Number).default(64))
  .option('--no-dense', 'only the spiking network')
  .option('--out <file>', 'all figures as JSON')
  .parse()
  .opts();

const { threads, timeSteps, niceness } = options;
const network = await readCheckpoint(options.checkpoint);
const { model } = convert(network);
const data = await openDataset(options.data);
const { shape, normalization } = model.input;
const size = shape.reduce((a, b) => a * b);
const images = normalizeImages(data.test.images.slice(0, options.images * size), normalization, shape);
const work = await mkdtemp(join(tmpdir(), 'noisefloor-serving-'));
const file = join(work, 'model.safetensors');
await writeSpikingModel(file, model);

const results = [];
try {
  await compare('spiking', await spikingRunner());
  if (options.dense) await compare('dense', await denseRunner());
} finally {
  await rm(work, { recursive: true, force: true });
}
printTable();
if (options.out) await writeFile(options.out, JSON.stringify({ machine: os.cpus()[0].model, options, results }, null, 2));

async function spikingRunner() {
  const session = await SpikingSession.create(model, { threads });
  const run = async (batch) => logitsFromPotentials(await session.run(batch, { timeSteps }), model, timeSteps);
  return { run, close: () => session.dispose(), tolerance: 0, serve: ['model=' + file], name: 'model', warm: { parameters: { time_steps: timeSteps } } };
}

async function denseRunner() {
  const session = await DenseSession.create(exportOnnx(network), { threads });
  const run = async (batch) => (await session.run(batch, shape)).get(session.logitsName);
  const serve = ['model=' + file, '--dense', `model=${options.checkpoint}`];
  return { run, close: () => session.dispose(), tolerance: 1e-3, serve, name: 'model-dense', warm: {} };
}

async function compare(kind, { run, close, tolerance, serve, name, warm }) {
  const answers = [];
  for (let n = 0; n < options.images; n++) answers.push([...Float32Array.from(await run(images.slice(n * size, (n + 1) * size)))]);
  const head = JSON.stringify({ inputs: [{ name: 'input', shape: [1, ...shape], datatype: 'FP32', parameters: { binary_data_size: 4 * size } }], outputs: [{ name: 'logits' }], ...warm });
  const bytes = Buffer.from(images.buffer);
  const bodies = answers.map((_, n) => Buffer.concat([Buffer.from(head), bytes.subarray(4 * n * size, 4 * (n + 1) * size)]).toString('base64'));
  const jobFile = join(work, `${kind}.json`);
  await writeFile(jobFile, JSON.stringify({ bodies, answers }));
  const server = await startServer(serve);
  const job = { url: server.url, path: `/v2/models/${name}/infer`, file: jobFile, headerLength: Buffer.byteLength(head), tolerance };
  // Before and after each load: the machine may have slow minutes.
  const alone = async () => ({ one: (await time(run, 1)).milliseconds, ...(await time(run, 32)) });
  const row = async (load, more, beside = async () => undefined) => {
    const before = await alone();
    await eventLoop(server.url); // Reading it starts a new count.
    const loading = runLoad({ ...job, ...more, seconds: options.seconds });
    await beside();
    const found = await loading;
    const eventLoopP99 = await eventLoop(server.url);
    const after = await alone();
    const direct = Object.fromEntries(Object.keys(before).map((key) => [key, (before[key] + after[key]) / 2]));
    results.push({ kind, load, direct, rate: more.rate, ...found, eventLoopP99 });
    console.error(`${kind}, ${load}: ${JSON.stringify(results.at(-1))}`);
    return found;
  };
  try {
    await runLoad({ ...job, connections: 8, seconds: 2 });
    await row('closed, 1 connection', { connections: 1 });
    const { perSecond } = await row(`closed, ${options.connections}`, { connections: options.connections });
    const rate = (share) => ({ rate: Math.round((perSecond * share) / 100) });
    for (const share of [50, 80, 120]) await row(`open, ${share} %`, rate(share));
    if (kind === 'spiking') await row('open, 50 %, reloading', rate(50), () => reload(server.url));
  } finally {
    await server.stop();
    await close();
  }
}

/** Swaps in the same model, with other bytes, once a second. */
async function reload(url) {
  const bytes = await readFile(file);
  for (let n = 1; n < options.seconds; n++) {
    await writeFile(file, padded(bytes, 8 * n));
    const { status } = await globalThis.fetch(`${url}/v2/repository/models/model/load`, { method: 'POST' });
    if (status !== 200) throw new Error(`The model could not be swapped: ${status}.`);
    await sleep(1000);
  }
}

/** Milliseconds of a call, mean, and the event loop's delay meanwhile, 99th percentile. */
async function time(run, batch) {
  // All images in turn, as the load sends them: some make more spikes than others.
  const inputs = Array.from({ length: Math.max(1, Math.floor(images.length / size / batch)) }, (_, i) => images.slice(i * batch * size, (i + 1) * batch * size));
  const times = [];
  await run(inputs[0]);
  const delay = monitorEventLoopDelay({ resolution: timerInterval });
  delay.enable();
  const end = performance.now() + Math.min(2000, options.seconds * 200);
  while (performance.now() < end || times.length < 5) {
    const began = performance.now();
    await run(inputs[times.length % inputs.length]);
    times.push(performance.now() - began);
  }
  delay.disable();
  return { milliseconds: times.reduce((a, b) => a + b) / times.length, eventLoopP99: delay.percentile(99) / 1e6 - timerInterval };
}

async function startServer(models) {
  const main = join(here, '..', 'dist', 'cli', 'main.js');
  const child = spawn(process.execPath, [main, 'serve', ...models, '--port', '0', '--threads', String(threads), '--niceness', String(niceness), '--time-steps', String(timeSteps), '--control', '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  for await (const line of createInterface({ input: child.stdout })) {
    text += line;
    if (line === '}') break;
  }
  const ended = new Promise((resolve) => child.once('exit', resolve));
  return { url: JSON.parse(text).url, stop: () => (child.kill('SIGTERM'), ended) };
}

async function runLoad(job) {
  const { stdout } = await promisify(execFile)(process.execPath, [join(here, 'servingLoad.mjs'), JSON.stringify(job)], { maxBuffer: 2 ** 26 });
  return JSON.parse(stdout);
}

/** 99th percentile of the server's event loop's delay since it was last read, milliseconds. */
async function eventLoop(url) {
  const text = await (await globalThis.fetch(`${url}/metrics`)).text();
  return 1000 * Number(/^nodejs_eventloop_lag_p99_seconds (.+)$/m.exec(text)[1]) - timerInterval;
}

function printTable() {
  const cores = os.availableParallelism();
  console.log(`\n${os.cpus()[0].model}, ${cores} cores; ${threads} threads, niceness ${niceness}; T = ${timeSteps}; load from a second process on the same machine`);
  const table = new Table({ head: ['network', 'load', 'answers/s', 'of the engine, batch 32', 'less the load\'s cores', 'p50, ms', 'engine, batch 1', 'p99, ms', 'refused', 'wrong', 'lost', 'event loop p99, ms', 'engine alone'], style: { head: [], border: [] } });
  for (const one of results) {
    const share = (100 * one.perSecond * one.direct.milliseconds) / 32_000;
    const left = (share * cores) / (cores - one.cores);
    const cells = [one.perSecond.toFixed(0), `${share.toFixed(0)} %`, `${left.toFixed(0)} % (${one.cores.toFixed(2)})`, one.p50, one.direct.one.toFixed(2), one.p99, one.refused, one.wrong, one.other + one.lost, one.eventLoopP99.toFixed(1), one.direct.eventLoopP99.toFixed(1)];
    table.push([one.kind, one.load, ...cells]);
  }
  console.log(table.toString());
}
