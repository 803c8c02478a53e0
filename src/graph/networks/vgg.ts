import { GraphBuilder } from '../builder.js';
import type { Graph } from '../graph.js';
import { widthScale, type NetworkOptions } from './options.js';

const stages = [
  [64, 64],
  [128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [512, 512, 512],
] as const;

/**
 * VGG-16 with batch normalisation and average pooling 2x2 in place of max-pooling; classifier 4096-4096-classes.
 * 15 activation sites. Inputs of at least 32x32: one stem serves CIFAR and ImageNet, whose maps end as 1x1 and 7x7.
 */
export function vgg16(options: NetworkOptions): Graph {
  const { inputShape, classes, activation } = options;
  const scale = widthScale(options);
  const b = new GraphBuilder('vgg16', inputShape);
  let x = b.input;
  stages.forEach((widths, stage) => {
    widths.forEach((width, index) => {
      const name = `stage${stage + 1}.${index}`;
      const conv = b.conv2d(x, `${name}.conv`, { outChannels: scale(width), kernel: 3, padding: 1, bias: true });
      x = b.activation(b.batchNorm(conv, `${name}.bn`), `${name}.act`, activation);
    });
    x = b.avgPool(x, `stage${stage + 1}.pool`, 2);
  });
  x = b.flatten(x, 'flatten');
  for (const index of [1, 2]) x = b.activation(b.linear(x, `fc${index}`, { outFeatures: scale(4096) }), `fc${index}.act`, activation);
  return b.build(b.linear(x, 'fc3', { outFeatures: classes }));
}
