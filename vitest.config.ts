import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Native state and memory of one file must not mix with another's.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    reporters: process.env.CI ? ['default', ['json', { outputFile: 'build/vitest.json' }]] : ['default'],
  },
});
