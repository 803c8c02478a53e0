#pragma once
#include <stdint.h>

namespace noisefloor {

/// Dense product of an analog patch, or of spike counts, with one block of output channels:
/// out[w] = sum of patch[2k] * weights[k][w][0] + patch[2k+1] * weights[k][w][1] for k < pairs, w < width.
///
/// patch    [2 * pairs] int16
/// weights  [pairs][width][2] int16, 64-byte aligned
/// width    32, 64 or 128
/// Accumulator: int32, modulo 2^32. Exact while the sum of |patch * weight| stays below 2^31, which the check of the
/// model guarantees; one product is at most 2^30, so never for more than two terms by itself.
using DenseFn = void(const int16_t* patch, uint32_t pairs, const int16_t* weights, uint32_t width, int32_t* out);

}  // namespace noisefloor
