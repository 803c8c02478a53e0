#!/bin/sh
# Fuzzes the engine: arbitrary model descriptions are refused or run, without an error of memory or undefined behaviour, and
# with the numbers of the simulator. Needs Clang with libFuzzer, and CMake. What is found is kept in build-fuzz/corpus for the
# next time; a failing input is left in build-fuzz, and runs again with: build-fuzz/fuzz_engine FILE
# Usage: scripts/fuzz.sh [seconds]    (default: 60)
set -eu
cd "$(dirname "$0")/.."

seconds=${1:-60}
case $seconds in
  '' | *[!0-9]*)
    echo "Expected a whole number of seconds, not \"$seconds\"." >&2
    exit 2
    ;;
esac
compiler=${CXX:-clang++}
if ! command -v "$compiler" >/dev/null || ! "$compiler" --version | grep -q clang; then
  echo "skip: fuzzing needs Clang with libFuzzer (Debian: apt-get install clang), which is not here"
  exit 0
fi

cmake -S . -B build-fuzz -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release -DNOISEFLOOR_FUZZ=ON \
  -DNOISEFLOOR_SANITIZE=address,undefined >/dev/null
cmake --build build-fuzz --parallel 2 --target fuzz_engine
mkdir -p build-fuzz/corpus
build-fuzz/fuzz_engine -max_total_time="$seconds" -max_len=512 -len_control=0 -timeout=60 -rss_limit_mb=2048 \
  -print_final_stats=1 -artifact_prefix=build-fuzz/ build-fuzz/corpus
echo "fuzzed for $seconds seconds: nothing found"
