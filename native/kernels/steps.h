#pragma once
#include <stdint.h>

namespace noisefloor {

constexpr uint32_t mostSteps = 64;

/// One list of the spikes of a position: the neurons with (word & mask) == value.
struct ListRule {
  uint64_t mask;
  uint64_t value;
};

/// One or two steps. Two share a list: a neuron that spikes in both is listed, and its weights are added, once.
struct StepPair {
  uint32_t first;
  uint32_t second;  ///< equal to `first` for a single step
  uint32_t list;    ///< of two steps: in both; then, in the first only; then, in the second only

  bool single() const { return first == second; }
};

/// The lists that T steps need. A neuron of regular spikes repeats after two steps more often than after one, so steps
/// t and t + 2 are a pair.
struct StepLists {
  StepPair pairs[mostSteps];
  uint32_t pairCount;
  ListRule rules[mostSteps / 2 * 3];
  uint32_t listCount;
};

}  // namespace noisefloor
