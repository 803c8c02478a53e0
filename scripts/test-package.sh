#!/usr/bin/env bash
# Packs the package, installs the tarball in empty folders, with a PATH of node and npm alone, and uses it there: without the
# optional dependencies (library from ESM, CommonJS and TypeScript, command line), then pictures with sharp and the server.
# NODES: more node binaries to use it with, such as "/opt/node22/bin/node /opt/node24/bin/node".
# NODE_COMMAND: what starts the Node to install and use it with instead, such as "qemu-aarch64 -L /usr/aarch64-linux-gnu /opt/arm64/bin/node".
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
full=$PATH
work=$(mktemp -d); trap 'PATH=$full; rm -rf "$work"' EXIT
if [ -z "${NODE_COMMAND:-}" ]; then
  npx publint --strict
  npx attw --pack . --profile node16 --ignore-rules cjs-resolves-to-esm # Node >= 20.19 and >= 22.12 can require it
fi
npm pack --silent --pack-destination "$work" >/dev/null
model=$root/quickstart/mnist-small.safetensors
[ -f "$model" ] || model=$root/zoo/mnist.safetensors
tarball=$(echo "$work"/noisefloor-*.tgz)

# Neither a compiler nor CMake nor Python: npm needs a shell, and node is started by env.
mkdir "$work/bin"
for tool in node npm npx sh env; do ln -s "$(readlink -f "$(command -v $tool)")" "$work/bin/$tool"; done
if [ -n "${NODE_COMMAND:-}" ]; then
  rm "$work/bin/node"
  printf '#!%s\nexec %s "$@"\n' "$work/bin/sh" "$NODE_COMMAND" >"$work/bin/node"
  chmod +x "$work/bin/node"
fi
export PATH=$work/bin

cd "$work" && PATH=$full mkdir app && cd app
npm init -y >/dev/null
npm pkg set type=module >/dev/null
npm install --silent --no-audit --no-fund --omit=optional "$tarball"
[ ! -e node_modules/onnxruntime-node ] && [ ! -e node_modules/sharp ] && [ ! -e node_modules/cmake-js ]
kilobytes() { echo $(($(PATH=$full du -sb "$1" | PATH=$full cut -f1) / 1000)); }
unpacked=$(kilobytes node_modules/noisefloor)
echo "tarball $(kilobytes "$tarball") kB, unpacked $unpacked kB, with its dependencies $(kilobytes node_modules) kB; addons: $(echo node_modules/noisefloor/prebuilds/*)"
[ "$unpacked" -lt 15000 ] || { echo "the package is larger than 15 MB" >&2; exit 1; }

PATH=$full cat > use.mjs <<'JS'
import { DenseSession, SpikingSession } from 'noisefloor';
const session = await SpikingSession.create(process.argv[2]);
const { shape } = session.model.input;
const result = await session.run(new Float32Array(shape.reduce((a, b) => a * b)), { timeSteps: 4 });
if (result.potentials.length !== 4 * result.classes) throw new Error('unexpected result');
console.log(`ESM, Node ${process.version}, ${process.platform}-${process.arch}: ${session.isa}, ${result.classes} classes`);
await session.dispose();
const refused = await DenseSession.create(new Uint8Array(1)).then(() => 'accepted', ({ code, message }) => `${code} ${message}`);
if (!/^MISSING_DEPENDENCY .*npm install onnxruntime-node/.test(refused)) throw new Error(`without onnxruntime-node: ${refused}`);
JS
PATH=$full cat > use.cjs <<'JS'
const { SpikingSession } = require('noisefloor');
SpikingSession.create(process.argv[2]).then(async (session) => {
  const { shape } = session.model.input;
  session.runSync(new Float32Array(shape.reduce((a, b) => a * b)), { timeSteps: 4 });
  console.log(`CommonJS, Node ${process.version}: ok`);
  await session.dispose();
});
JS
for node in node ${NODES:-}; do
  $node use.mjs "$model"
  $node --no-warnings use.cjs "$model"
  $node node_modules/noisefloor/dist/cli/main.js inspect mnist --json >/dev/null
