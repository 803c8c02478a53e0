#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "engine.h"
#include "error.h"

namespace noisefloor {

/// Some images through all layers, for some steps.
struct Pass {
  size_t images;
  uint32_t steps;
  const std::atomic<bool>& cancelled;
  uint32_t frames = 1;             ///< of an image, see Chunk
  const int16_t* input = nullptr;  ///< [image][frame][y][x][channel]

  int32_t* potentials = nullptr;   ///< of the first image at step 0, [steps][totalImages][classes]
  size_t totalImages = 1;

  const Membranes* before = nullptr;  ///< null: starts at the initial potentials
  Membranes* after = nullptr;         ///< null: keeps none

  // Statistics, counts and times of a run.
  RunResult* result = nullptr;
  RunOptions options{};
  size_t firstImage = 0;
  uint32_t firstStep = 0;

  void throwIfCancelled() const {
    if (cancelled) throw EngineError(ErrorCode::aborted, "The run was aborted.");
  }
};

/// Throws INVALID_ARGUMENT unless there are 1 to `most` steps.
inline void checkTimeSteps(int32_t steps, int32_t most = maxTimeSteps) {
  if (steps >= 1 && steps <= most) return;
  throw EngineError(ErrorCode::invalidArgument, "Expected 1 to " + std::to_string(most) +
                                                    " for timeSteps but received " + std::to_string(steps));
}

}  // namespace noisefloor
