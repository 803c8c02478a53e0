#include "bounds.h"

#include <algorithm>
#include <limits>

namespace noisefloor {
namespace {

constexpr int64_t largestPixel = 32768;
/// Beyond int32 even after the largest shift, of 30 bits.
constexpr int64_t tooLarge = int64_t{1} << 61;
/// Beyond int32, and small enough to be added up.
constexpr int64_t farBeyond = int64_t{1} << 40;

/// a * b with b > 0, or a number of its sign that is too large too.
int64_t boundedProduct(int64_t a, int64_t b) {
  if (a > tooLarge / b) return tooLarge;
  return a < -tooLarge / b ? -tooLarge : a * b;
}

/// Sums of the negative and of the positive weights of an output channel.
CurrentRange weightSums(const SynapseDescription& s, size_t channel) {
  if (!s.convolution) return {0, 1};
  CurrentRange sums;
  std::visit([&](const auto& weights) {
    const size_t inputs = weights.size() / s.multiplier.size();
    for (size_t i = channel * inputs; i < (channel + 1) * inputs; ++i) (weights[i] < 0 ? sums.low : sums.high) += weights[i];
  }, s.weight);
  return sums;
}

void addSynapse(const SynapseDescription& s, size_t channel, CurrentRange& range) {
  const CurrentRange sums = weightSums(s, channel);
  const int64_t scale = int64_t{s.poolKernel.y} * s.poolKernel.x * s.multiplier[channel];
  const int64_t half = s.shift > 0 ? int64_t{1} << (s.shift - 1) : 0;
  const bool analog = s.source == inputSource;
  const int64_t pixels = (sums.high - sums.low) * largestPixel;
  range.low += std::max(boundedProduct(analog ? -pixels : sums.low, scale) >> s.shift, -farBeyond);
  range.high += std::min((boundedProduct(analog ? pixels : sums.high, scale) + half) >> s.shift, farBeyond);
}

}  // namespace

std::vector<CurrentRange> currentRanges(const LayerDescription& layer) {
  // What max-pooling carries is a count: one more a step at most.
  if (layer.maxPool) return std::vector<CurrentRange>(static_cast<size_t>(layer.shape.channels), CurrentRange{0, 1});
  std::vector<CurrentRange> ranges;  // none of a given layer
  for (size_t c = 0; c < layer.bias.size(); ++c) {
    CurrentRange range = {std::min(0, layer.bias[c]), std::max(0, layer.bias[c])};
    for (const SynapseDescription& s : layer.synapses) addSynapse(s, c, range);
    ranges.push_back(range);
  }
  return ranges;
}

uint64_t stepsWithinInt32(const CurrentRange& range, int32_t threshold, int32_t least, int32_t most) {
  using Limits = std::numeric_limits<int32_t>;
  const int64_t above = int64_t{Limits::max()} - std::max(0, most);
  const int64_t below = int64_t{Limits::min()} - std::min(0, least) + threshold;
  const int64_t up = range.high == 0 ? Limits::max() : above / range.high;
  const int64_t down = range.low == 0 ? Limits::max() : below / range.low;
  return static_cast<uint64_t>(std::max<int64_t>(0, std::min(up, down)));
}

}  // namespace noisefloor
