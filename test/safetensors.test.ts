import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NoisefloorError } from '../src/errors.js';
import { decodeSafetensors, encodeSafetensors, type SafeTensor, type SafeTensorsFile } from '../src/safetensors.js';

function encode(file: SafeTensorsFile): Buffer {
  return Buffer.concat(encodeSafetensors(file));
}

function withHeader(header: string | Buffer, data = Buffer.alloc(0)): Buffer {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

function problemOf(bytes: Uint8Array): string {
  try {
    decodeSafetensors(bytes, 'some/file.safetensors');
  } catch (error) {
    expect(error).toBeInstanceOf(NoisefloorError);
    expect((error as NoisefloorError).code).toBe('INVALID_FILE');
    expect((error as NoisefloorError).message).toContain('some/file.safetensors');
    return (error as NoisefloorError).message;
  }
  throw new Error('accepted');
}

const everyType: SafeTensorsFile = {
  tensors: new Map<string, SafeTensor>([
    ['bytes', { shape: [3], data: Uint8Array.of(0, 127, 255) }],
    ['i8', { shape: [1, 3], data: Int8Array.of(-128, 0, 127) }],
    ['i16', { shape: [2], data: Int16Array.of(-32768, 32767) }],
    ['i32', { shape: [1], data: Int32Array.of(-(2 ** 31)) }],
    ['i64', { shape: [2], data: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n) }],
    ['f32', { shape: [2, 1, 2], data: Float32Array.of(0.1, -0, Infinity, 1e-45) }],
    ['f64', { shape: [], data: Float64Array.of(Math.PI) }],
    ['empty', { shape: [0, 7], data: new Float32Array(0) }],
    ['__proto__', { shape: [1], data: Uint8Array.of(9) }],
    ['naïve "name"\n', { shape: [1], data: Uint8Array.of(8) }],
  ]),
  metadata: { format: 'test', text: 'line\n"quoted" \\ ü' },
};

