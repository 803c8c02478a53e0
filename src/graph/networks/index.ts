import { unknownName } from '../../errors.js';
import type { Activation, Graph, Shape } from '../graph.js';
import { mnistSmall } from './mnist.js';
import { resnet18, resnet20 } from './resnet.js';
import { vgg16 } from './vgg.js';

export interface NetworkOptions {
  /** [C, H, W] of one image. */
  readonly inputShape: Shape;
  readonly classes: number;
  /** Used at every activation site. */
  readonly activation: Activation;
}

const builders = {
  'mnist-small': mnistSmall,
  resnet18: (options: NetworkOptions) => resnet18(options, 'cifar'),
  'resnet18-imagenet': (options: NetworkOptions) => resnet18(options, 'imagenet'),
  resnet20,
  vgg16,
} as const;

export type NetworkName = keyof typeof builders;
export const networkNames = Object.keys(builders) as readonly NetworkName[];

/** Builds one of {@link networkNames}; an unknown name is an `INVALID_ARGUMENT` that lists them. */
export function buildNetwork(name: string, options: NetworkOptions): Graph {
  if (!Object.hasOwn(builders, name)) throw unknownName('network', name, networkNames);
  return builders[name as NetworkName](options);
}
