import { describe, expect, it } from 'vitest';
import { convert } from '../src/convert/convert.js';
import { fold } from '../src/convert/fold.js';
import { weightTypes } from '../src/convert/quantize.js';
import { simulateFolded } from '../src/convert/simulate.js';
import { GraphBuilder } from '../src/graph/builder.js';
import type { TrainedNetwork } from '../src/graph/network.js';
import { inputsOf } from '../src/graph/graph.js';
import { poolsBehindActivations } from '../src/graph/poolOrder.js';
import { decodeSpikingModel, encodeSpikingModel } from '../src/snn/file.js';
import { readoutOf } from '../src/snn/model.js';
import { simulate } from '../src/snn/reference.js';
import { evaluateDense, evaluateSpiking } from './support/graphEvaluation.js';
import { largestWeight } from './support/spikingModels.js';
import { constructedNetwork, constructions, randomNetwork } from './support/trainedNetworks.js';

const names = Object.keys(constructions);
const timeSteps = 6;

function image(network: TrainedNetwork, n: number): Float32Array {
  const { images, count } = network.samples!;
  return images.subarray((n * images.length) / count, ((n + 1) * images.length) / count);
}

describe('folding is exact', () => {
  it.each(names)('%s', (name) => {
    const given = constructedNetwork(name, 3);
    const network = { ...given, graph: poolsBehindActivations(given.graph) };
    expect(evaluateDense(network, image(network, 0)).get(network.graph.output)).toEqual(evaluateDense(given, image(given, 0)).get(given.graph.output));
    const folded = fold(given);
    const result = simulateFolded(folded, network.samples!.images, 2, timeSteps);
    const classes = network.classes.length;
    for (let n = 0; n < 2; n++) {
      const { logits, counts } = evaluateSpiking(network, image(network, n), timeSteps);
      logits.forEach((expected, t) => {
        const actual = result.logits.subarray((t * 2 + n) * classes, (t * 2 + n + 1) * classes);
        actual.forEach((logit, c) => expect(logit).toBeCloseTo(expected[c]!, 9));
      });
      folded.layers.filter((layer) => layer.kind === 'spiking').forEach((layer, l) => {
        const expected = counts.get(layer.name)!;
        const actual = result.counts[l]!.subarray(n * expected.length, (n + 1) * expected.length);
        expect(Float64Array.from(actual)).toEqual(expected);
      });
    }
  });

  it('spikes at all in these networks', () => {
    const shares = names.flatMap((name) => {
      const network = constructedNetwork(name, 3);
      const { counts } = evaluateSpiking(network, image(network, 0), timeSteps);
      return [...counts.values()].map((count) => count.reduce((a, b) => a + b, 0) / count.length / timeSteps);
    });
    expect(Math.min(...shares)).toBeGreaterThan(0.005);
    expect(Math.max(...shares)).toBeLessThan(0.98);
  });
});

describe('integers follow the float64 simulation', () => {
  it.each(names.flatMap((name) => weightTypes.map((weights) => [name, weights] as const)))('%s, %s', (name, weights) => {
    const network = constructedNetwork(name, 4, 8);
    const { model, report } = convert(network, { weights });
    expect(report.largestTimeSteps).toBeGreaterThanOrEqual(64);
    expect(decodeSpikingModel(Buffer.concat(encodeSpikingModel(model)), 'x')).toStrictEqual(model);
    expect(report.observed!.images).toBe(8);
    expect(report.observed!.spikeCountDifference).toBeLessThan({ int7: 0.06, int8: 0.03, int16: 0.003 }[weights]);
    // Where neurons are the output, one spike is a whole eighth of the largest logit.
    const neuronsOut = model.layers.at(-1)!.synapses[0]!.kind === 'identity';
    expect(report.observed!.logitDeviation).toBeLessThan(neuronsOut && weights !== 'int16' ? 0.125 : { int7: 0.08, int8: 0.04, int16: 0.003 }[weights]);
    const largest = largestWeight(model);
    expect(largest).toBeLessThanOrEqual({ int7: 63, int8: 127, int16: 32767 }[weights]);
    expect(largest).toBeGreaterThan({ int7: 31, int8: 63, int16: 127 }[weights]);
    for (const layer of report.layers) {
      expect(layer.weightError.int7).toBeLessThan(0.02);
      expect(layer.weightError.int8).toBeLessThan(0.01);
      expect(layer.weightError.int16).toBeLessThan(2e-3);
      expect(layer.membraneError).toBeLessThan(0.01);
    }
  });

  it('measures what it says it measures', () => {
    const network = constructedNetwork('residual identity, projection, global pool', 4, 3);
    const { model, report } = convert(network);
    const { timeSteps: steps, images } = report.observed!;
    const integer = simulate(model, network.samples!.images, images, { timeSteps: steps, counts: true });
    const names = model.layers.filter((layer) => layer.kind === 'spiking').map((layer) => layer.name);
    let [spikes, different, agreeing] = [0, 0, 0];
    for (let n = 0; n < images; n++) {
      const exact = evaluateSpiking(network, image(network, n), steps);
      names.forEach((name, l) => {
        const expected = exact.counts.get(name)!;
        expected.forEach((count, i) => {
          spikes += count;
          different += Math.abs(count - integer.counts![l]![n * expected.length + i]!);
        });
      });
      const at = ((steps - 1) * images + n) * 4;
      const last = exact.logits[steps - 1]!;
      const potentials = [...integer.potentials.subarray(at, at + 4)];
      if (last.indexOf(Math.max(...last)) === potentials.indexOf(Math.max(...potentials))) agreeing++;
    }
    expect(report.observed!.spikeCountDifference).toBeCloseTo(different / spikes, 12);
    expect(report.observed!.top1Agreement).toBeCloseTo(agreeing / images, 12);
  });

  it('says nothing of images it has not got', () => {
    const { graph, parameters, classes, normalization, provenance } = constructedNetwork('linear only', 1);
    expect(convert({ graph, parameters, classes, normalization, provenance }).report).not.toHaveProperty('observed');
  });
});

