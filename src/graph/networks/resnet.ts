import { GraphBuilder } from '../builder.js';
import type { Graph } from '../graph.js';
import type { NetworkOptions } from './index.js';

type Stem = 'cifar' | 'imagenet';

/** He et al. 2016: conv-BN-act, conv-BN, shortcut; the residual is added to the current, one activation after it. */
class ResNetBuilder extends GraphBuilder {
  constructor(
    name: string,
    readonly options: NetworkOptions,
  ) {
    super(name, options.inputShape);
  }

  convBn(input: string, name: string, outChannels: number, kernel: number, stride: number): string {
    const conv = this.conv2d(input, `${name}.conv`, { outChannels, kernel, stride, padding: (kernel - 1) / 2 });
    return this.batchNorm(conv, `${name}.bn`);
  }

  act(input: string, name: string): string {
    return this.activation(input, name, this.options.activation);
  }

  stem(stem: Stem, channels: number): string {
    if (stem === 'cifar') return this.act(this.convBn(this.input, 'stem', channels, 3, 1), 'stem.act');
    const x = this.act(this.convBn(this.input, 'stem', channels, 7, 2), 'stem.act');
    return this.avgPool(x, 'stem.pool', 2);
  }

  basicBlock(input: string, name: string, inChannels: number, channels: number, stride: number): string {
    const first = this.act(this.convBn(input, `${name}.1`, channels, 3, stride), `${name}.1.act`);
    const second = this.convBn(first, `${name}.2`, channels, 3, 1);
    const projects = stride !== 1 || inChannels !== channels;
    const shortcut = projects ? this.convBn(input, `${name}.shortcut`, channels, 1, stride) : input;
    return this.act(this.add(second, shortcut, `${name}.add`), `${name}.act`);
  }

  stages(input: string, stemChannels: number, widths: readonly number[], blocks: number): string {
    let x = input;
    let channels = stemChannels;
    widths.forEach((width, stage) => {
      for (let block = 0; block < blocks; block++) {
        x = this.basicBlock(x, `stage${stage + 1}.${block}`, channels, width, stage > 0 && block === 0 ? 2 : 1);
        channels = width;
      }
    });
    return x;
  }

  head(input: string): Graph {
    const features = this.flatten(this.globalAvgPool(input, 'pool'), 'flatten');
    return this.build(this.linear(features, 'fc', { outFeatures: this.options.classes }));
  }
}

/**
 * ResNet-18, 17 activation sites. CIFAR stem: 3x3, stride 1, no pool. ImageNet stem: 7x7, stride 2, then average
 * pooling 2x2 where the original has max-pooling, which has no exact spiking counterpart.
 */
export function resnet18(options: NetworkOptions, stem: Stem): Graph {
  const b = new ResNetBuilder(stem === 'cifar' ? 'resnet18' : 'resnet18-imagenet', options);
  return b.head(b.stages(b.stem(stem, 64), 64, [64, 128, 256, 512], 2));
}

/** ResNet-20 for CIFAR, widths 16-32-64, three blocks a stage, 1x1 projection shortcuts. */
export function resnet20(options: NetworkOptions): Graph {
  const b = new ResNetBuilder('resnet20', options);
  return b.head(b.stages(b.stem('cifar', 16), 16, [16, 32, 64], 3));
}
