import { GraphBuilder } from '../builder.js';
import type { Graph } from '../graph.js';
import { nameWithStem, widthScale, type NetworkOptions, type Stem } from './options.js';

/** Channels of the stem, and of each stage before a bottleneck widens them; residual blocks of each stage. */
interface ResNetPlan {
  readonly stem: number;
  readonly widths: readonly number[];
  readonly blocks: readonly number[];
  readonly block: 'basic' | 'bottleneck';
}

const plans = {
  resnet18: { stem: 64, widths: [64, 128, 256, 512], blocks: [2, 2, 2, 2], block: 'basic' },
  resnet20: { stem: 16, widths: [16, 32, 64], blocks: [3, 3, 3], block: 'basic' },
  resnet34: { stem: 64, widths: [64, 128, 256, 512], blocks: [3, 4, 6, 3], block: 'basic' },
  resnet50: { stem: 64, widths: [64, 128, 256, 512], blocks: [3, 4, 6, 3], block: 'bottleneck' },
} as const satisfies Record<string, ResNetPlan>;

/** Factor by which the last convolution of a bottleneck widens its block. */
const bottleneckExpansion = 4;

/** He et al. 2016: convolutions and a shortcut; the residual is added to the current, one activation after it. */
class ResNetBuilder extends GraphBuilder {
  readonly #scale: (channels: number) => number;

  constructor(
    name: string,
    readonly options: NetworkOptions,
    readonly plan: ResNetPlan,
  ) {
    super(name, options.inputShape);
    this.#scale = widthScale(options);
  }

  /** Channels as the plan counts them: they are scaled here. */
  #convBn(input: string, name: string, channels: number, kernel: number, stride: number): string {
    const outChannels = this.#scale(channels);
    const conv = this.conv2d(input, `${name}.conv`, { outChannels, kernel, stride, padding: (kernel - 1) / 2 });
    return this.batchNorm(conv, `${name}.bn`);
  }

  #act(input: string, name: string): string {
    return this.activation(input, name, this.options.activation);
  }

  stem(stem: Stem): string {
    const [kernel, stride] = stem === 'cifar' ? [3, 1] : [7, 2];
    const x = this.#act(this.#convBn(this.input, 'stem', this.plan.stem, kernel, stride), 'stem.act');
    return stem === 'cifar' ? x : this.avgPool(x, 'stem.pool', 2);
  }

  #basic(input: string, name: string, channels: number, stride: number): string {
    const first = this.#act(this.#convBn(input, `${name}.1`, channels, 3, stride), `${name}.1.act`);
    return this.#convBn(first, `${name}.2`, channels, 3, 1);
  }

  #bottleneck(input: string, name: string, channels: number, stride: number): string {
    const first = this.#act(this.#convBn(input, `${name}.1`, channels, 1, 1), `${name}.1.act`);
    const second = this.#act(this.#convBn(first, `${name}.2`, channels, 3, stride), `${name}.2.act`);
    return this.#convBn(second, `${name}.3`, channels * bottleneckExpansion, 1, 1);
  }

  stages(input: string): string {
    const { plan } = this;
    const bottleneck = plan.block === 'bottleneck';
    let [x, channels] = [input, plan.stem];
    plan.widths.forEach((width, stage) => {
      const out = bottleneck ? width * bottleneckExpansion : width;
      for (let block = 0; block < plan.blocks[stage]!; block++) {
        const name = `stage${stage + 1}.${block}`;
        const stride = stage > 0 && block === 0 ? 2 : 1;
        const residual = bottleneck ? this.#bottleneck(x, name, width, stride) : this.#basic(x, name, width, stride);
        const shortcut = stride !== 1 || channels !== out ? this.#convBn(x, `${name}.shortcut`, out, 1, stride) : x;
        x = this.#act(this.add(residual, shortcut, `${name}.add`), `${name}.act`);
        channels = out;
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
 * Residual networks with 1x1 projection shortcuts. Activation sites: 17 in ResNet-18, 19 in ResNet-20, 33 in ResNet-34,
 * 49 in ResNet-50, whose bottlenecks have their stride in the 3x3 convolution, as torchvision has it. CIFAR stem: 3x3,
 * stride 1, no pool. ImageNet stem: 7x7, stride 2, then average pooling 2x2 where the original has max-pooling: it
 * folds into the weights behind it, while max-pooling has to count spikes.
 */
export function resnet(name: keyof typeof plans, stem: Stem): (options: NetworkOptions) => Graph {
  return (options) => {
    const b = new ResNetBuilder(nameWithStem(name, stem), options, plans[name]);
    return b.head(b.stages(b.stem(stem)));
  };
}
