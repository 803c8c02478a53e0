#pragma once
#include "description.h"

namespace noisefloor {

/// Words, and weight rows, of a position: its channels, rounded up to what the kernels take at a time.
inline uint32_t roundedChannels(int32_t channels) { return (static_cast<uint32_t>(channels) + 15) & ~15U; }

/// Which positions of its source an output position of a synapse sees.
struct Geometry {
  Shape source;
  Pair poolKernel;
  Pair poolStride;
  Pair stride;
  Pair kernel;  ///< 1x1 for an identity
  Padding padding;
  int32_t pooledHeight = 0;
  int32_t pooledWidth = 0;

  int32_t taps() const { return kernel.y * kernel.x; }
  int32_t poolSize() const { return poolKernel.y * poolKernel.x; }

  /// Calls visit(tap, window, y, x, count) for every run of source positions (y, x) to (y, x + count - 1) that output
  /// (oy, ox) sees through kernel taps `tap`, tap + 1 and so on, and element `window` of the pool's window. Runs are
  /// longer than 1 only without a pool. Padding is passed over.
  template <typename Visit>
  void forEachRun(int32_t oy, int32_t ox, const Visit& visit) const {
    const int32_t left = ox * stride.x - padding.left;
    const int32_t kxBegin = left < 0 ? -left : 0;
    const int32_t kxEnd = pooledWidth - left < kernel.x ? pooledWidth - left : kernel.x;
    for (int32_t ky = 0; ky < kernel.y; ++ky) {
      const int32_t y = oy * stride.y - padding.top + ky;
      if (y < 0 || y >= pooledHeight || kxBegin >= kxEnd) continue;
      if (!pools()) {
        visit(ky * kernel.x + kxBegin, 0, y, left + kxBegin, kxEnd - kxBegin);
        continue;
      }
      for (int32_t kx = kxBegin; kx < kxEnd; ++kx) {
        forEachInWindow(ky * kernel.x + kx, y * poolStride.y, (left + kx) * poolStride.x, visit);
      }
    }
  }

  /// Do outputs see one window of the source through one weight?
  bool pointwise() const { return taps() == 1 && padding.top + padding.left + padding.bottom + padding.right == 0; }
  /// Rows of the source that an output row sees: of a pool's window where one weight sees it, else of the kernel.
  int32_t mergedRows() const { return pools() ? poolKernel.y : kernel.y; }

  bool pools() const { return poolSize() != 1 || poolStride.y != 1 || poolStride.x != 1; }

  /// Place of a tap, numbered row by row, in the order of columns.
  int32_t columnOrder(int32_t tap) const { return tap % kernel.x * kernel.y + tap / kernel.x; }

  /// Kernel rows from `begin` to `end` that output row `oy` sees within the source.
  struct Range {
    int32_t begin;
    int32_t end;
  };
  Range kernelRows(int32_t oy) const { return clipped(oy * stride.y - padding.top, kernel.y, pooledHeight); }

 private:
  static Range clipped(int32_t first, int32_t size, int32_t extent) {
    const int32_t begin = first < 0 ? -first : 0;
    return {begin, extent - first < size ? extent - first : size};
  }

  template <typename Visit>
  void forEachInWindow(int32_t tap, int32_t y, int32_t x, const Visit& visit) const {
    int32_t window = 0;
    for (int32_t py = 0; py < poolKernel.y; ++py) {
      for (int32_t px = 0; px < poolKernel.x; ++px) visit(tap, window++, y + py, x + px, 1);
    }
  }
};

}  // namespace noisefloor
