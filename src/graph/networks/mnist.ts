import { GraphBuilder } from '../builder.js';
import type { Graph } from '../graph.js';
import { widthScale, type NetworkOptions } from './options.js';

/** A small residual network for 28x28 digits: 3 blocks of widths 16-32-48, 7 activation sites, 56 thousand parameters. */
export function mnistSmall(options: NetworkOptions): Graph {
  const { inputShape, classes, activation } = options;
  const scale = widthScale(options);
  const b = new GraphBuilder('mnist-small', inputShape);
  const convBn = (input: string, name: string, outChannels: number, kernel: number, stride: number): string => {
    const conv = b.conv2d(input, `${name}.conv`, { outChannels, kernel, stride, padding: (kernel - 1) / 2 });
    return b.batchNorm(conv, `${name}.bn`);
  };
  let x = b.activation(convBn(b.input, 'stem', scale(16), 5, 2), 'stem.act', activation);
  for (const [index, width] of [16, 32, 48].map(scale).entries()) {
    const name = `block${index + 1}`;
    const stride = index === 0 ? 1 : 2;
    const first = b.activation(convBn(x, `${name}.1`, width, 3, stride), `${name}.1.act`, activation);
    const second = convBn(first, `${name}.2`, width, 3, 1);
    const shortcut = stride === 1 ? x : convBn(x, `${name}.shortcut`, width, 1, stride);
    x = b.activation(b.add(second, shortcut, `${name}.add`), `${name}.act`, activation);
  }
  const features = b.flatten(b.globalAvgPool(x, 'pool'), 'flatten');
  return b.build(b.linear(features, 'fc', { outFeatures: classes }));
}
