export const devices = ['cpu', 'cuda'] as const;
export type Device = (typeof devices)[number];

export const precisions = ['float32', 'mixed'] as const;
/** `mixed`: maps in float16, parameters and sums in float32. */
export type Precision = (typeof precisions)[number];

/** Where and with what ONNX Runtime computes. */
export interface RuntimeOptions {
  /** Default `cpu`. `cuda` needs the CUDA provider of the same version of onnxruntime-node; there is no silent fallback. */
  readonly device?: Device;
  /** Number of the CUDA device. Default 0. */
  readonly deviceId?: number;
  /** Threads inside an operator. Default: the number of cores. */
  readonly threads?: number;
}
