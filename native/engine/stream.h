#pragma once
#include <cstdint>
#include <vector>

#include "membranes.h"

namespace noisefloor {

/// What a stream remembers between pushes. It belongs to the engine that it was first pushed to; one push at a time.
struct StreamState {
  Membranes membranes;        ///< of one image
  bool fresh = true;          ///< at the initial potentials: nothing is in `membranes`
  bool interrupted = false;   ///< a push ended in the middle: some layers are ahead of others
  uint64_t steps = 0;         ///< since it was at the initial potentials
  uint64_t stepsLeft = 0;     ///< that surely stay within int32
  uint64_t readOutSteps = 0;  ///< that the read-out has summed up

  /// Back to the initial potentials; the memory stays.
  void reset() {
    fresh = true;
    interrupted = false;
    steps = 0;
    stepsLeft = 0;
    readOutSteps = 0;
  }
};

/// Pushed to a stream: frames [count][C][H][W], normalised, each for some time steps.
struct Frames {
  const float* pixels = nullptr;
  size_t count = 0;
  int32_t steps = 1;  ///< of a frame, 1 to 64
};

struct PushResult {
  uint64_t stepsBefore;             ///< readOutSteps before the push
  uint64_t waits;                   ///< steps of the push before the read-out starts
  std::vector<int32_t> potentials;  ///< the read-out after each step, [count * steps][classes]
};

}  // namespace noisefloor
