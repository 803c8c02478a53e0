#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../kernels/dispatch.h"
#include "buffer.h"
#include "plan.h"

namespace noisefloor {

/// The spikes of one layer for the images of a chunk.
struct SpikeStore {
  Buffer<uint8_t> words;     ///< [position][channelStride] words of 8, 16, 32 or 64 bits: bit t is step t
  Buffer<uint32_t> starts;   ///< [row][list][width + 1] into indices
  Buffer<uint32_t> indices;  ///< the spikes of a row of positions, list after list, as indexUnit * (x * channelStride + channel)
};

/// The kernels for words that hold `steps` bits.
struct WordKernels {
  uint32_t bytes;
  FireFn* fire;
  IndexFn* index;
  DiagonalFn* diagonal;
  MergeWordsFn* mergeWords;  ///< null where merging lists is faster
};

/// Of a word that holds `steps` bits.
inline uint32_t wordBytes(uint32_t steps) { return steps <= 8 ? 1 : steps <= 16 ? 2 : steps <= 32 ? 4 : 8; }

inline WordKernels wordKernels(const Kernels& k, Isa isa, uint32_t steps) {
  if (steps <= 8) return {1, k.fire_u8, k.index_u8, k.diagonal_u8, isa == Isa::avx512 ? k.mergeWords_u8 : nullptr};
  if (steps <= 16) return {2, k.fire_u16, k.index_u16, k.diagonal_u16, nullptr};
  if (steps <= 32) return {4, k.fire_u32, k.index_u32, k.diagonal_u32, nullptr};
  return {8, k.fire_u64, k.index_u64, k.diagonal_u64, nullptr};
}

inline StepLists stepLists(uint32_t steps) {
  StepLists lists = {};
  const auto bit = [](uint32_t step) { return uint64_t{1} << step; };
  const auto addPair = [&](uint32_t first, uint32_t second) {
    lists.pairs[lists.pairCount++] = {first, second, lists.listCount};
    const uint64_t mask = bit(first) | bit(second);
    lists.rules[lists.listCount++] = {mask, mask};
    if (first == second) return;
    lists.rules[lists.listCount++] = {mask, bit(first)};
    lists.rules[lists.listCount++] = {mask, bit(second)};
  };
  for (uint32_t t = 0; t < steps; t += 4) {
    const uint32_t left = steps - t;
    if (left == 2) {
      addPair(t, t + 1);
      continue;
    }
    addPair(t, left > 2 ? t + 2 : t);
    if (left > 2) addPair(t + 1, left > 3 ? t + 3 : t + 1);
  }
  return lists;
}

/// Some images on their way through the layers.
struct Chunk {
  const Plan* plan = nullptr;
  const Kernels* kernels = nullptr;
  WordKernels word{};
  uint32_t steps = 0;
  StepLists lists{};
  size_t images = 0;
  uint32_t frames = 1;             ///< inputs of an image, one after the other, each for steps / frames steps
  const int16_t* input = nullptr;  ///< [image][frame][y][x][channel]
  std::vector<SpikeStore>* stores = nullptr;

  const Layer& sourceOf(const Synapse& s) const { return plan->layers[static_cast<size_t>(s.source)]; }
  SpikeStore& storeOf(const Layer& layer) const { return (*stores)[layer.slot]; }
  size_t wordStride(const Layer& layer) const { return static_cast<size_t>(layer.channelStride()) * word.bytes; }
  /// Where the spikes of position (y, x) of a source begin in list 0; a list further is shape.width + 1 further.
  const uint32_t* startsOf(const Layer& source, size_t image, int32_t y, int32_t x) const {
    const size_t row = image * static_cast<size_t>(source.shape.height) + static_cast<size_t>(y);
    return storeOf(source).starts.data() + row * startsPerRow(source.shape, lists.listCount) + x;
  }

  /// Calls visit(step) for each step at which the neurons of a list spike, as far as the list says.
  template <typename Visit>
  void forEachStep(uint32_t list, const Visit& visit) const {
    for (uint32_t t = 0; t < steps; ++t) {
      if ((lists.rules[list].value >> t) & 1) visit(t);
    }
  }

  static size_t startsPerRow(const Shape& shape, uint32_t lists) {
    return static_cast<size_t>(lists) * (static_cast<size_t>(shape.width) + 1);
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
