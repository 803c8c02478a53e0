#pragma once
#include <stdint.h>

namespace noisefloor {

/// Sums the weight rows of all active inputs, step after step:
/// out[t][w] = sum of row(offsets[i])[w] over the counts[t] offsets of step t, for t < steps, w < width.
///
/// rows     one block of output channels, 64-byte aligned
/// offsets  byte offsets of rows from `rows`; the steps' lists follow each other
/// counts   [steps], multiples of 4 (callers pad with the offset of an all-zero row)
/// width    32, 64 or 128 output channels
/// out      [steps][width], overwritten
/// Returns the end of the last list.
///
/// Both row formats hold 16-bit lanes x = 256 * high + low with high a signed and low an unsigned byte, so one loop
/// serves both: it sums x modulo 2^16 and, apart, high (x >> 8) in int16; the sum of low is what is left.
///   i8   groups of 32 channels in 32 bytes; lane j: low = weight[j] + 128, high = weight[j + 16]
///   i16  lane j is weight[j]; its sum is 256 * (sum of high) + (sum of low)
/// Accumulators: int16 for high, uint16 for low. |high| <= 128 and low <= 255, so both are exact for up to 255 rows;
/// the kernels widen to int32 every gatherRun rows. The int32 sum is modulo 2^32: exact for a checked model.
using GatherFn = const uint32_t*(const uint8_t* rows, const uint32_t* offsets, const uint32_t* counts, uint32_t steps,
                                 uint32_t width, int32_t* out);

constexpr uint32_t gatherRun = 252;

}  // namespace noisefloor
