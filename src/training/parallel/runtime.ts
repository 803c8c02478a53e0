import { availableParallelism } from 'node:os';
import { invalidArgument, refused } from '../../errors.js';
import { whole } from '../../numbers.js';
import type { Device, RuntimeOptions } from '../../onnx/device.js';

/** Where a training run computes: on one device, or in parallel. */
export interface TrainingRuntime extends RuntimeOptions {
  readonly parallel?: Parallel;
}

export interface Parallel {
  /** Each takes a share of every batch, in a thread and a session of its own. */
  readonly replicas: readonly RuntimeOptions[];
  readonly averageEvery: number;
}

/** The options of `train` that a runtime follows from. */
export interface ParallelOptions extends Pick<RuntimeOptions, 'device' | 'threads'> {
  /**
   * Numbers of the CUDA devices to train on. With several, each takes its share of every batch, and `batchSize` is that of
   * all together. Statistics of batch normalisation, and the batch in the gradient scaling of lsq, are those of the
   * share, as in PyTorch's data parallel training; running statistics are averaged. Default: device 0.
   */
  readonly devices?: readonly number[];
  /** The same with sessions on the CPU, which divide the threads among them. Default 1. */
  readonly replicas?: number;
  /**
   * With several devices or replicas. 1: their gradients are averaged at every step, so the run is that of one device with
   * the whole batch. K > 1: each takes K steps of its own, in one `Loop`, then weights and training state are averaged
   * (local SGD, Stich 2019): another algorithm, with less to send. Default 1.
   */
  readonly averageEvery?: number;
}

export function resolveRuntime(options: ParallelOptions, batchSize: number): TrainingRuntime {
  const { device = 'cpu', devices, replicas = 1, averageEvery = 1, threads } = options;
  if (devices !== undefined) checkDevices(devices, device);
  if (options.replicas !== undefined && device !== 'cpu') throw refused('replicas is for the CPU; on CUDA list devices.');
  const lead: RuntimeOptions = { device, threads, ...(devices ? { deviceId: devices[0]! } : {}) };
  const count = devices?.length ?? replicas;
  if (!Number.isSafeInteger(count) || count < 1 || count > batchSize) {
    throw invalidArgument(devices ? 'devices' : 'replicas', `at most ${batchSize}, the images of a batch, and at least 1`, count);
  }
  whole('averageEvery', averageEvery, 1);
  if (averageEvery > 1 && count === 1) throw refused('averageEvery needs several devices or replicas.');
  if (count === 1) return lead;
  const share = Math.max(1, Math.floor((threads ?? availableParallelism()) / count));
  const parts = Array.from({ length: count }, (_, i): RuntimeOptions => ({ device, threads: share, ...(devices ? { deviceId: devices[i]! } : {}) }));
  return { ...lead, parallel: { replicas: parts, averageEvery } };
}

function checkDevices(devices: readonly number[], device: Device): void {
  if (device !== 'cuda') throw refused('devices are numbers of CUDA devices: set device cuda.');
  const isNumber = (id: unknown): boolean => Number.isSafeInteger(id) && (id as number) >= 0;
  if (devices.length > 0 && devices.every(isNumber) && new Set(devices).size === devices.length) return;
  throw invalidArgument('devices', 'list of different whole numbers >= 0', devices);
}
