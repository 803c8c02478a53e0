#include "kernels.h"

namespace noisefloor {

const uint32_t* gather_i8__scalar(const uint8_t* rows, const uint32_t* offsets, const uint32_t* counts, uint32_t steps,
                                  uint32_t width, int32_t* out) {
  for (uint32_t t = 0; t < steps; ++t, offsets += counts[t - 1], out += width) {
    for (uint32_t w = 0; w < width; ++w) out[w] = 0;
    for (uint32_t i = 0; i < counts[t]; ++i) {
      const uint8_t* row = rows + offsets[i];
      for (uint32_t group = 0; group < width; group += 32) {
        for (uint32_t lane = 0; lane < 16; ++lane) {
          const uint8_t* pair = row + group + 2 * lane;
          out[group + lane] += static_cast<int32_t>(pair[0]) - 128;
          out[group + lane + 16] += static_cast<int8_t>(pair[1]);
        }
      }
    }
  }
  return offsets;
}

const uint32_t* gather_i16__scalar(const uint8_t* rows, const uint32_t* offsets, const uint32_t* counts, uint32_t steps,
                                   uint32_t width, int32_t* out) {
  for (uint32_t t = 0; t < steps; ++t, offsets += counts[t - 1], out += width) {
    // Unsigned sums: a sum that leaves int32 wraps, as in the vector kernels.
    for (uint32_t w = 0; w < width; ++w) out[w] = 0;
    for (uint32_t i = 0; i < counts[t]; ++i) {
      const int16_t* row = reinterpret_cast<const int16_t*>(rows + offsets[i]);
      for (uint32_t w = 0; w < width; ++w) {
        out[w] = static_cast<int32_t>(static_cast<uint32_t>(out[w]) + static_cast<uint32_t>(row[w]));
      }
    }
  }
  return offsets;
}

}  // namespace noisefloor
