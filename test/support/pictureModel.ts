import { join } from 'node:path';
import { convert } from '../../src/convert/convert.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { TrainedNetwork } from '../../src/graph/network.js';
import { initialParameters } from '../../src/graph/parameters.js';
import { Random } from '../../src/random.js';
import { writeSpikingModel } from '../../src/snn/file.js';
import { writeNetwork } from '../../src/training/checkpoint.js';
import { picture, shape, writeFiles } from './pictureFolders.js';

const classes = ['ant', 'bee', 'cow', 'dog', 'elk', 'fox', 'gnu'];

/** A network on small pictures with random weights. */
export function pictureNetwork(): TrainedNetwork {
  const b = new GraphBuilder('pictures', [...shape]);
  const conv = b.conv2d(b.input, 'conv', { outChannels: 4, kernel: 4, stride: 4 });
  const act = b.activation(conv, 'act', { kind: 'qcfs', levels: 4, initialThreshold: 1 });
  const graph = b.build(b.linear(b.flatten(act, 'flat'), 'fc', { outFeatures: classes.length }));
  const parameters = initialParameters(graph, new Random(2));
  return { graph, parameters, classes, normalization: { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] }, provenance: {} };
}

/** model.safetensors, the network that it comes from in dense/, and `count` pictures in a folder a class. Returns the SPEC of the pictures. */
export async function writePictureEvaluation(folder: string, count: number): Promise<string> {
  const network = pictureNetwork();
  const preprocessing = { resize: 18, crop: 16, interpolation: 'bilinear' } as const;
  await writeSpikingModel(join(folder, 'model.safetensors'), convert(network, { preprocessing }).model);
  await writeNetwork(join(folder, 'dense'), network);
  const random = new Random(4);
  for (let i = 0; i < count; i++) {
    const name = `val/${classes[i % classes.length]}/${String(i).padStart(4, '0')}.jpg`;
    writeFiles(folder, { [name]: await picture(random.integer(256)) });
  }
  return `imagenet:${folder}`;
}
