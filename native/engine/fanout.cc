#include "fanout.h"

#include <algorithm>
#include <map>

namespace noisefloor {
namespace {

/// One direction of a geometry.
struct Axis {
  int32_t source;
  int32_t pooled;
  int32_t target;
  int32_t poolKernel;
  int32_t poolStride;
  int32_t kernel;
  int32_t stride;
  int32_t padding;
};

using Taps = std::vector<int32_t>;

/// Taps through which outputs see each coordinate of the source, once for every output and pooling window.
std::vector<Taps> tapsOf(const Axis& a) {
  std::vector<Taps> taps(static_cast<size_t>(a.source));
  for (int32_t out = 0; out < a.target; ++out) {
    for (int32_t k = 0; k < a.kernel; ++k) {
      const int32_t pooled = out * a.stride - a.padding + k;
      if (pooled < 0 || pooled >= a.pooled) continue;
      for (int32_t p = 0; p < a.poolKernel; ++p) taps[static_cast<size_t>(pooled * a.poolStride + p)].push_back(k);
    }
  }
  for (Taps& t : taps) std::sort(t.begin(), t.end());
  return taps;
}

/// Numbers the distinct sets; `classOf` gets the number of each coordinate's.
std::vector<Taps> distinct(const std::vector<Taps>& taps, std::vector<size_t>& classOf) {
  std::vector<Taps> classes;
  std::map<Taps, size_t> numbers;
  for (const Taps& t : taps) {
    const auto [entry, added] = numbers.emplace(t, classes.size());
    classOf.push_back(entry->second);
    if (added) classes.push_back(t);
  }
  return classes;
}

}  // namespace

Fanout::Fanout(const Geometry& g, const Shape& target, const std::vector<uint32_t>& nonZero)
    : channels_(static_cast<size_t>(g.source.channels)) {
  const auto rows = distinct(tapsOf({g.source.height, g.pooledHeight, target.height, g.poolKernel.y, g.poolStride.y,
                                     g.kernel.y, g.stride.y, g.padding.top}),
                             rowClass_);
  const auto columns = distinct(tapsOf({g.source.width, g.pooledWidth, target.width, g.poolKernel.x, g.poolStride.x,
                                        g.kernel.x, g.stride.x, g.padding.left}),
                                columnClass_);
  columnClasses_ = columns.size();
  table_.assign(rows.size() * columns.size() * channels_, 0);
  uint32_t* sums = table_.data();
  for (const Taps& row : rows) {
    for (const Taps& column : columns) {
      for (const int32_t ky : row) {
        for (const int32_t kx : column) {
          const uint32_t* counts = nonZero.data() + static_cast<size_t>(ky * g.kernel.x + kx) * channels_;
          for (size_t c = 0; c < channels_; ++c) sums[c] += counts[c];
        }
      }
      sums += channels_;
    }
  }
}

}  // namespace noisefloor