done

PATH=$full cat > use.ts <<'TS'
import { SpikingSession, train, convert, evaluate, serve, zooModelPath, NoisefloorError, type RunningServer } from 'noisefloor';
const session: SpikingSession = await SpikingSession.create(await zooModelPath('mnist'), { threads: 2 });
const result = await session.run(new Float32Array(784), { timeSteps: 4 });
const potentials: Int32Array = result.potentials;
if (potentials.length !== 40) throw new Error('unexpected result');
await session.dispose();
export const end = (server: RunningServer): Promise<void> => server.drain();
export { train, convert, evaluate, serve, NoisefloorError, potentials };
TS
node "$root/node_modules/typescript/bin/tsc" --strict --skipLibCheck false --target es2022 --module nodenext --typeRoots "$root/node_modules/@types" --types node use.ts
node use.js
echo "TypeScript: ok"

npx noisefloor --version
npx noisefloor models --json >models.json
npx noisefloor inspect "$model" --json >inspected.json
node -e 'for (const name of ["models", "inspected"]) JSON.parse(require("fs").readFileSync(`${name}.json`, "utf8"))'
# Ten digits as an IDX data set: of inference nothing needs an optional dependency.
node - <<'JS'
const { mkdirSync, writeFileSync } = require('node:fs');
mkdirSync('digits');
const header = (...numbers) => Buffer.from(Uint32Array.from(numbers).buffer).swap32();
for (const name of ['train', 't10k']) {
  writeFileSync(`digits/${name}-images-idx3-ubyte`, Buffer.concat([header(0x803, 10, 28, 28), Buffer.alloc(7840, 60)]));
  writeFileSync(`digits/${name}-labels-idx1-ubyte`, Buffer.concat([header(0x801, 10), Buffer.from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])]));
}
JS
npx noisefloor eval mnist --data mnist:digits --time-steps 1,4 --json >evaluated.json
node -e 'if (JSON.parse(require("fs").readFileSync("evaluated.json", "utf8")).images !== 10) throw new Error("not ten images")'
must_fail() { # expected on stderr, arguments of noisefloor
  local wanted=$1; shift
  if npx noisefloor "$@" 2>error.txt; then echo "accepted: $*" >&2; exit 1; fi
  PATH=$full grep -q "$wanted" error.txt || { PATH=$full cat error.txt; exit 1; }
}
must_fail '^error: No spiking model' inspect missing.safetensors
echo x >picture.png
must_fail 'npm install sharp' predict --model cifar10-resnet20 picture.png
echo "without optional dependencies: ok"

PATH=$full mkdir "$work/pictures"; cd "$work/pictures"
npm init -y >/dev/null
ONNXRUNTIME_NODE_INSTALL=skip npm install --silent --no-audit --no-fund "$tarball"
echo "with the optional dependencies $(kilobytes node_modules) kB"
node -e 'require("sharp")({ create: { width: 40, height: 32, channels: 3, background: "#a02020" } }).png().toFile("red.png")'
npx noisefloor predict --model cifar10-resnet20 red.png
# npm leaves an optional dependency out where one of its own asks for a newer Node.
node - <<'JS'
const { spawn } = require('node:child_process');
const child = spawn('node', ['node_modules/noisefloor/dist/cli/main.js', 'serve', 'mnist', '--port', '0', '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
let text = '';
child.stdout.on('data', async (data) => {
  text += data;
  if (!text.endsWith('}\n')) return;
  const { status } = await fetch(`${JSON.parse(text).url}/v2/models/mnist/ready`);
  console.log(`server, Node ${process.version}: ${status}`);
  child.once('exit', (code) => process.exit(status === 200 ? code : 1));
  child.kill('SIGTERM');
});
child.once('exit', (code) => process.exit(code || (text === '' ? 1 : 0)));
JS
echo "package: ok"
