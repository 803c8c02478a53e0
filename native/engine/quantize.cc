#include "quantize.h"

namespace noisefloor {
namespace {

/// Adding 1.5 * 2^23 leaves no fraction bits, so the addition itself rounds half to even; |x| <= 2^15 here.
inline int16_t roundHalfEven(float x) {
  constexpr float magic = 12582912.0F;
  return static_cast<int16_t>((x + magic) - magic);
}

}  // namespace

bool quantizeRow(const float* image, const Shape& shape, float scale, int32_t y, int16_t* out) {
  const size_t width = static_cast<size_t>(shape.width);
  const size_t channels = static_cast<size_t>(shape.channels);
  int16_t* row = out + static_cast<size_t>(y) * width * channels;
  bool numbers = true;
  for (size_t c = 0; c < channels; ++c) {
    const float* pixels = image + (c * static_cast<size_t>(shape.height) + static_cast<size_t>(y)) * width;
    for (size_t x = 0; x < width; ++x) {
      const float value = pixels[x] * scale;
      numbers = numbers && value == value;
      const float low = value > -32768.0F ? value : -32768.0F;  // a NaN goes to -32768: converting it is undefined
      row[x * channels + c] = roundHalfEven(low < 32767.0F ? low : 32767.0F);
    }
  }
  return numbers;
}

}  // namespace noisefloor
