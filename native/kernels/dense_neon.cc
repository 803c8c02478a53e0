#include <arm_neon.h>

#include "kernels.h"

namespace noisefloor {
namespace {

constexpr uint32_t channels = 32;  ///< of a pass: two accumulators for eight weights, and registers to spare
constexpr uint32_t vectors = channels / 4;

/// Lanes hold the products of single weights, the two of a channel side by side: they are added up at the end.
inline void densePass(const int16_t* patch, uint32_t pairs, const int16_t* weights, uint32_t width, int32_t* out) {
  int32x4_t acc_i32x4[vectors][2];
  for (uint32_t v = 0; v < vectors; ++v) acc_i32x4[v][0] = acc_i32x4[v][1] = vdupq_n_s32(0);
  for (uint32_t k = 0; k < pairs; ++k) {
    int32_t pair;
    __builtin_memcpy(&pair, patch + 2 * k, sizeof pair);
    const int16x8_t x = vreinterpretq_s16_s32(vdupq_n_s32(pair));
    const int16_t* row = weights + static_cast<uint64_t>(k) * width * 2;
    for (uint32_t v = 0; v < vectors; ++v) {
      const int16x8_t w = vld1q_s16(row + 8 * v);
      acc_i32x4[v][0] = vmlal_s16(acc_i32x4[v][0], vget_low_s16(w), vget_low_s16(x));
      acc_i32x4[v][1] = vmlal_high_s16(acc_i32x4[v][1], w, x);
    }
  }
  for (uint32_t v = 0; v < vectors; ++v) vst1q_s32(out + 4 * v, vpaddq_s32(acc_i32x4[v][0], acc_i32x4[v][1]));
}

}  // namespace

void dense_i16__neon(const int16_t* patch, uint32_t pairs, const int16_t* weights, uint32_t width, int32_t* out) {
  for (uint32_t w = 0; w < width; w += channels) densePass(patch, pairs, weights + 2 * w, width, out + w);
}

}  // namespace noisefloor
