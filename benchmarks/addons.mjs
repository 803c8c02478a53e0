// Compares builds of the addon, such as two compilers', on the same model and images, taking turns in one process:
// node benchmarks/addons.mjs --model zoo/cifar10-resnet20.safetensors --data cifar10:DIR build/Release/noisefloor.node prebuilds/linux-x64/noisefloor.node
import { copyFile, cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command, Option } from 'commander';
import { median } from './median.mjs';

const number = (text) => Number(text);
const program = new Command('addons')
  .argument('<addon...>')
  .requiredOption('--model <file>')
  .requiredOption('--data <spec>')
  .addOption(new Option('--time-steps <n>').argParser(number).default(4))
  .addOption(new Option('--rounds <n>').argParser(number).default(200))
  .addOption(new Option('--images <n>', 'in a call').argParser(number).default(1))
  .addOption(new Option('--threads <n>').argParser(number).default(1))
  .parse();
const options = program.opts();

const folder = await mkdtemp(join(tmpdir(), 'noisefloor-addons-'));
try {
  const sides = [];
  for (const [i, addon] of program.args.entries()) sides.push({ addon, times: [], ...(await open(addon, join(folder, String(i)))) });
  const logits = [];
  for (const side of sides) logits.push(JSON.stringify([...side.session.runSync(side.images, { timeSteps: options.timeSteps }).potentials]));
  if (logits.some((one) => one !== logits[0])) throw new Error('the builds differ in their results');
  for (let round = 0; round < options.rounds; round++) {
    for (const { session, images, times } of round % 2 ? sides : [...sides].reverse()) {
      const began = performance.now();
      session.runSync(images, { timeSteps: options.timeSteps });
      times.push(performance.now() - began);
    }
  }
  const first = sides[0];
  for (const { addon, session, times } of sides) {
    const ratio = (f) => (f(times) / f(first.times)).toFixed(3);
    const least = (values) => Math.min(...values);
    console.log(`${addon} (${session.isa}): median ${median(times).toFixed(3)} ms, least ${least(times).toFixed(3)}; ` + `ratio to the first ${ratio(median)}, ${ratio(least)}`);
  }
} finally {
  await rm(folder, { recursive: true });
}

/** The package with that addon, as a module of its own. */
async function open(addon, to) {
  await mkdir(join(to, 'build', 'Release'), { recursive: true });
  await cp('dist', join(to, 'dist'), { recursive: true });
  await copyFile('package.json', join(to, 'package.json'));
  await symlink(resolve('node_modules'), join(to, 'node_modules'));
  await copyFile(addon, join(to, 'build', 'Release', 'noisefloor.node'));
  const { SpikingSession, openDataset, normalizeImages } = await import(pathToFileURL(join(to, 'dist', 'index.js')).href);
  const session = await SpikingSession.create(options.model, { threads: options.threads });
  const { shape, normalization } = session.model.input;
  const { test } = await openDataset(options.data);
  const size = shape.reduce((a, b) => a * b);
  return { session, images: normalizeImages(test.images.subarray(0, options.images * size), normalization, shape) };
}
