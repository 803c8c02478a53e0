// Times training steps (forward, backward, optimiser) on random images, on CUDA 48 in a call, and tells the largest
// resident memory of the process; the answer is one line of JSON.
import { buildTrainingModels } from '../../dist/training/artifacts.js';
import { resolveConfig } from '../../dist/training/options.js';
import { TrainingStepper } from '../../dist/training/stepper.js';
import { initialParameters } from '../../dist/graph/parameters.js';
import { buildNetwork } from '../../dist/graph/networks/index.js';
import { Random } from '../../dist/random.js';

const { network, batchSize, noise, threads, steps, device = 'cpu', precision = 'float32' } = JSON.parse(process.argv[2]);
const shape = [3, 32, 32];
const normalization = { mean: [0.4914, 0.4822, 0.4465], std: [0.2023, 0.1994, 0.201] };
const graph = buildNetwork(network, { inputShape: shape, classes: 10, activation: { kind: 'qcfs', levels: 4, initialThreshold: 4 } });
const config = resolveConfig({ network, noise, batchSize, device, precision, data: '', out: '' });
const stepper = await TrainingStepper.create(graph, config, normalization, buildTrainingModels(graph, config, normalization), { threads, device });
const random = new Random(1);
stepper.state.load(initialParameters(graph, random));
const pixels = Uint8Array.from({ length: batchSize * 3072 }, () => random.integer(256));
const labels = BigInt64Array.from({ length: batchSize }, () => BigInt(random.integer(10)));
const sigma = Object.fromEntries(graph.nodes.filter(({ op }) => op === 'activation').map(({ name }) => [name, 0.1]));

const milliseconds = [];
const warmUp = 2;
const perCall = stepper.stepsPerCall;
const batches = new Array(perCall).fill({ pixels, labels });
for (let call = 0; call < warmUp + Math.ceil(steps / perCall); call++) {
  const settings = batches.map((_, k) => ({ epoch: 0, step: k, globalStep: call * perCall + k + 1, learningRate: 0.01, sigma, lastCheckpoint: 'none' }));
  const began = performance.now();
  await stepper.steps(batches, settings);
  if (call >= warmUp) milliseconds.push((performance.now() - began) / perCall);
}
console.log(JSON.stringify({ milliseconds, peakMiB: process.resourceUsage().maxRSS / 1024 }));
process.exit(0);
