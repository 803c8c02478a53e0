// Prebuilt addons, in prebuilds/<platform>/, where the loader of an installed package looks:
//   node scripts/prebuild.mjs linux-x64 linux-x64-musl linux-arm64   cross compiled, on Linux, by Zig's Clang
//   node scripts/prebuild.mjs local                                  the addon built here (npm run build:native)
//   node scripts/prebuild.mjs missing                                local, where there is none or an older one: npm pack
//   node scripts/prebuild.mjs check [platform...]                    that they are there, whole and newer than the sources
// Zig: pip install ziglang==0.17.1; the variable ZIG names another ("zig", "/opt/venv/bin/python -m ziglang").
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runsOnMusl } from '../dist/native.js';

/** glibc 2.28 is what onnxruntime-node and sharp need too. */
const floor = '2.28';
const targets = {
  'linux-x64': { triple: `x86_64-linux-gnu.${floor}`, processor: 'x86_64' },
  'linux-x64-musl': { triple: 'x86_64-linux-musl', processor: 'x86_64' },
  'linux-arm64': { triple: `aarch64-linux-gnu.${floor}`, processor: 'aarch64' },
};
/** Built by .github/workflows/prebuild.yml on machines of their own. */
const elsewhere = { 'darwin-arm64': 'cffaedfe', 'win32-x64': '4d5a' }; // how such a binary begins
const promised = [...Object.keys(targets), ...Object.keys(elsewhere)];

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);
const [what, ...more] = process.argv.slice(2);
if (what === 'local') copyLocal();
else if (what === 'missing') copyWhereMissing();
else if (what === 'check') check(more.length > 0 ? more : promised);
else if (what in targets) [what, ...more].forEach(cross);
else throw new Error(`usage: node scripts/prebuild.mjs local | missing | check [platform...] | ${Object.keys(targets).join(' | ')}`);

function fileOf(platform) {
  return join('prebuilds', platform, 'noisefloor.node');
}

function here() {
  return `${process.platform}-${process.arch}${process.platform === 'linux' && runsOnMusl() ? '-musl' : ''}`;
}

function copyLocal() {
  const built = join('build', 'Release', 'noisefloor.node');
  if (!existsSync(built)) throw new Error(`${built} is missing: run "npm run build:native" first.`);
  put(built, here());
}

/** A package packed in a clone has at least the addon of this machine, made from the sources it holds. */
function copyWhereMissing() {
  if (!existsSync(fileOf(here())) || statSync(fileOf(here())).mtimeMs < newestSource()) copyLocal();
}

function put(built, platform) {
  mkdirSync(join('prebuilds', platform), { recursive: true });
  copyFileSync(built, fileOf(platform));
  console.error(`${fileOf(platform)}: ${statSync(built).size} bytes`);
}

