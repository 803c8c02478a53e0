#pragma once
#include <cstdint>
#include <vector>

#include "description.h"

namespace noisefloor {

/// What a step can add to the potential of a channel at most, whatever spikes; low <= 0 <= high. See docs/format.md.
struct CurrentRange {
  int64_t low = 0;
  int64_t high = 0;
};

/// One for each channel of a layer.
std::vector<CurrentRange> currentRanges(const LayerDescription& layer);

/// Steps that a neuron can take from a potential between `least` and `most` without leaving int32.
uint64_t stepsWithinInt32(const CurrentRange& range, int32_t threshold, int32_t least, int32_t most);

}  // namespace noisefloor
