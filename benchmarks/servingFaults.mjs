// What a server must survive: resets, slow clients, malformed bodies, garbage in place of a model, hours of requests, SIGTERM under load.
//   node benchmarks/servingFaults.mjs MODEL.safetensors [--bodies 10000] [--requests 100000]
import { spawn } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { clearInterval, setInterval } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import fc from 'fast-check';
import { padded } from './padded.mjs';

const program = new Command('servingFaults')
  .argument('<model>')
  .addOption(new Option('--bodies <n>', 'malformed bodies').argParser(Number).default(10_000))
  .addOption(new Option('--requests <n>', 'for which memory must be flat').argParser(Number).default(100_000))
  .parse();
const { bodies, requests } = program.opts();
const work = await mkdtemp(join(tmpdir(), 'noisefloor-faults-'));
const file = join(work, 'model.safetensors');
await copyFile(program.args[0], file);
const main = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist', 'cli', 'main.js');
const child = spawn(process.execPath, [main, 'serve', `model=${file}`, '--port', '0', '--poll', '1', '--json', '--queue', '4096'], { stdio: ['ignore', 'pipe', 'pipe'] });
const ended = new Promise((resolve) => child.once('exit', resolve));
let log = '';
child.stderr.on('data', (data) => (log += data));
let text = '';
for await (const line of createInterface({ input: child.stdout })) {
  text += line;
  if (line === '}') break;
}
const url = new URL(JSON.parse(text).url);
const agent = new http.Agent({ keepAlive: true, maxSockets: 32 });
const about = JSON.parse((await ask('GET', '/v2/models/model')).text);
const shape = about.inputs[0].shape.slice(1);
const size = shape.reduce((a, b) => a * b);
const head = JSON.stringify({ inputs: [{ name: 'input', shape: [1, ...shape], datatype: 'UINT8', parameters: { binary_data_size: size } }], outputs: [{ name: 'logits' }] });
const good = Buffer.concat([Buffer.from(head), Buffer.alloc(size, 100)]);
const goodHeaders = { 'inference-header-content-length': String(head.length) };
const expected = logits(await infer());

try {
  await resets();
  await slowClients();
  await malformed();
  await swaps();
  await memory();
  await terminated();
} finally {
  child.kill('SIGKILL');
  agent.destroy();
  await rm(work, { recursive: true, force: true });
}

function ask(method, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: url.hostname, port: url.port, method, path, agent, headers: { ...headers, ...(body && { 'content-length': body.length }) } }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('end', () => resolve({ status: answer.statusCode, text: Buffer.concat(chunks).toString(), close: answer.headers.connection === 'close' }));
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

function infer() {
  return ask('POST', '/v2/models/model/infer', good, goodHeaders);
}

function logits({ status, text: body }) {
  if (status !== 200) throw new Error(`${status}: ${body}`);
  return JSON.stringify(JSON.parse(body).outputs[0].data);
}

async function stillRight(what) {
  const same = logits(await infer()) === expected;
  console.log(`${same ? 'ok' : 'FAILED'}: ${what}`);
  if (!same) process.exitCode = 1;
}

function check(what, condition) {
  console.log(`${condition ? 'ok' : 'FAILED'}: ${what}`);
  if (!condition) process.exitCode = 1;
}

/** Resets the connection after so much of the request. */
async function resets() {
  for (let i = 0; i < 500; i++) {
    const socket = net.connect(url.port, url.hostname);
    socket.on('error', () => undefined);
    const all = Buffer.concat([Buffer.from(`POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ninference-header-content-length: ${head.length}\r\ncontent-length: ${good.length}\r\n\r\n`), good]);
    socket.write(all.subarray(0, Math.ceil((all.length * ((i % 50) + 1)) / 50)));
    await sleep(1);
    socket.resetAndDestroy();
  }
  await stillRight('500 clients reset their connections in the middle');
}

async function slowClients() {
  const closed = [];
  const dripping = [];
  for (let i = 0; i < 100; i++) {
    const socket = net.connect(url.port, url.hostname);
    socket.on('error', () => undefined);
    closed.push(new Promise((resolve) => socket.once('close', resolve)));
    socket.write(i % 2 ? 'POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\n' : `POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n{`);
    dripping.push(setInterval(() => socket.writable && socket.write(i % 2 ? 'x-drip: y\r\n' : ' '), 500));
    socket.resume();
  }
  const began = performance.now();
  await stillRight('an answer while 100 clients send a byte at a time');
  await Promise.race([Promise.all(closed), sleep(40_000)]);
  for (const one of dripping) clearInterval(one);
  const seconds = (performance.now() - began) / 1000;
  check(`all 100 are hung up on after ${seconds.toFixed(1)} s`, seconds < 39);
}

