#include <immintrin.h>

#include "kernels.h"

namespace noisefloor {
namespace {

/// Sums of V vectors of 16 lanes: x modulo 2^16, and high = x >> 8.
template <int V>
struct Sums {
  __m256i x_i16x16[V];
  __m256i high_i16x16[V];
};

template <int V>
inline Sums<V> sumRows(const uint8_t* rows, const uint32_t* offsets, uint32_t count) {
  Sums<V> sums;
  for (int v = 0; v < V; ++v) sums.x_i16x16[v] = sums.high_i16x16[v] = _mm256_setzero_si256();
  for (uint32_t i = 0; i < count; i += 4) {
    for (int k = 0; k < 4; ++k) {
      const __m256i* row = reinterpret_cast<const __m256i*>(rows + offsets[i + k]);
      for (int v = 0; v < V; ++v) {
        const __m256i x = _mm256_load_si256(row + v);
        sums.x_i16x16[v] = _mm256_add_epi16(sums.x_i16x16[v], x);
        sums.high_i16x16[v] = _mm256_add_epi16(sums.high_i16x16[v], _mm256_srai_epi16(x, 8));
      }
    }
  }
  return sums;
}

/// The first run of a list overwrites the output, later ones add to it.
template <bool first>
inline void put8(int32_t* out, __m256i value_i32x8) {
  __m256i* target = reinterpret_cast<__m256i*>(out);
  _mm256_storeu_si256(target, first ? value_i32x8 : _mm256_add_epi32(_mm256_loadu_si256(target), value_i32x8));
}

template <bool first>
inline void put16(int32_t* out, __m256i value_i16x16) {
  put8<first>(out, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(value_i16x16)));
  put8<first>(out + 8, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(value_i16x16, 1)));
}

inline __m256i join8(__m128i high_i16x8, __m128i low_u16x8) {
  return _mm256_add_epi32(_mm256_slli_epi32(_mm256_cvtepi16_epi32(high_i16x8), 8), _mm256_cvtepu16_epi32(low_u16x8));
}

struct Int8Rows {
  static constexpr uint32_t channels = 32;
  template <bool first>
  static void put(int32_t* out, __m256i high, __m256i low, uint32_t count) {
    put16<first>(out, _mm256_sub_epi16(low, _mm256_set1_epi16(static_cast<int16_t>(128 * count))));
    put16<first>(out + 16, high);
  }
};

struct Int16Rows {
  static constexpr uint32_t channels = 16;
  template <bool first>
  static void put(int32_t* out, __m256i high, __m256i low, uint32_t) {
    put8<first>(out, join8(_mm256_castsi256_si128(high), _mm256_castsi256_si128(low)));
    put8<first>(out + 8, join8(_mm256_extracti128_si256(high, 1), _mm256_extracti128_si256(low, 1)));
  }
};

template <typename Rows, int V, bool first>
inline void gatherShortRun(const uint8_t* rows, const uint32_t* offsets, uint32_t count, int32_t* out) {
  const Sums<V> sums = sumRows<V>(rows, offsets, count);
  for (int v = 0; v < V; ++v) {
    const __m256i high = sums.high_i16x16[v];
    const __m256i low = _mm256_sub_epi16(sums.x_i16x16[v], _mm256_slli_epi16(high, 8));
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

// Two vectors at a time: with four, GCC 12 spills the sums in the loop, which costs more than walking the list again.

const uint32_t* gather_i8__avx2(const uint8_t* rows, const uint32_t* offsets, const uint32_t* counts, uint32_t steps,
                                uint32_t width, int32_t* out) {
  if (width == 32) return gatherSteps<Int8Rows, 1>(rows, offsets, counts, steps, width, out);
  const uint32_t* end = offsets;
  for (uint32_t w = 0; w < width; w += 64) {
    end = gatherSteps<Int8Rows, 2>(rows + w, offsets, counts, steps, width, out + w);
  }
  return end;
}

const uint32_t* gather_i16__avx2(const uint8_t* rows, const uint32_t* offsets, const uint32_t* counts, uint32_t steps,
                                 uint32_t width, int32_t* out) {
  const uint32_t* end = offsets;
  for (uint32_t w = 0; w < width; w += 32) {
    end = gatherSteps<Int16Rows, 2>(rows + 2 * w, offsets, counts, steps, width, out + w);
  }
  return end;
}

}  // namespace noisefloor
