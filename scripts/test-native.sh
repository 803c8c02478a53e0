#!/bin/sh
# Builds and runs the native tests: plain, with AddressSanitizer and UndefinedBehaviorSanitizer, and, where they work,
# with ThreadSanitizer and for arm64 under emulation. Needs CMake and a C++17 compiler; neither Node nor a network. arm64
# needs a cross compiler and QEMU too (Debian: g++-aarch64-linux-gnu, qemu-user).
# Usage: scripts/test-native.sh [plain] [address] [thread] [arm64]    (default: all four)
set -eu
cd "$(dirname "$0")/.."

build() { # folder, sanitizers, options...
  folder=$1
  sanitizers=$2
  shift 2
  cmake -S . -B "$folder" -DCMAKE_BUILD_TYPE=Release -DNOISEFLOOR_TESTS=ON -DNOISEFLOOR_SANITIZE="$sanitizers" "$@" >/dev/null
  cmake --build "$folder" --parallel 2
}

run() { # folder, test...
  folder=$1
  shift
  for name in "$@"; do
    echo "== $folder/test_$name"
    "$folder/test_$name"
  done
}

# A wide-instruction object with a weak or unique symbol could give the whole addon its copy of a shared inline
# function, and the addon would die on an older processor.
check_symbols() { # folder
  objects=$(find "$1" -name '*_avx*.o')
  [ -n "$objects" ] || { echo "no AVX objects on this platform: symbols not checked"; return; }
  # shellcheck disable=SC2086
  if nm --defined-only $objects | grep -E ' [WVu] '; then
    echo "the AVX objects define the weak or unique symbols above" >&2
    exit 1
  fi
  # shellcheck disable=SC2086
  echo "$(echo $objects | wc -w) AVX objects define no weak or unique symbol"
}

thread_sanitizer_works() {
  probe=$(mktemp -d)
  trap 'rm -rf "$probe"' EXIT
  echo 'int main() { return 0; }' >"$probe/probe.cc"
  "${CXX:-c++}" -fsanitize=thread "$probe/probe.cc" -o "$probe/probe" 2>/dev/null && "$probe/probe" 2>/dev/null
}

missing_for_arm64() {
  for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
    command -v "$tool" >/dev/null || { echo "$tool"; return; }
  done
}

[ $# -gt 0 ] || set -- plain address thread arm64
for kind in "$@"; do
  case $kind in
    plain)
      build build-native ""
      check_symbols build-native
      run build-native kernels validate pool engine stream allocations
      ;;
    address)
      build build-native-address address,undefined
      run build-native-address kernels validate pool engine stream
      ;;
    thread)
      if thread_sanitizer_works; then
        build build-native-thread thread
        run build-native-thread pool engine stream
      else
        echo "skip: ThreadSanitizer does not run here"
      fi
      ;;
    arm64)
      missing=$(missing_for_arm64)
      if [ -n "$missing" ]; then
        echo "skip: no $missing to test arm64 under emulation"
      else
        build build-native-arm64 "" -DCMAKE_TOOLCHAIN_FILE=scripts/arm64-linux.cmake
        (cd build-native-arm64 && ctest --verbose)
      fi
      ;;
    *)
      echo "Unknown kind \"$kind\". Should be one of: plain, address, thread, arm64." >&2
      exit 2
      ;;
  esac
done
echo "native tests passed"