describe('safetensors', () => {
  it('round-trips every data type, names that need escapes, scalars and empty tensors', () => {
    const decoded = decodeSafetensors(encode(everyType), 'x');
    expect({ ...decoded.metadata }).toEqual(everyType.metadata);
    expect(decoded.tensors.size).toBe(everyType.tensors.size);
    for (const [name, tensor] of everyType.tensors) expect(decoded.tensors.get(name)).toStrictEqual(tensor);
  });

  it('writes the documented bytes', () => {
    const bytes = encode({ tensors: new Map([['a', { shape: [2], data: Int16Array.of(1, -2) }]]), metadata: {} });
    const header = '{"a":{"dtype":"I16","shape":[2],"data_offsets":[0,4]}}';
    expect(bytes.readBigUInt64LE()).toBe(56n);
    expect(bytes.subarray(8, 64).toString()).toBe(header.padEnd(56));
    expect([...bytes.subarray(64)]).toEqual([1, 0, 254, 255]);
  });

  it('aligns the data to 8 bytes and each tensor to its element size', () => {
    const bytes = encode(everyType);
    const headerBytes = Number(bytes.readBigUInt64LE());
    expect((8 + headerBytes) % 8).toBe(0);
    const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString()) as object;
    const infos = new Map(Object.entries(header) as [string, { data_offsets: number[] }][]);
    for (const [name, { data }] of everyType.tensors) {
      expect(infos.get(name)!.data_offsets[0]! % data.BYTES_PER_ELEMENT).toBe(0);
    }
  });

  it('reads from a view at an odd offset and copies', () => {
    const bytes = encode(everyType);
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    const { tensors } = decodeSafetensors(shifted.subarray(3), 'x');
    shifted.fill(0);
    expect(tensors.get('f32')).toStrictEqual(everyType.tensors.get('f32'));
  });

  it('reads tensors beyond 95 MB, where the product of two offsets is no safe integer', () => {
    const size = 96_000_000;
    const header = { large: { dtype: 'U8', shape: [size], data_offsets: [0, size] }, last: { dtype: 'U8', shape: [1], data_offsets: [size, size + 1] } };
    expect(Number.isSafeInteger(size * (size + 1))).toBe(false);
    const text = Buffer.from(JSON.stringify(header));
    const bytes = Buffer.alloc(8 + text.length + size + 1);
    bytes.writeBigUInt64LE(BigInt(text.length));
    text.copy(bytes, 8);
    bytes[bytes.length - 1] = 7;
    expect(decodeSafetensors(bytes, 'x', true).tensors.get('last')).toEqual({ shape: [1], data: Uint8Array.of(7) });
  });

  it('keeps prototype names harmless', () => {
    const text = '{"__metadata__":{"__proto__":"x","constructor":"y"}}';
    const { metadata } = decodeSafetensors(withHeader(text), 'x');
    expect(Object.keys(metadata)).toEqual(['__proto__', 'constructor']);
    expect('toString' in metadata).toBe(false);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it('refuses to write a shape that its data does not fill, and the reserved name', () => {
    const tensor: SafeTensor = { shape: [2, 2], data: new Float32Array(3) };
    expect(() => encode({ tensors: new Map([['a', tensor]]), metadata: {} })).toThrow(/shape of tensor "a"/);
    const reserved = new Map([['__metadata__', { shape: [1], data: new Float32Array(1) }]]);
    expect(() => encode({ tensors: reserved, metadata: {} })).toThrow(/__metadata__/);
  });
});

describe('safetensors violations', () => {
  const a = (dtype: string, shape: string, offsets: string) =>
    `{"a":{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}}`;
  const data = Buffer.alloc(8);
  const tooLong = Buffer.alloc(16);
  tooLong.writeBigUInt64LE(2n ** 63n);
  const cases: [string, Buffer, RegExp][] = [
    ['no length', Buffer.alloc(7), /7 bytes are too few/],
    ['header over the limit', tooLong, /over the limit of 100000000/],
    ['header past the end', Buffer.from([9, 0, 0, 0, 0, 0, 0, 0, 123]), /needs 9 bytes but 1 follow/],
    ['not JSON', withHeader('{"a":'), /not JSON/],
    ['empty header', withHeader(''), /not JSON/],
    ['not UTF-8', withHeader(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), /not JSON in UTF-8/],
    ['an array', withHeader('[]'), /not a JSON object/],
    ['space first', withHeader(' {}'), /not a JSON object/],
    ['duplicate tensor', withHeader('{"a":{},"\\u0061":{}}'), /twice/],
    ['duplicate field', withHeader('{"a":{"shape":[0],"shape":[1]}}'), /"shape" is in the header twice/],
    ['metadata not an object', withHeader('{"__metadata__":[]}'), /__metadata__ is not an object/],
    ['metadata not text', withHeader('{"__metadata__":{"k":1}}'), /__metadata__.k is not a string/],
    ['not described', withHeader('{"a":3}'), /not described by an object/],
    ['unknown type', withHeader(a('"F16"', '[4]', '[0,8]'), data), /dtype "F16"/],
    ['inherited type', withHeader(a('"toString"', '[4]', '[0,8]'), data), /dtype "toString"/],
    ['negative dimension', withHeader(a('"I8"', '[-8]', '[0,8]'), data), /shape \[-8\]/],
    ['fractional dimension', withHeader(a('"I8"', '[1.5]', '[0,8]'), data), /shape \[1.5\]/],
    ['too many elements', withHeader(a('"I8"', '[4e9,4e9]', '[0,8]'), data), /shape/],
    ['one offset', withHeader(a('"I8"', '[8]', '[0]'), data), /data_offsets/],
    ['offsets reversed', withHeader(a('"I8"', '[8]', '[8,0]'), data), /data_offsets/],
    ['shape against size', withHeader(a('"F32"', '[8]', '[0,8]'), data), /needs 32 bytes/],
    ['gap', withHeader(a('"I8"', '[4]', '[4,8]'), data), /leaves a gap/],
    ['data left over', withHeader(a('"I8"', '[4]', '[0,4]'), data), /end at byte 4 of 8/],
    ['data missing', withHeader(a('"I8"', '[16]', '[0,16]'), data), /end at byte 16 of 8/],
    [
      'overlap',
      withHeader(
        '{"a":{"dtype":"I8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"I8","shape":[4],"data_offsets":[4,8]}}',
        data,
      ),
      /overlaps/,
    ],
  ];
  it.each(cases)('%s', (_, bytes, message) => {
    expect(problemOf(bytes)).toMatch(message);
  });

  it('any flipped byte or truncation gives a file or an INVALID_FILE, nothing else', () => {
    const good = encode(everyType);
    const change = fc.record({ at: fc.nat(good.length - 1), xor: fc.integer({ min: 1, max: 255 }) });
    let rejected = 0;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(good.length), (changes, length) => {
        const bytes = Buffer.from(good);
        for (const { at, xor } of changes) bytes[at]! ^= xor;
        try {
          decodeSafetensors(length % 3 === 0 ? bytes.subarray(0, length) : bytes, 'x');
        } catch (error) {
          if (!(error instanceof NoisefloorError) || error.code !== 'INVALID_FILE') throw error;
          rejected++;
        }
      }),
      { numRuns: 2000, seed: 1 },
    );
    expect(rejected).toBeGreaterThan(500);
  });
});
