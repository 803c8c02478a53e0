/** Name and number of elements. */
export type SharedEntry = readonly [name: string, length: number];

/** Tensors in memory that all threads of a run see; goes to a worker as it is. */
export interface SharedLayout {
  readonly entries: readonly SharedEntry[];
  readonly buffer: SharedArrayBuffer;
}

export function allocateShared(entries: readonly SharedEntry[]): SharedLayout {
  const elements = entries.reduce((sum, [, length]) => sum + length, 0);
  return { entries, buffer: new SharedArrayBuffer(elements * Float32Array.BYTES_PER_ELEMENT) };
}

/** The tensors of a layout by name, as views of its memory. */
export function sharedViews({ entries, buffer }: SharedLayout): Map<string, Float32Array> {
  let offset = 0;
  return new Map(
    entries.map(([name, length]) => {
      const view = new Float32Array(buffer, offset, length);
      offset += view.byteLength;
      return [name, view];
    }),
  );
}
