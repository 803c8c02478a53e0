#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "chunk.h"

namespace noisefloor {

// Max-pooling of spike trains: after each step, the number of spikes that an output has given so far is the largest of
// those of its window. Each grows by at most one a step, so an output spikes at most once a step.

/// What a worker needs for the windows of a layer.
struct WindowScratch {
  std::vector<const uint8_t*> words;   ///< [inputs]: of a block's channels
  std::vector<const int32_t*> before;  ///< [inputs]
  Buffer<uint8_t> counts;              ///< [input][lane]
  Buffer<uint8_t> active;              ///< [active input][lane]: the spikes of 8 steps
  std::vector<uint32_t> activeInputs;

  void reserve(const Layer& layer);
};

/// The words of output position `index` for a block of channels.
/// @param before spikes of each source neuron before this pass, [image][y][x][channelStride]; null: none
void poolSpikes(const Chunk& chunk, const Layer& layer, size_t index, const Position& at, uint32_t block, const int32_t* before,
                WindowScratch& scratch);

/// Adds the spikes that one row of the source gave in this pass, row by row over the images; `after` may be `before`.
void countSourceSpikes(const Chunk& chunk, const Layer& layer, size_t row, const int32_t* before, int32_t* after);

}  // namespace noisefloor
