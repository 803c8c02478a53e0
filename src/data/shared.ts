/** Zeros that all threads see: sent to a worker, they are not copied. */
export function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(length));
}
