import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NoisefloorError } from '../src/errors.js';
import { candidates, load, runsOnMusl } from '../src/native.js';

const line = (path: string) => `7f00-7f01 r-xp 00000000 fe:00 42                         ${path}\n`;
const never = () => {
  throw new Error('the report was asked');
};

describe('which C library the process runs on', () => {
  it.each([
    ['Debian', '/usr/lib/x86_64-linux-gnu/libc.so.6', false],
    ['before glibc 2.34', '/lib64/libc-2.28.so', false],
    ['Alpine', '/lib/ld-musl-x86_64.so.1', true],
    ['arm64 Alpine', '/lib/ld-musl-aarch64.so.1', true],
    ["Debian's package musl", '/usr/lib/x86_64-linux-musl/libc.so', true],
    ['an own sysroot', '/opt/root/lib/libc.musl-x86_64.so.1', true],
  ])('%s', (_, path, musl) => {
    const maps = line('/usr/bin/node') + line(path) + line('[stack]');
    expect(runsOnMusl(maps, never)).toBe(musl);
  });

  it('is glibc where a musl library is only a part of the name or a file beside', () => {
    const maps = line('/home/ld-musl-tests/lib/libother.so') + line('/usr/lib/x86_64-linux-gnu/libc.so.6') + line('/lib/ld-musl-x86_64.so.1');
    expect(runsOnMusl(maps, never)).toBe(false);
  });

  it('asks the report of Node where /proc is closed or names no C library', () => {
    for (const maps of ['', line('/usr/bin/node')]) {
      expect(runsOnMusl(maps, () => true)).toBe(false);
      expect(runsOnMusl(maps, () => false)).toBe(true);
    }
  });

  it('takes glibc where there is no report either', () => {
    expect(runsOnMusl('', () => undefined)).toBe(false);
  });
});

describe('candidates', () => {
  it('are the Release build, then the prebuilt binary; never a Debug build', () => {
    const platform = `${process.platform}-${process.arch}`;
    expect(candidates('/p', false)).toEqual([
      join('/p', 'build', 'Release', 'noisefloor.node'),
      join('/p', 'prebuilds', platform, 'noisefloor.node'),
    ]);
    expect(candidates('/p', true)[1]).toBe(join('/p', 'prebuilds', `${platform}-musl`, 'noisefloor.node'));
  });

  it('keep every failure, and the error ends in the command that builds', () => {
    const paths = ['/nowhere/a.node', '/nowhere/b.node'];
    try {
      load(paths);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(NoisefloorError);
      const { code, message, cause } = error as NoisefloorError;
      expect(code).toBe('NATIVE_LOAD');
      for (const path of paths) expect(message).toContain(`  ${path}: `);
      expect(message).toMatch(/npx cmake-js build -d node_modules\/noisefloor$/);
      expect((cause as AggregateError).errors).toHaveLength(2);
    }
  });
});
