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

constexpr uint32_t tailRows = 3;
alignas(64) constexpr ZeroRow zeroInt8 = makeZeroRow(128);
alignas(64) constexpr ZeroRow zeroInt16 = makeZeroRow(0);

template <int V>
inline void addRow(uintptr_t row, Sums<V>& sums) {
  for (int v = 0; v < V; ++v) {
    const __m512i x = _mm512_load_si512(reinterpret_cast<const uint8_t*>(row) + 64 * v);
    sums.x_i16x32[v] = _mm512_add_epi16(sums.x_i16x32[v], x);
    sums.high_i16x32[v] = _mm512_add_epi16(sums.high_i16x32[v], _mm512_srai_epi16(x, 8));
  }
}

/// Adds `count` rows and tailRows - count % 4 zero rows; returns how many these are. `base` is the address of row 0 and may
/// lie before the rows: only base + index is one of them. The tail is always as long and has no branch: one that depends
/// on the length of a list is mispredicted, and that costs more than adding zeros.
template <typename Rows, int V>
inline uint32_t sumRows(uintptr_t base, const uint32_t* index, uint32_t count, Sums<V>& sums) {
  constexpr uintptr_t scale = Rows::bytes(V) / indexUnit;
  const uint32_t full = count & ~3U;
  const uint32_t* const tail = index + full;
  for (; index < tail; index += 4) {
    for (int k = 0; k < 4; ++k) addRow<V>(base + index[k] * scale, sums);
  }
  const uintptr_t zero = reinterpret_cast<uintptr_t>(Rows::zeroRow());
  for (uint32_t k = 0; k < tailRows; ++k) {
    const uintptr_t real = k < count - full ? ~uintptr_t{0} : 0;
    addRow<V>(zero + ((base + tail[k] * scale - zero) & real), sums);
  }
  return full + tailRows;
}

inline void put16(int32_t* out, __m512i value_i32x16, bool add) {
  _mm512_storeu_si512(out, add ? _mm512_add_epi32(_mm512_loadu_si512(out), value_i32x16) : value_i32x16);
}

inline __m512i join16(__m256i high_i16x16, __m256i low_u16x16) {
  return _mm512_add_epi32(_mm512_slli_epi32(_mm512_cvtepi16_epi32(high_i16x16), 8), _mm512_cvtepu16_epi32(low_u16x16));
}

/// A vector holds two groups of 32 channels: see gather.h.
struct Int8Rows {
  static const uint8_t* zeroRow() { return zeroInt8.bytes; }
  static constexpr int channels = 64;
  static constexpr int64_t bytes(int vectors) { return 64 * vectors; }
  static void put(int32_t* out, __m512i high, __m512i low, uint32_t count, bool add) {
    low = _mm512_sub_epi16(low, _mm512_set1_epi16(static_cast<int16_t>(128 * count)));
    put16(out, _mm512_cvtepi16_epi32(_mm512_castsi512_si256(low)), add);
    put16(out + 16, _mm512_cvtepi16_epi32(_mm512_castsi512_si256(high)), add);
    put16(out + 32, _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(low, 1)), add);
    put16(out + 48, _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(high, 1)), add);
  }
};

struct Int16Rows {
  static const uint8_t* zeroRow() { return zeroInt16.bytes; }
  static constexpr int channels = 32;
  static constexpr int64_t bytes(int vectors) { return 64 * vectors; }
  static void put(int32_t* out, __m512i high, __m512i low, uint32_t, bool add) {
    put16(out, join16(_mm512_castsi512_si256(high), _mm512_castsi512_si256(low)), add);
    put16(out + 16, join16(_mm512_extracti64x4_epi64(high, 1), _mm512_extracti64x4_epi64(low, 1)), add);
  }
};

template <typename Rows, int V>
inline void putSums(const Sums<V>& sums, uint32_t count, bool add, int32_t* out) {
  for (int v = 0; v < V; ++v) {
    const __m512i high = sums.high_i16x32[v];
    const __m512i low = _mm512_sub_epi16(sums.x_i16x32[v], _mm512_slli_epi16(high, 8));
    Rows::put(out + v * Rows::channels, high, low, count, add);
  }
}

/// Of several lists, or of one that is longer than a run: widened to int32 whenever a run is full.
template <typename Rows, int V>
__attribute__((noinline)) void gatherLists(const uint8_t* rows, const Field& field, uint32_t step, bool add, int32_t* out) {
  Sums<V> sums = {};
  uint32_t left = gatherRun;
  uint32_t rowCount = 0;
  for (uint32_t s = 0; s < field.segmentCount; ++s) {
    const Segment& segment = field.segments[s];
    const uint32_t* starts = segment.starts + static_cast<uint64_t>(step) * segment.stepStride;
    const uint32_t* index = field.indices + starts[0];
    const uint32_t* const end = field.indices + starts[segment.positions];
    const uintptr_t base = reinterpret_cast<uintptr_t>(rows) + static_cast<uintptr_t>(segment.base * Rows::bytes(V));
    while (index < end) {
      const uint32_t rest = static_cast<uint32_t>(end - index);
      const uint32_t run = rest < left ? rest : left;
      rowCount += sumRows<Rows, V>(base, index, run, sums);
      index += run;
      left -= run;
      if (left != 0) continue;
      putSums<Rows, V>(sums, rowCount, add, out);
      sums = {};
      rowCount = 0;
      add = true;
      left = gatherRun;
    }
  }
  putSums<Rows, V>(sums, rowCount, add, out);
}

template <typename Rows, int V>
inline void gather(const uint8_t* rows, const Field& field, uint32_t steps, bool add, int32_t* out) {
  constexpr uint32_t width = V * Rows::channels;
  if (field.segmentCount != 1) {
    for (uint32_t t = 0; t < steps; ++t) gatherLists<Rows, V>(rows, field, t, add, out + t * width);
    return;
  }
  const Segment& segment = field.segments[0];
  const uintptr_t base = reinterpret_cast<uintptr_t>(rows) + static_cast<uintptr_t>(segment.base * Rows::bytes(V));
  const uint32_t* starts = segment.starts;
  for (uint32_t t = 0; t < steps; ++t, starts += segment.stepStride, out += width) {
    const uint32_t count = starts[segment.positions] - starts[0];
    if (count > gatherRun) {
      gatherLists<Rows, V>(rows, field, t, add, out);
      continue;
    }
    Sums<V> sums = {};
    const uint32_t summed = sumRows<Rows, V>(base, field.indices + starts[0], count, sums);
    putSums<Rows, V>(sums, summed, add, out);
  }
}

}  // namespace

void gather_i8__avx512(const uint8_t* rows, const Field& field, uint32_t steps, uint32_t width, bool add, int32_t* out) {
  if (width == 64) return gather<Int8Rows, 1>(rows, field, steps, add, out);
  // 32 channels of one byte fill half a register.
  gather_i8__avx2(rows, field, steps, width, add, out);
}

void gather_i16__avx512(const uint8_t* rows, const Field& field, uint32_t steps, uint32_t width, bool add, int32_t* out) {
  if (width == 64) return gather<Int16Rows, 2>(rows, field, steps, add, out);
  gather<Int16Rows, 1>(rows, field, steps, add, out);
}

}  // namespace noisefloor
