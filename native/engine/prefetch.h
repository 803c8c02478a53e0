#pragma once

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace noisefloor {

/// Asks for a cache line in the second level.
inline void prefetch(const void* line) {
#if !defined(_MSC_VER) || defined(__clang__)
  __builtin_prefetch(line, 0, 2);
#elif defined(_M_X64)
  _mm_prefetch(static_cast<const char*>(line), _MM_HINT_T1);
#else
  static_cast<void>(line);
#endif
}

}  // namespace noisefloor
