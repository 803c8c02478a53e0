#include <immintrin.h>

#include "kernels.h"

namespace noisefloor {
namespace {

constexpr uint32_t lanes = 8;

/// V vectors of 8 output channels.
template <int V>
inline void denseBlock(const int16_t* patch, uint32_t pairs, const int16_t* weights, uint32_t width, int32_t* out) {
  __m256i acc_i32x8[V];
  for (int v = 0; v < V; ++v) acc_i32x8[v] = _mm256_setzero_si256();
  for (uint32_t k = 0; k < pairs; ++k) {
    int32_t pair;
    __builtin_memcpy(&pair, patch + 2 * k, sizeof pair);
    const __m256i x = _mm256_set1_epi32(pair);
    const __m256i* row = reinterpret_cast<const __m256i*>(weights + static_cast<uint64_t>(k) * width * 2);
    for (int v = 0; v < V; ++v) {
      acc_i32x8[v] = _mm256_add_epi32(acc_i32x8[v], _mm256_madd_epi16(x, _mm256_load_si256(row + v)));
    }
  }
  for (int v = 0; v < V; ++v) _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + v * lanes), acc_i32x8[v]);
}

}  // namespace

void dense_i16__avx2(const int16_t* patch, uint32_t pairs, const int16_t* weights, uint32_t width, int32_t* out) {
  if (width == 32) return denseBlock<4>(patch, pairs, weights, width, out);
  for (uint32_t w = 0; w < width; w += 64) denseBlock<8>(patch, pairs, weights + 2 * w, width, out + w);
}

}  // namespace noisefloor
