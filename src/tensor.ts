/** A dense float32 tensor in row-major order. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Parameters and buffers of a graph by name, such as `conv1.weight` or `bn1.running_mean`. */
export type Parameters = Map<string, Tensor>;
