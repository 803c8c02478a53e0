// Prints what vitest counted, in one plain line, and fails when it counted nothing.
import { readFileSync } from 'node:fs';

const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync('build/vitest.json', 'utf8'));
console.log(`${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`);
process.exitCode = numPassedTests > 0 && numFailedTests === 0 ? 0 : 1;
