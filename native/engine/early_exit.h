#pragma once
#include <cstdint>
#include <vector>

#include "membranes.h"

namespace noisefloor {

/// How sure a read-out is of its first class: by how much the largest logit exceeds the next one, or its softmax.
enum class Confidence { margin, softmax };

struct EarlyExitOptions {
  std::vector<int32_t> chunks;  ///< time steps, each 1 or more; after each chunk images may leave
  Confidence measure = Confidence::margin;
  double threshold = 0;  ///< an image leaves once its confidence is no smaller
  double unit = 1;       ///< a logit after T steps is potential * unit / T
};

struct EarlyExitResult {
  std::vector<int32_t> steps;       ///< [images]: time steps taken
  std::vector<int32_t> potentials;  ///< [images][classes]: the read-out after them
};

/// @param potentials of the read-out after `steps`, [classes]
double confidenceOf(const int32_t* potentials, size_t classes, int32_t steps, const EarlyExitOptions& options);

/// What early exit needs besides what every run needs. Grows, then stays.
struct EarlyExitScratch {
  std::vector<int32_t> potentials;  ///< [steps of a pass][images left][classes]
  std::vector<size_t> left;         ///< images that have not left, by their place in the batch
  std::vector<bool> leaves;
  struct Move {
    size_t from;
    size_t to;
  };
  std::vector<Move> moves;
};

}  // namespace noisefloor
