import { unknownName } from '../../errors.js';
import type { Graph } from '../graph.js';
import { mnistSmall } from './mnist.js';
import { mobilenet } from './mobilenet.js';
import type { NetworkOptions } from './options.js';
import { resnet } from './resnet.js';
import { vgg16 } from './vgg.js';

export type { NetworkOptions } from './options.js';

const builders = {
  'mnist-small': mnistSmall,
  resnet18: resnet('resnet18', 'cifar'),
  'resnet18-imagenet': resnet('resnet18', 'imagenet'),
  resnet20: resnet('resnet20', 'cifar'),
  'resnet20-imagenet': resnet('resnet20', 'imagenet'),
  resnet34: resnet('resnet34', 'cifar'),
  'resnet34-imagenet': resnet('resnet34', 'imagenet'),
  resnet50: resnet('resnet50', 'cifar'),
  'resnet50-imagenet': resnet('resnet50', 'imagenet'),
  vgg16,
  mobilenet: mobilenet('cifar'),
  'mobilenet-imagenet': mobilenet('imagenet'),
} as const;

export type NetworkName = keyof typeof builders;
export const networkNames = Object.keys(builders) as readonly NetworkName[];

/** Builds one of {@link networkNames}; an unknown name is an `INVALID_ARGUMENT` that lists them. */
export function buildNetwork(name: string, options: NetworkOptions): Graph {
  if (!Object.hasOwn(builders, name)) throw unknownName('network', name, networkNames);
  return builders[name as NetworkName](options);
}