describe('T = 1, L = 1 is exact through depth', () => {
  /** Weights k / 128 with one of 127 / 128 a channel, thresholds 1: their integers are exact, ties included. */
  function exactNetwork(): TrainedNetwork {
    const b = new GraphBuilder('deep', [2, 6, 6]);
    const activation = { kind: 'qcfs', levels: 1, initialThreshold: 1 } as const;
    let x: string = b.input;
    for (let l = 1; l <= 6; l++) {
      const conv = b.conv2d(x, `conv${l}`, { outChannels: 7, kernel: 3, padding: 1, bias: true });
      x = b.activation(l > 2 && l % 2 === 0 ? b.add(conv, x, `add${l}`) : conv, `act${l}`, activation);
    }
    const network = randomNetwork(b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 5 })), 11, 20);
    for (const [name, { data, shape }] of network.parameters) {
      if (name.endsWith('threshold')) data[0] = 1;
      else data.forEach((w, i) => (data[i] = Math.max(-126, Math.min(126, Math.round(w * 150))) / 128));
      if (name.endsWith('weight')) for (let c = 0; c < shape[0]!; c++) data[(c * data.length) / shape[0]!] = 127 / 128;
    }
    const images = network.samples!.images;
    images.forEach((x, i) => (images[i] = Math.round(x * 64) / 64));
    return network;
  }

  it.each(['int8', 'int16'] as const)('spike for spike, %s', (weights) => {
    const network = exactNetwork();
    const { model } = convert(network, { weights });
    const { count, images } = network.samples!;
    const result = simulate(model, images, count, { timeSteps: 1, counts: true });
    let fired = 0;
    let neurons = 0;
    for (let n = 0; n < count; n++) {
      const values = evaluateDense(network, image(network, n));
      model.layers.filter((layer) => layer.kind === 'spiking').forEach((layer, l) => {
        const expected = values.get(layer.name)!;
        const actual = result.counts![l]!.subarray(n * expected.length, (n + 1) * expected.length);
        expect(Float64Array.from(actual)).toEqual(expected);
        fired += actual.reduce((a, b) => a + b, 0);
        neurons += actual.length;
      });
      values.get('fc')!.forEach((logit, c) => {
        expect(result.potentials[n * 5 + c]! * readoutOf(model).unit[0]!).toBeCloseTo(logit, 3);
      });
    }
    expect(fired / neurons).toBeGreaterThan(0.1);
    expect(fired / neurons).toBeLessThan(0.9);
  });
});

describe('one neuron layer at L = T is the quantised network', () => {
  it.each([1, 2, 3, 4, 8, 16, 64])('T = %i', (levels) => {
    const b = new GraphBuilder('shallow', [1, 5, 5]);
    const x = b.activation(b.conv2d(b.input, 'conv', { outChannels: 8, kernel: 3, bias: true }), 'act', { kind: 'qcfs', levels, initialThreshold: 1 });
    const network = randomNetwork(b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 3 })), levels, 10);
    const { model } = convert(network, { weights: 'int16' });
    const { count, images } = network.samples!;
    const result = simulate(model, images, count, { timeSteps: levels, counts: true });
    const theta = network.parameters.get('act.threshold')!.data[0]!;
    let wrong = 0;
    for (let n = 0; n < count; n++) {
      evaluateDense(network, image(network, n)).get('act')!.forEach((value, i, all) => {
        const difference = result.counts![0]![n * all.length + i]! - Math.round((value / theta) * levels);
        expect(Math.abs(difference)).toBeLessThanOrEqual(1);
        if (difference !== 0) wrong++;
      });
    }
    // A spike more or less only where rounding moves a current across a step, which are `levels` steps of theta / levels.
    expect(wrong / result.counts![0]!.length).toBeLessThan(0.0005 * levels + 0.001);
  });
});

describe('everything is consumed', () => {
  it('every node of every construction is read by another or is the output', () => {
    for (const name of names) {
      const { graph } = constructedNetwork(name, 1);
      const read = new Set([...graph.nodes.flatMap(inputsOf), graph.output]);
      expect(graph.nodes.filter((node) => !read.has(node.name))).toEqual([]);
    }
  });
});
