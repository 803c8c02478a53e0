import type { Dataset, Split } from '../../src/data/dataset.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { Activation, Graph } from '../../src/graph/graph.js';
import { Random } from '../../src/random.js';

/** Images [1, 6, 6] of noise with one bright row; the row is the class (3 classes). Learnable in a few steps. */
export function tinyDataset(train = 90, test = 30): Dataset {
  const random = new Random(5);
  const split = (count: number): Split => {
    const images = Uint8Array.from({ length: count * 36 }, () => random.integer(80));
    const labels = Uint8Array.from({ length: count }, (_, i) => i % 3);
    labels.forEach((label, i) => images.fill(230, i * 36 + label * 12, i * 36 + label * 12 + 6));
    return { images, labels, count };
  };
  return {
    spec: 'tiny',
    shape: [1, 6, 6],
    classes: ['top', 'middle', 'bottom'],
    normalization: { mean: [0.2], std: [0.25] },
    train: split(train),
    test: split(test),
    augmentation: { cropPadding: 0, flip: true },
  };
}

export function tinyNetwork(activation: Activation = { kind: 'qcfs', levels: 4, initialThreshold: 2 }, channels = 4): Graph {
  const b = new GraphBuilder('tiny', [1, 6, 6]);
  const convBn = (x: string, name: string): string => b.batchNorm(b.conv2d(x, `${name}.conv`, { outChannels: channels, kernel: 3, padding: 1 }), `${name}.bn`);
  const first = b.activation(convBn(b.input, 'first'), 'first.act', activation);
  const second = b.activation(b.add(convBn(first, 'second'), first, 'sum'), 'second.act', activation);
  return b.build(b.linear(b.flatten(second, 'flatten'), 'fc', { outFeatures: 3 }));
}
