// Runs the addon that the loader finds on this runtime beside the reference simulator, bit for bit: node scripts/check-addon.mjs
// Its package is the folder it lies in; scripts/test-prebuilds.sh makes one for each prebuilt addon.
import { Worker, isMainThread } from 'node:worker_threads';
import { SpikingSession, readSpikingModel, simulate, zooModelPath } from '../dist/index.js';
import { binding, isas } from '../dist/native.js';

if (!isMainThread) await runOnce();
else {
  // Node closes an addon with the last thread that opened it; what it leaves behind must not be missed at the end of the process.
  await new Promise((resolve, reject) => new Worker(new URL(import.meta.url)).on('error', reject).on('exit', resolve));
  await compare();
}

async function runOnce() {
  const session = await SpikingSession.create(await zooModelPath('mnist'), { threads: 2 });
  await session.run(new Float32Array(784), { timeSteps: 2 });
  await session.dispose();
}

async function compare() {
  let state = 1;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

  const supported = binding().supportedIsas();
  for (const name of ['mnist', 'cifar10-resnet20']) {
    const model = await readSpikingModel(await zooModelPath(name));
    const size = model.input.shape.reduce((a, b) => a * b);
    const count = 2;
    const images = Float32Array.from({ length: count * size }, () => 3 * random() - 1.5);
    const timeSteps = 3;
    const expected = simulate(model, images, count, { timeSteps }).potentials;
    for (const isa of isas.filter((isa) => supported.includes(isa))) {
      for (const threads of [1, 2]) {
        const session = await SpikingSession.create(model, { isa, threads });
        const runs = [await session.run(images, { timeSteps }), session.runSync(images, { timeSteps })];
        if (!runs.every(({ potentials }) => same(potentials, expected))) throw new Error(`${name}, ${isa}: not the potentials of the reference`);
        await session.dispose();
      }
    }
    const session = await SpikingSession.create(model);
    const early = await session.runEarlyExit(images, { timeSteps, threshold: 0 });
    if (early.steps.length !== count) throw new Error(`${name}: early exit lost images`);
    await session.dispose();
  }
  const failed = await SpikingSession.create({}).then(() => 'accepted', ({ name }) => name);
  if (failed !== 'NoisefloorError') throw new Error(`a model without layers: ${failed}`);
  console.log(`${process.platform}-${process.arch}, Node ${process.version}: ${supported.join(', ')} give the results of the reference`);
}
