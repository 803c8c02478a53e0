#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace noisefloor {

/// What each output pixel of an axis takes: the weights of inputs first, first + 1, ... in units of 2^-22.
struct Taps {
  std::vector<int32_t> first;
  std::vector<int32_t> count;
  std::vector<int32_t> weights;  ///< of one output pixel after the other

  size_t size() const { return first.size(); }
};

struct PictureSize {
  int32_t width;
  int32_t height;
  int32_t channels;
};

/// Throws EngineError (invalidArgument) unless all taps lie within `extent` inputs and there are weights for each.
void checkTaps(const Taps& taps, int32_t extent, const char* axis);

/// Pillow's resampling (Resample.c): along rows, rounded to bytes, then along columns. Of src/data/resample.ts.
///
/// pixels  [height][width][channels]
/// planes  [channels][rows][columns], overwritten
/// Accumulator: 32 bits; weights of one output pixel sum up to 2^22 and their magnitudes to less than 2^23.
void resample(const uint8_t* pixels, const PictureSize& size, const Taps& columns, const Taps& rows, uint8_t* planes);

}  // namespace noisefloor
