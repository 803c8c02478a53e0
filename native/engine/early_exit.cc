#include "early_exit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine.h"
#include "pass.h"

namespace noisefloor {
namespace {

/// By how much the largest potential exceeds the next one; infinite for a single class.
double marginOf(const int32_t* potentials, size_t classes) {
  if (classes == 1) return std::numeric_limits<double>::infinity();
  int32_t first = std::max(potentials[0], potentials[1]);
  int32_t second = std::min(potentials[0], potentials[1]);
  for (size_t k = 2; k < classes; ++k) {
    second = std::max(second, std::min(first, potentials[k]));
    first = std::max(first, potentials[k]);
  }
  return static_cast<double>(first) - static_cast<double>(second);
}

}  // namespace

double confidenceOf(const int32_t* potentials, size_t classes, int32_t steps, const EarlyExitOptions& options) {
  if (options.measure == Confidence::margin) return marginOf(potentials, classes) * options.unit / steps;
  const double first = *std::max_element(potentials, potentials + classes);
  double sum = 0;
  for (size_t k = 0; k < classes; ++k) sum += std::exp((potentials[k] - first) * options.unit / steps);
  return 1 / sum;
}

EarlyExitResult Engine::runEarlyExit(const float* images, size_t count, const EarlyExitOptions& options,
                                     const std::atomic<bool>& cancelled) {
  for (int32_t chunk : options.chunks) checkTimeSteps(chunk);
  if (plan_.given > 0) throw EngineError(ErrorCode::invalidArgument, "A model with given layers has no early exit.");
  if (options.chunks.empty()) throw EngineError(ErrorCode::invalidArgument, "Expected at least one number for chunks");
  const size_t classes = static_cast<size_t>(plan_.layers.back().shape.channels);
  EarlyExitResult result;
  result.steps.resize(count);
  result.potentials.resize(count * classes);
  if (count == 0) return result;
  const int32_t longestChunk = *std::max_element(options.chunks.begin(), options.chunks.end());
  const uint32_t longest = static_cast<uint32_t>(std::min(longestChunk, wordSteps));
  const size_t group = chunkSize(longest, count, membraneBytes());
  reserve(longest, group, group);
  membranes_.reserve(plan_, group);
  for (size_t first = 0; first < count; first += group) {
    exit_.left.resize(std::min(group, count - first));
    std::iota(exit_.left.begin(), exit_.left.end(), first);
    quantize(images + first * static_cast<size_t>(plan_.input.size()), exit_.left.size(), first, "Image");
    exitGroup(options, cancelled, result);
  }
  return result;
}

/// The images of exit_.left, from their first step until each has left.
void Engine::exitGroup(const EarlyExitOptions& options, const std::atomic<bool>& cancelled, EarlyExitResult& result) {
  const size_t classes = static_cast<size_t>(plan_.layers.back().shape.channels);
  int32_t steps = 0;
  for (size_t c = 0; c < options.chunks.size() && !exit_.left.empty(); ++c) {
    const bool last = c + 1 == options.chunks.size();
    const int32_t end = steps + options.chunks[c];
    uint32_t ran = 0;
    for (; steps < end; steps += static_cast<int32_t>(ran)) {
      ran = static_cast<uint32_t>(std::min(end - steps, wordSteps));
      Pass pass{exit_.left.size(), ran, cancelled};
      exit_.potentials.resize(pass.steps * pass.images * classes);
      pass.input = input_.data();
      pass.potentials = exit_.potentials.data();
      pass.totalImages = pass.images;
      pass.before = steps == 0 ? nullptr : &membranes_;
      pass.firstStep = static_cast<uint32_t>(steps);
      pass.after = last && steps + static_cast<int32_t>(ran) == end ? nullptr : &membranes_;
      runLayers(pass);
    }
    letLeave(options, exit_.potentials.data() + (ran - 1) * exit_.left.size() * classes, steps, last, result);
    closeGaps();
  }
}

/// Keeps the results of the images that are sure enough, of all after the last chunk, and marks them.
void Engine::letLeave(const EarlyExitOptions& options, const int32_t* potentials, int32_t steps, bool all,
                      EarlyExitResult& result) {
  const size_t classes = static_cast<size_t>(plan_.layers.back().shape.channels);
  const int32_t summed = steps - static_cast<int32_t>(plan_.layers.back().start);
  exit_.leaves.assign(exit_.left.size(), false);
  for (size_t i = 0; i < exit_.left.size(); ++i, potentials += classes) {
    if (!all && !(summed > 0 && confidenceOf(potentials, classes, summed, options) >= options.threshold)) continue;
    exit_.leaves[i] = true;
    result.steps[exit_.left[i]] = steps;
    std::copy_n(potentials, classes, result.potentials.data() + exit_.left[i] * classes);
  }
}

/// Moves images from the end to the places of those that left, with their pixels and membranes.
void Engine::closeGaps() {
  exit_.moves.clear();
  size_t end = exit_.left.size();
  for (size_t i = 0; i < end; ++i) {
    if (!exit_.leaves[i]) continue;
    do --end;
    while (end > i && exit_.leaves[end]);
    if (end == i) break;
    exit_.moves.push_back({end, i});
    exit_.left[i] = exit_.left[end];
  }
  exit_.left.resize(end);
  const size_t parts = plan_.layers.size() + 1;
  const size_t pixels = static_cast<size_t>(plan_.input.size());
  pool_.parallelFor(exit_.moves.size() * parts, [&](size_t item, unsigned) {
    const EarlyExitScratch::Move move = exit_.moves[item / parts];
    const size_t layer = item % parts;
    if (layer < plan_.layers.size()) return membranes_.copyImage(plan_.layers[layer], layer, move.from, move.to);
    std::copy_n(input_.data() + move.from * pixels, pixels, input_.data() + move.to * pixels);
  });
}

}  // namespace noisefloor
