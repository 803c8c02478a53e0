#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../kernels/kernels.h"
#include "buffer.h"
#include "plan.h"

namespace noisefloor {

/// The spikes of one layer for the images of a chunk.
struct SpikeStore {
  Buffer<uint8_t> words;     ///< [position][channelStride] words of 8, 16, 32 or 64 bits: bit t is step t
  Buffer<uint32_t> starts;   ///< [row][steps][width + 1] into indices
  Buffer<uint32_t> indices;  ///< the spikes of a row of positions, step after step, as indexUnit * (x * channelStride + channel)
};

/// The kernels for words that hold `steps` bits.
struct WordKernels {
  uint32_t bytes;
  FireFn* fire;
  IndexFn* index;
  IdentityFn* identity;
};

inline WordKernels wordKernels(const Kernels& k, uint32_t steps) {
  if (steps <= 8) return {1, k.fire_u8, k.index_u8, k.identity_u8};
  if (steps <= 16) return {2, k.fire_u16, k.index_u16, k.identity_u16};
  if (steps <= 32) return {4, k.fire_u32, k.index_u32, k.identity_u32};
  return {8, k.fire_u64, k.index_u64, k.identity_u64};
}

/// Some images on their way through the layers.
struct Chunk {
  const Plan* plan = nullptr;
  const Kernels* kernels = nullptr;
  WordKernels word{};
  uint32_t steps = 0;
  size_t images = 0;
  const int16_t* input = nullptr;  ///< [image][y][x][channel]
  std::vector<SpikeStore>* stores = nullptr;

  const Layer& sourceOf(const Synapse& s) const { return plan->layers[static_cast<size_t>(s.source)]; }
  SpikeStore& storeOf(const Layer& layer) const { return (*stores)[layer.slot]; }
  size_t wordStride(const Layer& layer) const { return static_cast<size_t>(layer.channelStride()) * word.bytes; }
  /// Where the spikes of position (y, x) of a source begin at step 0; a step further is shape.width + 1 further.
  const uint32_t* startsOf(const Layer& source, size_t image, int32_t y, int32_t x) const {
    const size_t row = image * static_cast<size_t>(source.shape.height) + static_cast<size_t>(y);
    return storeOf(source).starts.data() + row * startsPerRow(source.shape, steps) + x;
  }

  static size_t startsPerRow(const Shape& shape, uint32_t steps) {
    return static_cast<size_t>(steps) * (static_cast<size_t>(shape.width) + 1);
  }
};

/// An output position of a layer: which image, where.
struct Position {
  size_t image;
  int32_t y;
  int32_t x;

  Position(size_t index, const Shape& shape)
      : image(index / static_cast<size_t>(shape.positions())),
        y(static_cast<int32_t>(index % static_cast<size_t>(shape.positions())) / shape.width),
        x(static_cast<int32_t>(index % static_cast<size_t>(shape.positions())) % shape.width) {}

  /// Index, over the chunk, of a position of a source in the same image.
  size_t in(const Shape& source, int32_t sourceY, int32_t sourceX) const {
    return image * static_cast<size_t>(source.positions()) + static_cast<size_t>(sourceY * source.width + sourceX);
  }

  void advance(const Shape& shape) {
    if (++x < shape.width) return;
    x = 0;
    if (++y < shape.height) return;
    y = 0;
    ++image;
  }
};

}  // namespace noisefloor