function cross(platform) {
  const target = targets[platform];
  if (!target) throw new Error(`Unknown platform "${platform}". Should be one of: ${Object.keys(targets).join(', ')}.`);
  const folder = join('build-prebuild', platform);
  mkdirSync(folder, { recursive: true });
  const cmake = (...args) => execFileSync('cmake', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const tool = (name, command) => {
    const path = resolve(folder, name);
    writeFileSync(path, `#!/bin/sh\nexec ${process.env.ZIG ?? 'python3 -m ziglang'} ${command} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  };
  // Only the two symbols that Node asks for leave the addon: neither its operator new nor its unwinder may become another's.
  const exported = resolve(folder, 'exported.map');
  writeFileSync(exported, '{ global: napi_register_module_v1; node_api_module_get_api_version_v1; local: *; };\n');
  const headers = ['node-api-headers/include', 'node-addon-api'].map((name) => join(root, 'node_modules', name));
  cmake('-S', '.', '-B', folder, '-DCMAKE_BUILD_TYPE=Release', '-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${target.processor}`,
    `-DCMAKE_CXX_COMPILER=${tool('c++', `c++ -target ${target.triple}`)}`, `-DCMAKE_AR=${tool('ar', 'ar')}`, `-DCMAKE_RANLIB=${tool('ranlib', 'ranlib')}`,
    `-DCMAKE_JS_INC=${headers.join(';')}`, `-DCMAKE_MODULE_LINKER_FLAGS=-s -Wl,--version-script=${exported}`);
  cmake('--build', folder, '--parallel', '2');
  if (target.processor === 'x86_64') checkInstructions(folder);
  put(join(folder, 'noisefloor.node'), platform);
}

/**
 * Wide instructions stay in the files of their kernels, which define nothing that another file may define too: the linker
 * would keep one copy for all, and the addon would die on an older processor.
 */
function checkInstructions(folder) {
  const objects = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.o')).map((name) => join(folder, name));
  const read = (command, ...args) => execFileSync(command, args, { encoding: 'utf8', maxBuffer: 1e9 });
  const wide = objects.filter((name) => /_avx\w*\.cc/.test(name));
  if (wide.length === 0 || wide.length === objects.length) throw new Error(`no AVX objects beside others in ${folder}`);
  const shared = read('nm', '--defined-only', ...wide).split('\n').filter((line) => / [WVu] /.test(line));
  if (shared.length > 0) throw new Error(`the AVX objects define weak or unique symbols:\n${shared.join('\n')}`);
  for (const name of objects.filter((name) => !wide.includes(name))) {
    if (/%[yz]mm\d|\tv\w+ .*%xmm/.test(read('objdump', '-d', '--no-show-raw-insn', name))) throw new Error(`${name} has AVX instructions`);
  }
  console.error(`${wide.length} AVX objects define no weak or unique symbol; the ${objects.length - wide.length} others have no AVX instruction`);
}

function check(platforms) {
  const wrong = platforms.flatMap((platform) => faults(platform).map((fault) => `  ${fileOf(platform)}: ${fault}`));
  if (wrong.length === 0) return;
  console.error(`Prebuilt addons that may not be published:\n${wrong.join('\n')}`);
  process.exitCode = 1;
}

function faults(platform) {
  const path = fileOf(platform);
  if (!promised.includes(platform)) return [`Unknown platform. Should be one of: ${promised.join(', ')}.`];
  if (!existsSync(path)) return ['missing'];
  const old = statSync(path).mtimeMs < newestSource() ? ['older than its sources'] : [];
  if (platform in targets) return [...old, ...elfFaults(platform, path)];
  return readFileSync(path).toString('hex').startsWith(elsewhere[platform]) ? old : [...old, `not a binary of ${platform}`];
}

/** Which processor, what of glibc it needs, what it exports, whether debug symbols are gone. */
function elfFaults(platform, path) {
  const read = (...args) => execFileSync('readelf', [...args, path], { encoding: 'utf8' });
  const faults = [];
  const machine = platform.includes('arm64') ? 'AArch64' : 'Advanced Micro Devices X86-64';
  if (!read('-h').includes(machine)) faults.push(`not for ${machine}`);
  if (read('-S').includes('.debug_info')) faults.push('not stripped');
  const symbols = read('--dyn-syms', '-W');
  const versions = [...symbols.matchAll(/@GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => [Number(major), Number(minor)]);
  const [major, minor] = versions.sort((a, b) => a[0] - b[0] || a[1] - b[1]).at(-1) ?? [0, 0];
  console.log(`${platform}: ${statSync(path).size} bytes, ${versions.length === 0 ? 'no glibc' : `glibc >= ${major}.${minor}`}`);
  if (platform.endsWith('-musl') !== (versions.length === 0)) faults.push('made for the other C library');
  if (major > 2 || minor > Number(floor.split('.')[1])) faults.push(`needs glibc ${major}.${minor}, more than ${floor}`);
  if (/ libstdc\+\+| libgcc_s/.test(read('-d'))) faults.push('needs a C++ library of the system');
  const exported = [...symbols.matchAll(/ (?:GLOBAL|WEAK) +DEFAULT +\d+ (\S+)/g)].map(([, name]) => name);
  const strange = exported.filter((name) => !/^(napi_register_module_v1|node_api_module_get_api_version_v1)$/.test(name));
  if (strange.length > 0 || exported.length === 0) faults.push(`exports ${strange.slice(0, 3).join(', ') || 'nothing'}`);
  return faults;
}

function newestSource() {
  const files = readdirSync('native', { recursive: true }).map((name) => join('native', name));
  return Math.max(...[...files.filter((name) => /\.(cc|h|inc)$/.test(name)), 'CMakeLists.txt'].map((name) => statSync(name).mtimeMs));
}
