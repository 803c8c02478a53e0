#pragma once
#include <cstring>
#include <vector>

#include "plan.h"

namespace noisefloor {

/// The potentials of all neurons and of the read-out, and the spike counts of what max-pooling reads, of some images
/// between two passes: [image][y][x][channelStride] of each layer's stateShape. Layers without a
/// pass behind them are at their initial potentials.
class Membranes {
 public:
  /// Grows to at least `images`; the old contents are lost.
  void reserve(const Plan& plan, size_t images) {
    layers_.resize(plan.layers.size());
    for (size_t l = 0; l < layers_.size(); ++l) layers_[l].reserve(images * sizeOf(plan.layers[l]));
  }

  int32_t* of(size_t layer) { return layers_[layer].data(); }
  const int32_t* of(size_t layer) const { return layers_[layer].data(); }

  void copyImage(const Layer& layer, size_t index, size_t from, size_t to) {
    const size_t size = sizeOf(layer);
    std::memcpy(of(index) + to * size, of(index) + from * size, sizeof(int32_t) * size);
  }

  static size_t sizeOf(const Layer& layer) { return static_cast<size_t>(layer.stateShape.positions()) * layer.channelStride(); }

 private:
  std::vector<Buffer<int32_t>> layers_;
};

}  // namespace noisefloor
