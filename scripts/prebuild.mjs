// Copies the addon built here to prebuilds/<platform>-<arch>[-musl]/, where the loader of an installed package looks.
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const built = join('build', 'Release', 'noisefloor.node');
if (!existsSync(built)) throw new Error(`${built} is missing: run "npm run build:native" first.`);
const musl = process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime;
const folder = join('prebuilds', `${process.platform}-${process.arch}${musl ? '-musl' : ''}`);
mkdirSync(folder, { recursive: true });
copyFileSync(built, join(folder, 'noisefloor.node'));
console.error(`prebuilt: ${folder}/noisefloor.node`);
