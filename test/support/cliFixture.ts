import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openDataset } from '../../src/data/open.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { Activation } from '../../src/graph/graph.js';
import type { Io } from '../../src/cli/io.js';
import { run } from '../../src/cli/run.js';
import { parameterSpecs } from '../../src/graph/parameters.js';
import { Random } from '../../src/random.js';
import { elementCount } from '../../src/tensor.js';
import { writeCheckpoint } from '../../src/training/checkpoint.js';
import { resolveConfig } from '../../src/training/options.js';
import { freshStart } from '../../src/training/start.js';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line in this process. */
export async function cli(argv: readonly string[], change: Partial<Io> = {}): Promise<Ran> {
  let stdout = '';
  let stderr = '';
  const io: Io = {
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    interactive: false,
    colour: false,
    debug: false,
    signal: new AbortController().signal,
    ...change,
  };
  const code = await run(argv, io);
  return { code, stdout, stderr };
}

function idx(shape: readonly number[], data: Uint8Array): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x800 + shape.length);
  shape.forEach((n, i) => header.writeUInt32BE(n, 4 + 4 * i));
  return Buffer.concat([header, data]);
}

/** Files of MNIST's layout: a bright square whose place tells the class, with noise. Returns the SPEC. */
export async function writeTinyMnist(folder: string, counts = { train: 60, test: 25 }): Promise<string> {
  await mkdir(folder, { recursive: true });
  const random = new Random(5);
  for (const [prefix, count] of [['train', counts.train], ['t10k', counts.test]] as const) {
    const images = Uint8Array.from({ length: count * 784 }, () => random.integer(40));
    const labels = Uint8Array.from({ length: count }, (_, n) => n % 10);
    labels.forEach((label, n) => {
      for (let y = 0; y < 8; y++) {
        const start = n * 784 + (4 + 12 * (label % 2) + y) * 28 + 5 * Math.floor(label / 2);
        images.fill(255, start, start + 6);
      }
    });
    await writeFile(join(folder, `${prefix}-images-idx3-ubyte`), idx([count, 28, 28], images));
    await writeFile(join(folder, `${prefix}-labels-idx1-ubyte`), idx([count], labels));
  }
  return `mnist:${folder}`;
}

const quantiser: Activation = { kind: 'qcfs', levels: 4, initialThreshold: 2 };

/** A training folder as after 0 epochs: a small network with random weights. */
export async function writeTinyCheckpoint(folder: string, spec: string, activation = quantiser): Promise<void> {
  const b = new GraphBuilder('tiny', [1, 28, 28]);
  let x = b.batchNorm(b.conv2d(b.input, 'conv', { outChannels: 4, kernel: 4, stride: 4 }), 'bn');
  x = b.activation(x, 'act', activation);
  const graph = b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 10 }));
  const data = await openDataset(spec);
  const start = freshStart(graph, resolveConfig({ network: graph, data, out: folder }), data);
  const momentum = parameterSpecs(graph)
    .filter(({ role }) => role !== 'buffer')
    .map(({ name, shape }) => [`${name}.momentum`, { shape, data: new Float32Array(elementCount(shape)) }] as const);
  await writeCheckpoint(folder, { ...start, optimizerState: new Map(momentum) });
}
