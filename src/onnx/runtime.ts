import type * as Ort from 'onnxruntime-node';
import { NoisefloorError } from '../errors.js';
import type { RuntimeOptions } from './device.js';

export type Runtime = typeof Ort;
export type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';

let loading: Promise<Runtime> | undefined;

/** Loads the optional dependency onnxruntime-node when it is first needed; `MISSING_DEPENDENCY` where it is absent. */
export function loadRuntime(): Promise<Runtime> {
  loading ??= import('onnxruntime-node').catch((error: unknown) => {
    loading = undefined;
    throw new NoisefloorError(
      'MISSING_DEPENDENCY',
      `Training and dense comparison need onnxruntime-node, which could not be loaded (${(error as Error).message}). ` +
        'Install it with: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.29.0',
      { cause: error },
    );
  });
  return loading;
}

/**
 * Opens a model from memory on the device asked for; `MISSING_DEPENDENCY` where `cuda` is asked for and its provider is
 * not there.
 *
 * @param more options of ONNX Runtime
 */
export async function openSession(
  model: Uint8Array,
  { device = 'cpu', deviceId = 0, threads }: RuntimeOptions = {},
  more: Ort.InferenceSession.SessionOptions = {},
): Promise<Ort.InferenceSession> {
  const ort = await loadRuntime();
  const options: Ort.InferenceSession.SessionOptions = {
    executionProviders: device === 'cuda' ? [{ name: 'cuda', deviceId }, 'cpu'] : ['cpu'],
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    ...more,
  };
  if (device === 'cpu') return ort.InferenceSession.create(model, options);
  return ort.InferenceSession.create(model, options).catch((error: unknown) => {
    throw new NoisefloorError(
      'MISSING_DEPENDENCY',
      `ONNX Runtime could not use CUDA: ${(error as Error).message.split('\n')[0]} ` +
        'Install CUDA 13, cuDNN 9 and onnxruntime-node 1.29.0 with its CUDA provider (its install script fetches it), or train on the cpu.',
      { cause: error },
    );
  });
}
