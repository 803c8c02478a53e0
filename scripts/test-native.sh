#!/bin/sh
# Builds and runs the native tests: plain, with AddressSanitizer and UndefinedBehaviorSanitizer, and, where it works,
# with ThreadSanitizer. Needs CMake and a C++17 compiler; neither Node nor a network.
# Usage: scripts/test-native.sh [plain] [address] [thread]    (default: all three)
set -eu
cd "$(dirname "$0")/.."

build() { # folder, sanitizers
  cmake -S . -B "$1" -DCMAKE_BUILD_TYPE=Release -DNOISEFLOOR_TESTS=ON -DNOISEFLOOR_SANITIZE="$2" >/dev/null
  cmake --build "$1" --parallel 2
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

[ $# -gt 0 ] || set -- plain address thread
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
    *)
      echo "Unknown kind \"$kind\". Should be one of: plain, address, thread." >&2
      exit 2
      ;;
  esac
done
echo "native tests passed"
