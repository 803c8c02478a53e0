import { modelledEnergy } from '../../src/evaluate/energy.js';
import type { Evaluation, LayerEvaluation } from '../../src/evaluate/evaluate.js';
import type { Timing } from '../../src/evaluate/timing.js';
import type { ReportData } from '../../src/report/data.js';

const timeSteps = [4, 1, 2, 8, 16];

function layer(name: string, i: number): LayerEvaluation {
  return {
    name,
    kind: name === 'fc' ? 'readout' : 'spiking',
    shape: [8, 14, 14],
    neurons: 1568,
    spikesPerNeuron: timeSteps.map((steps) => (0.08 + 0.02 * (i % 3)) * steps),
    synapticOperations: {
      effectiveACs: timeSteps.map((steps) => (i === 0 ? 0 : 31_000 * steps)),
      effectiveMACs: timeSteps.map(() => (i === 0 ? 60_000 : 0)),
      dense: timeSteps.map((steps) => 400_000 * steps),
    },
    residualAdditions: timeSteps.map((steps) => 100 * steps),
    connectionSparsity: 0.05,
  };
}

function timing(name: string, millisecondsPerImage: number): Timing {
  const batch = millisecondsPerImage * 64;
  return { name, batchSize: 64, runs: 31, images: 1984, median: batch, p95: batch * 1.2, min: batch * 0.9, millisecondsPerImage, imagesPerSecond: 1000 / millisecondsPerImage };
}

/** Made-up numbers in a plausible shape, to see the page with; nothing that is measured comes from here. */
export function madeUpReport(): ReportData {
  const names = ['stem.act', 'block1.act1', 'block1.act2', 'block2.act1', 'block2.act2', 'head.act'];
  const layers = [...names, 'fc'].map(layer);
  const total = (pick: (one: LayerEvaluation) => readonly number[]): number[] =>
    timeSteps.map((_, k) => layers.reduce((sum, one) => sum + pick(one)[k]!, 0));
  const synapticOperations = {
    effectiveACs: total((one) => one.synapticOperations.effectiveACs),
    effectiveMACs: total((one) => one.synapticOperations.effectiveMACs),
    dense: total((one) => one.synapticOperations.dense),
  };
  const operations = timeSteps.map((_, k) => ({ accumulates: synapticOperations.effectiveACs[k]!, multiplyAccumulates: 60_000 }));
  const evaluation: Evaluation = {
    images: 2000,
    damaged: [{ name: 'n01440764/a.JPEG', reason: 'not a <picture>' }],
    timeSteps,
    top1: [0.9855, 0.931, 0.972, 0.9895, 0.9905],
    top5: [0.9995, 0.995, 0.998, 0.9995, 1],
    spikesPerNeuron: timeSteps.map((steps) => 0.1 * steps),
    synapticOperations,
    residualAdditions: total((one) => one.residualAdditions),
    connectionSparsity: 0.05,
    activationSparsity: timeSteps.map(() => 0.9),
    footprintBytes: 123_456,
    denseMacs: 2_800_000,
    layers,
    energy: modelledEnergy(operations, 2_800_000),
    seconds: 3.2,
    imagesPerSecond: 625,
    latency: { runs: 32, median: 100, p95: 130, p99: 131, histogram: { from: 80, width: 10, counts: [1, 8, 12, 7, 3, 1] } },
    batchSize: 64,
    threads: 2,
    isa: 'avx2',
  };
  return {
    title: 'Made-up <report> & "numbers"',
    command: 'noisefloor quickstart --out <folder>',
    generated: '2026-01-02T03:04:05.678Z',
    machine: { cpu: 'A processor', cores: 2, memoryGiB: 8, system: 'Linux x64' },
    versions: { noisefloor: '0.1.0', node: 'v20.17.0', onnxruntime: '1.29.0' },
    seed: 7,
    model: 'mnist-small',
    data: 'mnist',
    evaluation,
    dense: { images: 2000, top1: 0.9915, top5: 1, seconds: 1, imagesPerSecond: 2000, batchSize: 64, threads: 2 },
    timings: timeSteps.map((steps) => ({ timeSteps: steps, threads: 2, spiking: timing('SNN', 0.1 + 0.03 * steps), dense: timing('dense', 0.31) })),
    comparison: {
      timeSteps: 4,
      images: 200,
      layers: names.map((name, i) => ({ name, ...(i === 5 ? {} : { correlation: 0.99 - 0.01 * i }), residualMean: 0.001 * i, residualStd: 0.02 + 0.02 * i, clippedShare: 0.02 })),
    },
    potentials: { timeSteps: 16, images: 8, layers: names.map((name, i) => ({ name, mean: 0.5, std: 0.3, below: 0.01 * i, above: 0.02 })) },
    confusion: [
      {
        name: 'great white shark, white shark',
        images: 50,
        right: 10,
        confusions: [{ name: 'tiger <shark>', count: 30 }, { name: 'tench', count: 1 }],
        examples: [{ name: 'x.JPEG', answer: 'tiger <shark>', picture: 'data:image/jpeg;base64,AAAA' }, { name: 'y.JPEG', answer: 'tench' }],
      },
    ],
    provenance: { noise: 'adaptor', levels: 4 },
  };
}
