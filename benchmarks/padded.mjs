/** The same model, other bytes: the header of a safetensors file may end in spaces. @param count of them, a multiple of 8 */
export function padded(bytes, count) {
  const length = Number(bytes.readBigUInt64LE());
  const header = Buffer.concat([bytes.subarray(8, 8 + length), Buffer.alloc(count, ' ')]);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([size, header, bytes.subarray(8 + length)]);
}
