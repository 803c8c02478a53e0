import { GraphBuilder } from '../builder.js';
import type { Graph } from '../graph.js';
import { nameWithStem, widthScale, type NetworkOptions, type Stem } from './options.js';

/** Output channels and stride of each separable convolution. */
const separable = [
  [64, 1],
  [128, 2],
  [128, 1],
  [256, 2],
  [256, 1],
  [512, 2],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [1024, 2],
  [1024, 1],
] as const;

/**
 * MobileNet (Howard et al. 2017): 13 times a depthwise 3x3 and a pointwise 1x1 convolution, each with batch normalisation
 * and activation; 27 activation sites. The 3x3 stem has stride 2 for ImageNet, as in the paper, and 1 for CIFAR; there
 * is no pool before the last one. `width` is the paper's width multiplier.
 */
export function mobilenet(stem: Stem): (options: NetworkOptions) => Graph {
  return (options) => {
    const { inputShape, classes, activation } = options;
    const scale = widthScale(options);
    const b = new GraphBuilder(nameWithStem('mobilenet', stem), inputShape);
    const convBnAct = (input: string, name: string, channels: number, kernel: number, stride: number, groups = 1): string => {
      const conv = b.conv2d(input, `${name}.conv`, { outChannels: channels, kernel, stride, padding: (kernel - 1) / 2, groups });
      return b.activation(b.batchNorm(conv, `${name}.bn`), `${name}.act`, activation);
    };
    let channels = scale(32);
    let x = convBnAct(b.input, 'stem', channels, 3, stem === 'cifar' ? 1 : 2);
    separable.forEach(([width, stride], index) => {
      x = convBnAct(x, `block${index + 1}.depthwise`, channels, 3, stride, channels);
      channels = scale(width);
      x = convBnAct(x, `block${index + 1}.pointwise`, channels, 1, 1);
    });
    const features = b.flatten(b.globalAvgPool(x, 'pool'), 'flatten');
    return b.build(b.linear(features, 'fc', { outFeatures: classes }));
  };
}
