#include <immintrin.h>

#include "kernels.h"

namespace noisefloor {
namespace {

constexpr uint32_t lanes = 16;

/// V vectors of 16 output channels.
template <int V>
inline void denseBlock(const int16_t* patch, uint32_t pairs, const int16_t* weights, int32_t* out) {
  __m512i acc_i32x16[V];
  for (int v = 0; v < V; ++v) acc_i32x16[v] = _mm512_setzero_si512();
  for (uint32_t k = 0; k < pairs; ++k) {
    int32_t pair;
    __builtin_memcpy(&pair, patch + 2 * k, sizeof pair);
    const __m512i x = _mm512_set1_epi32(pair);
    const int16_t* row = weights + static_cast<uint64_t>(k) * V * lanes * 2;
    for (int v = 0; v < V; ++v) {
      acc_i32x16[v] = _mm512_add_epi32(acc_i32x16[v], _mm512_madd_epi16(x, _mm512_load_si512(row + 32 * v)));
    }
  }
  for (int v = 0; v < V; ++v) _mm512_storeu_si512(out + v * lanes, acc_i32x16[v]);
}

}  // namespace

void dense_i16__avx512(const int16_t* patch, uint32_t pairs, const int16_t* weights, uint32_t width, int32_t* out) {
  if (width == 128) return denseBlock<8>(patch, pairs, weights, out);
  if (width == 64) return denseBlock<4>(patch, pairs, weights, out);
  denseBlock<2>(patch, pairs, weights, out);
}

}  // namespace noisefloor
