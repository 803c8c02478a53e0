#include "kernels.h"

namespace noisefloor {

void dense_i16__scalar(const int16_t* patch, uint32_t pairs, const int16_t* weights, uint32_t width, int32_t* out) {
  for (uint32_t w = 0; w < width; ++w) {
    uint32_t sum = 0;
    for (uint32_t k = 0; k < pairs; ++k) {
      const int16_t* pair = weights + (static_cast<uint64_t>(k) * width + w) * 2;
      sum += static_cast<uint32_t>(patch[2 * k] * pair[0]) + static_cast<uint32_t>(patch[2 * k + 1] * pair[1]);
    }
    out[w] = static_cast<int32_t>(sum);
  }
}

}  // namespace noisefloor
