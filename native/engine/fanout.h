#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "geometry.h"

namespace noisefloor {

/// How many synapses with a non-zero weight leave each input of a convolution or identity. Rows of the source that the
/// same kernel rows see form a class, and columns likewise: the border has its own, all the rest share a few.
class Fanout {
 public:
  Fanout() = default;
  /// `nonZero` [tap][channel]: non-zero weights of each input.
  Fanout(const Geometry& geometry, const Shape& target, const std::vector<uint32_t>& nonZero);

  /// Synapses of the channels at a position of the source.
  const uint32_t* at(size_t y, size_t x) const {
    return table_.data() + (rowClass_[y] * columnClasses_ + columnClass_[x]) * channels_;
  }

 private:
  size_t channels_ = 0;
  size_t columnClasses_ = 0;
  std::vector<size_t> rowClass_;
  std::vector<size_t> columnClass_;
  std::vector<uint32_t> table_;  ///< [row class][column class][channel]
};

}  // namespace noisefloor
