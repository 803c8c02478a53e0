#include "resample.h"

#include <algorithm>
#include <string>

#include "../engine/error.h"

namespace noisefloor {
namespace {

constexpr int32_t precision = 22;
constexpr int32_t half = 1 << (precision - 1);

inline uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> precision, 0, 255)); }

/// `channels` sums at a time: a weight is loaded once.
template <int32_t channels>
void alongRow(const uint8_t* row, const Taps& columns, uint8_t* strip) {
  const int32_t* weights = columns.weights.data();
  for (size_t x = 0; x < columns.size(); ++x, strip += channels) {
    int32_t sums[channels];
    std::fill_n(sums, channels, half);
    const uint8_t* at = row + static_cast<size_t>(columns.first[x]) * channels;
    for (int32_t k = 0; k < columns.count[x]; ++k, at += channels) {
      for (int32_t c = 0; c < channels; ++c) sums[c] += at[c] * weights[k];
    }
    weights += columns.count[x];
    for (int32_t c = 0; c < channels; ++c) strip[c] = rounded(sums[c]);
  }
}

void alongColumn(const uint8_t* strips, size_t length, const int32_t* weights, int32_t count, int32_t* sums) {
  std::fill_n(sums, length, half);
  for (int32_t k = 0; k < count; ++k, strips += length) {
    const int32_t weight = weights[k];
    for (size_t i = 0; i < length; ++i) sums[i] += strips[i] * weight;
  }
}

}  // namespace

void checkTaps(const Taps& taps, int32_t extent, const char* axis) {
  size_t weights = 0;
  bool inside = taps.size() > 0 && taps.count.size() == taps.size();
  for (size_t i = 0; inside && i < taps.size(); ++i) {
    inside = taps.first[i] >= 0 && taps.count[i] > 0 && taps.count[i] <= extent && taps.first[i] <= extent - taps.count[i];
    weights += static_cast<size_t>(std::max(0, taps.count[i]));
  }
  if (inside && weights == taps.weights.size()) return;
  throw EngineError(ErrorCode::invalidArgument, std::string("Expected taps within the picture for ") + axis);
}

void resample(const uint8_t* pixels, const PictureSize& size, const Taps& columns, const Taps& rows, uint8_t* planes) {
  const size_t channels = static_cast<size_t>(size.channels);
  const size_t width = columns.size();
  const size_t length = width * channels;
  int32_t top = size.height;
  int32_t bottom = 0;
  for (size_t y = 0; y < rows.size(); ++y) {
    top = std::min(top, rows.first[y]);
    bottom = std::max(bottom, rows.first[y] + rows.count[y]);
  }
  std::vector<uint8_t> strips(static_cast<size_t>(bottom - top) * length);
  const auto along = channels == 3 ? alongRow<3> : alongRow<1>;
  for (int32_t y = top; y < bottom; ++y) {
    along(pixels + static_cast<size_t>(y) * static_cast<size_t>(size.width) * channels, columns, strips.data() + static_cast<size_t>(y - top) * length);
  }
  std::vector<int32_t> sums(length);
  const int32_t* weights = rows.weights.data();
  for (size_t y = 0; y < rows.size(); ++y) {
    alongColumn(strips.data() + static_cast<size_t>(rows.first[y] - top) * length, length, weights, rows.count[y], sums.data());
    weights += rows.count[y];
    for (size_t c = 0; c < channels; ++c) {
      uint8_t* out = planes + (c * rows.size() + y) * width;
      for (size_t x = 0; x < width; ++x) out[x] = rounded(sums[x * channels + c]);
    }
  }
}

}  // namespace noisefloor
