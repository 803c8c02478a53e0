#include <immintrin.h>

#include "kernels.h"

namespace noisefloor {
namespace {

/// Sums of V vectors of 32 lanes: x modulo 2^16, and high = x >> 8.
template <int V>
struct Sums {
  __m512i x_i16x32[V];
  __m512i high_i16x32[V];
};

template <int V>
inline Sums<V> sumRows(const uint8_t* rows, const uint32_t* offsets, uint32_t count) {
  Sums<V> sums;
  for (int v = 0; v < V; ++v) sums.x_i16x32[v] = sums.high_i16x32[v] = _mm512_setzero_si512();
  for (uint32_t i = 0; i < count; i += 4) {
    for (int k = 0; k < 4; ++k) {
      const uint8_t* row = rows + offsets[i + k];
      for (int v = 0; v < V; ++v) {
        const __m512i x = _mm512_load_si512(row + 64 * v);
        sums.x_i16x32[v] = _mm512_add_epi16(sums.x_i16x32[v], x);
        sums.high_i16x32[v] = _mm512_add_epi16(sums.high_i16x32[v], _mm512_srai_epi16(x, 8));
      }
    }
  }
  return sums;
}

/// The first run of a list overwrites the output, later ones add to it.
template <bool first>
inline void put16(int32_t* out, __m512i value_i32x16) {
  _mm512_storeu_si512(out, first ? value_i32x16 : _mm512_add_epi32(_mm512_loadu_si512(out), value_i32x16));
}

inline __m512i join16(__m256i high_i16x16, __m256i low_u16x16) {
  return _mm512_add_epi32(_mm512_slli_epi32(_mm512_cvtepi16_epi32(high_i16x16), 8), _mm512_cvtepu16_epi32(low_u16x16));
}

/// A vector holds two groups of 32 channels: see gather.h.
struct Int8Rows {
  static constexpr uint32_t channels = 64;
  template <bool first>
  static void put(int32_t* out, __m512i high, __m512i low, uint32_t count) {
    low = _mm512_sub_epi16(low, _mm512_set1_epi16(static_cast<int16_t>(128 * count)));
    put16<first>(out, _mm512_cvtepi16_epi32(_mm512_castsi512_si256(low)));
    put16<first>(out + 16, _mm512_cvtepi16_epi32(_mm512_castsi512_si256(high)));
    put16<first>(out + 32, _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(low, 1)));
    put16<first>(out + 48, _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(high, 1)));
  }
};

struct Int16Rows {
  static constexpr uint32_t channels = 32;
  template <bool first>
  static void put(int32_t* out, __m512i high, __m512i low, uint32_t) {
    put16<first>(out, join16(_mm512_castsi512_si256(high), _mm512_castsi512_si256(low)));
    put16<first>(out + 16, join16(_mm512_extracti64x4_epi64(high, 1), _mm512_extracti64x4_epi64(low, 1)));
  }
};

template <typename Rows, int V, bool first>
inline void gatherShortRun(const uint8_t* rows, const uint32_t* offsets, uint32_t count, int32_t* out) {
  const Sums<V> sums = sumRows<V>(rows, offsets, count);
  for (int v = 0; v < V; ++v) {
    const __m512i high = sums.high_i16x32[v];
    const __m512i low = _mm512_sub_epi16(sums.x_i16x32[v], _mm512_slli_epi16(high, 8));
    Rows::template put<first>(out + v * Rows::channels, high, low, count);
  }
}

template <typename Rows, int V>
inline void gatherBlock(const uint8_t* rows, const uint32_t* offsets, uint32_t count, int32_t* out) {
  gatherShortRun<Rows, V, true>(rows, offsets, count < gatherRun ? count : gatherRun, out);
  for (uint32_t done = gatherRun; done < count; done += gatherRun) {
    const uint32_t run = count - done < gatherRun ? count - done : gatherRun;
    gatherShortRun<Rows, V, false>(rows, offsets + done, run, out);
  }
}

template <typename Rows, int V>
inline const uint32_t* gatherSteps(const uint8_t* rows, const uint32_t* offsets, const uint32_t* counts, uint32_t steps,
                                   uint32_t width, int32_t* out) {
  for (uint32_t t = 0; t < steps; ++t) {
    gatherBlock<Rows, V>(rows, offsets, counts[t], out);
    offsets += counts[t];
    out += width;
  }
  return offsets;
}

}  // namespace

const uint32_t* gather_i8__avx512(const uint8_t* rows, const uint32_t* offsets, const uint32_t* counts, uint32_t steps,
                                  uint32_t width, int32_t* out) {
  if (width == 128) return gatherSteps<Int8Rows, 2>(rows, offsets, counts, steps, width, out);
  if (width == 64) return gatherSteps<Int8Rows, 1>(rows, offsets, counts, steps, width, out);
  // 32 channels of one byte fill half a register.
  return gather_i8__avx2(rows, offsets, counts, steps, width, out);
}

const uint32_t* gather_i16__avx512(const uint8_t* rows, const uint32_t* offsets, const uint32_t* counts, uint32_t steps,
                                   uint32_t width, int32_t* out) {
  if (width == 128) return gatherSteps<Int16Rows, 4>(rows, offsets, counts, steps, width, out);
  if (width == 64) return gatherSteps<Int16Rows, 2>(rows, offsets, counts, steps, width, out);
  return gatherSteps<Int16Rows, 1>(rows, offsets, counts, steps, width, out);
}

}  // namespace noisefloor