async function malformed() {
  const words = fc.constantFrom('inputs', 'outputs', 'parameters', 'name', 'shape', 'datatype', 'data', 'binary_data_size', 'input', 'FP32', 'UINT8', 'logits');
  const value = fc.letrec((tie) => ({
    any: fc.oneof({ maxDepth: 4 }, fc.integer(), fc.double(), fc.boolean(), fc.constant(null), words, fc.string(), fc.array(tie('any'), { maxLength: 4 }), fc.dictionary(fc.oneof(words, fc.string()), tie('any'), { maxKeys: 5 })),
  })).any;
  const mutated = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }).map((edits) => {
    const bytes = Buffer.from(good);
    for (const [at, byte] of edits) bytes[at % head.length] = byte;
    return bytes;
  });
  const body = fc.oneof(fc.uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes)), value.map((one) => Buffer.from(JSON.stringify(one) ?? '')), mutated);
  const cases = fc.sample(fc.tuple(body, fc.oneof(fc.constant(String(head.length)), fc.constant(undefined), fc.nat(5000).map(String), fc.constant('-1'))), { numRuns: bodies, seed: 1 });
  const statuses = new Map();
  await parallel(cases, 16, async ([bytes, header]) => {
    const { status, text: said } = await ask('POST', '/v2/models/model/infer', bytes, header === undefined ? {} : { 'inference-header-content-length': header });
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    if (status !== 200 && typeof JSON.parse(said).error !== 'string') throw new Error(said);
  });
  const unexpected = [...statuses.keys()].filter((status) => status !== 200 && status !== 400);
  check(`${bodies} malformed bodies: ${[...statuses].map(([status, count]) => `${status} x ${count}`).join(', ')}`, unexpected.length === 0);
  await stillRight('an answer after them');
}

/** Under load: garbage, then another valid file. */
async function swaps() {
  let stopping = false;
  let answered = 0;
  const load = Promise.all(Array.from({ length: 8 }, async () => {
    while (!stopping) {
      if (logits(await infer()) !== expected) throw new Error('a wrong answer');
      answered++;
    }
  }));
  await writeFile(file, 'garbage in place of a model');
  await until(() => log.includes('version 1 stays'));
  await copyFile(program.args[0], file);
  await sleep(2500); // The same bytes again: nothing to load.
  const same = await readFile(program.args[0]);
  await writeFile(file, padded(same, 8));
  await until(() => log.includes('version 2 is loaded'));
  await sleep(300);
  stopping = true;
  await load;
  check(`garbage was refused and version 2 swapped in; ${answered} answers meanwhile, none failed or wrong`, answered > 0);
}

async function memory() {
  const readings = [];
  const parts = 10;
  for (let part = 0; part <= parts; part++) {
    if (part > 0) await parallel({ length: requests / parts }, 32, async () => void logits(await infer()));
    const metrics = (await ask('GET', '/metrics')).text;
    readings.push(Number(/^process_resident_memory_bytes (.+)$/m.exec(metrics)[1]) / 2 ** 20);
  }
  console.log(`resident MiB over ${requests} requests: ${readings.map((one) => one.toFixed(0)).join(' ')}`);
  // The heap finds its size in the first part; after that nothing may grow.
  const [, ...settled] = readings;
  const half = settled.length / 2;
  check('the second half needs no more than the first and 5 %', Math.max(...settled.slice(half)) <= 1.05 * Math.max(...settled.slice(0, half)));
}

async function terminated() {
  const tally = { right: 0, refused: 0, lost: 0, after: 0 };
  let killed = false;
  const load = Array.from({ length: 16 }, async () => {
    for (;;) {
      try {
        const answer = await infer();
        if (answer.status === 503) tally.refused++;
        else if (logits(answer) === expected) tally.right++;
        if (answer.status === 503) await sleep(5);
      } catch (error) {
        if (error.code === 'ECONNREFUSED') return void tally.after++;
        tally.lost++;
        if (!killed) throw error;
        if (tally.lost > 1000) return;
      }
    }
  });
  await sleep(1000);
  killed = true;
  child.kill('SIGTERM');
  await Promise.all(load);
  const code = await ended;
  check(`SIGTERM under load: ${tally.right} answered, ${tally.refused} told 503, ${tally.lost} lost, exit code ${code}`, tally.lost === 0 && code === 0);
}

async function parallel(cases, width, each) {
  let next = 0;
  const run = async () => {
    while (next < cases.length) await each(cases[next++]);
  };
  await Promise.all(Array.from({ length: width }, run));
}

async function until(condition) {
  for (let i = 0; i < 300; i++) {
    if (condition()) return;
    await sleep(100);
  }
  throw new Error(`Nothing happened. The log: ${log}`);
}
