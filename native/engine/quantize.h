#pragma once
#include <cstddef>
#include <cstdint>

#include "description.h"

namespace noisefloor {

/// One row (y) of one image, [C][H][W] float to [H][W][C] fixed point: clamp(roundHalfEven(x * scale), int16).
/// Returns false if a value is NaN.
bool quantizeRow(const float* image, const Shape& shape, float scale, int32_t y, int16_t* out);

}  // namespace noisefloor
