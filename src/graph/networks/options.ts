import { invalidArgument } from '../../errors.js';
import type { Activation, Shape } from '../graph.js';

export interface NetworkOptions {
  /** [C, H, W] of one image. */
  readonly inputShape: Shape;
  readonly classes: number;
  /** Used at every activation site. */
  readonly activation: Activation;
  /** Factor on the channels of every hidden layer, rounded, at least 1 channel. Default 1. */
  readonly width?: number;
}

/**
 * `cifar` keeps the resolution of small images in the first convolution. `imagenet` divides it as the original network
 * does, with average pooling where that has max-pooling: it folds into weights, while max-pooling has to count spikes.
 */
export type Stem = 'cifar' | 'imagenet';

export function nameWithStem(name: string, stem: Stem): string {
  return stem === 'cifar' ? name : `${name}-${stem}`;
}

/** Channels of the original network to those of the one asked for. */
export function widthScale({ width = 1 }: NetworkOptions): (channels: number) => number {
  if (!(width > 0) || !Number.isFinite(width)) throw invalidArgument('width', 'positive number', width);
  return (channels) => Math.max(1, Math.round(channels * width));
}
