#!/usr/bin/env bash
# Packs the package, installs the tarball in an empty folder and uses it there: library, types and command line.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
npm pack --silent --pack-destination "$work" >/dev/null
model=$root/quickstart/mnist-small.safetensors
[ -f "$model" ] || { echo "$model is missing: run the quickstart first" >&2; exit 1; }

mkdir "$work/app"; cd "$work/app"
npm init -y >/dev/null
npm pkg set type=module >/dev/null
npm install --silent --no-audit --no-fund "$work"/noisefloor-*.tgz
echo "tarball $(du -h "$work"/noisefloor-*.tgz | cut -f1), unpacked $(du -sh node_modules/noisefloor | cut -f1)"

cat > use.mjs <<'JS'
import { SpikingSession } from 'noisefloor';
const session = await SpikingSession.create(process.argv[2]);
const { shape } = session.model.input;
const result = await session.run(new Float32Array(shape.reduce((a, b) => a * b)), { timeSteps: 4 });
if (result.potentials.length !== 4 * result.classes) throw new Error('unexpected result');
console.log(`library: ${session.isa}, ${result.classes} classes`);
await session.dispose();
JS
node use.mjs "$model"

cat > use.ts <<'TS'
import { SpikingSession, train, convert, evaluate, NoisefloorError } from 'noisefloor';
const session: SpikingSession = await SpikingSession.create('model.safetensors', { threads: 2 });
const result = await session.run(new Float32Array(784), { timeSteps: 4 });
const potentials: Int32Array = result.potentials;
export { train, convert, evaluate, NoisefloorError, potentials };
TS
"$root/node_modules/.bin/tsc" --noEmit --strict --target es2022 --lib es2023,esnext.disposable --module nodenext --moduleResolution nodenext --typeRoots "$root/node_modules/@types" --types node use.ts
echo "types: ok"

npx noisefloor --version
npx noisefloor inspect "$model" --json | node -e 'JSON.parse(require("fs").readFileSync(0, "utf8"))'
if npx noisefloor inspect missing.safetensors 2>error.txt; then echo "a missing file was accepted" >&2; exit 1; fi
grep -q '^error: ' error.txt
echo "command line: ok"
