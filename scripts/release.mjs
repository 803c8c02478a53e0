// Makes a release: node scripts/release.mjs VERSION [--publish]
// Without --publish nothing leaves the machine and no file of the project changes: checks, bill of materials, files of the
// models to fetch, tarball, in release/. With it: writes version and changelog, commits, tags, publishes to npm with
// provenance where a CI service vouches for it (--provenance), else without. Needs clean sources and every promised prebuilt addon.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { publish: { type: 'boolean', default: false }, provenance: { type: 'boolean', default: false } },
});
const [version] = positionals;
if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version ?? '')) throw new Error('usage: node scripts/release.mjs VERSION [--publish] [--provenance]');

const run = (command, ...args) => {
  if (spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] }).status !== 0) refuse(`"${command} ${args.join(' ')}" failed`);
};
const read = (command, ...args) => execFileSync(command, args, { encoding: 'utf8', maxBuffer: 1e8, stdio: ['ignore', 'pipe', 'inherit'] });
const out = 'release';
rmSync(out, { recursive: true, force: true });
mkdirSync(out);

const { repository } = JSON.parse(readFileSync('package.json', 'utf8'));
if (values.publish && !repository) refuse('package.json has no "repository": npm asks for it with provenance, and models are fetched from its releases');
if (read('git', 'status', '--porcelain').trim() !== '') refuse('there are changes that are not committed');
const changelog = changelogOf(version);
if (values.publish) {
  writeFileSync('CHANGELOG.md', changelog);
  run('npm', 'version', '--no-git-tag-version', '--allow-same-version', version);
}
run('npm', 'run', 'build:ts');
run('node', 'scripts/prebuild.mjs', 'check');
writeFileSync(join(out, 'sbom.spdx.json'), read('npm', 'sbom', '--sbom-format', 'spdx', '--omit', 'dev'));
const models = JSON.parse(readFileSync('zoo/catalogue.json', 'utf8'));
models.filter(({ included }) => !included).forEach(makeModel);
run('npm', 'pack', '--pack-destination', out);
if (values.publish) publish();
else console.log(`Nothing was published. ${out}/ holds what --publish would send.`);

/** The notes under "Unreleased" become those of the version. */
function changelogOf(version) {
  const text = readFileSync('CHANGELOG.md', 'utf8');
  const notes = /^## Unreleased\n+((?:(?!## ).*\n?)*)/m.exec(text)?.[1]?.trim();
  if (!notes) refuse('CHANGELOG.md has nothing under "## Unreleased"');
  if (text.includes(`## ${version} `)) refuse(`CHANGELOG.md has ${version} already`);
  return text.replace('## Unreleased\n', `## Unreleased\n\n## ${version} (${new Date().toISOString().slice(0, 10)})\n`);
}

/** A model to fetch is one of the networks in models/, converted; it must be the file whose SHA-256 the package knows. */
function makeModel({ name, weights, sha256 }) {
  const file = join(out, `${name}.safetensors`);
  run('node', 'dist/cli/main.js', 'convert', join('models', name), '--weights', weights, '--out', file);
  const made = createHash('sha256').update(readFileSync(file)).digest('hex');
  if (made !== sha256) refuse(`${file} has the SHA-256 ${made}, not that of zoo/catalogue.json: evaluate it anew and write its row`);
}

function publish() {
  run('git', 'commit', '-am', `Version ${version}`);
  run('git', 'tag', `v${version}`);
  run('npm', 'publish', ...(values.provenance ? ['--provenance'] : []), '--access', 'public');
  console.log(`Now: git push --follow-tags, and add the other files of ${out}/ to the release v${version} on the project's page.`);
}

function refuse(why) {
  console.error(`No release: ${why}.`);
  process.exit(1);
}
