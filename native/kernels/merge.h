#pragma once
#include <stdint.h>

#include "spikes.h"

namespace noisefloor {
namespace {

/// The walk that every merge (MergeFn) takes. `copy(list, count, offset, out)` writes the `count` entries of `list`, each plus
/// `offset`, and may write more behind them. In an unnamed namespace: each instruction set has a walk of its own.
template <typename Copy>
inline void mergeLists(const uint32_t* indices, const ListedRow* rows, uint32_t rowCount, uint32_t positions,
                       uint32_t listCount, uint32_t advance, uint32_t* merged, uint32_t* starts, const Copy& copy) {
  uint32_t* out = merged + starts[0];
  const uint64_t listStride = static_cast<uint64_t>(positions) + 1;
  for (uint32_t l = 0; l < listCount; ++l) {
    uint32_t shift = 0;
    for (uint32_t x = 0; x < positions; ++x, shift += advance) {
      *starts++ = static_cast<uint32_t>(out - merged);
      for (uint32_t r = 0; r < rowCount; ++r) {
        const uint32_t* bounds = rows[r].starts + l * listStride + x;
        const uint32_t count = bounds[1] - bounds[0];
        copy(indices + bounds[0], count, shift + rows[r].offset, out);
        out += count;
      }
    }
    *starts++ = static_cast<uint32_t>(out - merged);
  }
}

}  // namespace
}  // namespace noisefloor
