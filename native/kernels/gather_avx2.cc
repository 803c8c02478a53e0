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

constexpr uint32_t tailRows = 3;
alignas(64) constexpr ZeroRow zeroInt8 = makeZeroRow(128);
alignas(64) constexpr ZeroRow zeroInt16 = makeZeroRow(0);

template <int V>
inline void addRow(uintptr_t row, Sums<V>& sums) {
  for (int v = 0; v < V; ++v) {
    const __m256i x = _mm256_load_si256(reinterpret_cast<const __m256i*>(row) + v);
    sums.x_i16x16[v] = _mm256_add_epi16(sums.x_i16x16[v], x);
    sums.high_i16x16[v] = _mm256_add_epi16(sums.high_i16x16[v], _mm256_srai_epi16(x, 8));
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

inline void put8(int32_t* out, __m256i value_i32x8, bool add) {
  __m256i* target = reinterpret_cast<__m256i*>(out);
  _mm256_storeu_si256(target, add ? _mm256_add_epi32(_mm256_loadu_si256(target), value_i32x8) : value_i32x8);
}

inline void put16(int32_t* out, __m256i value_i16x16, bool add) {
  put8(out, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(value_i16x16)), add);
  put8(out + 8, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(value_i16x16, 1)), add);
}

inline __m256i join8(__m128i high_i16x8, __m128i low_u16x8) {
  return _mm256_add_epi32(_mm256_slli_epi32(_mm256_cvtepi16_epi32(high_i16x8), 8), _mm256_cvtepu16_epi32(low_u16x8));
}

struct Int8Rows {
  static const uint8_t* zeroRow() { return zeroInt8.bytes; }
  static constexpr int channels = 32;
  static constexpr int64_t bytes(int vectors) { return 32 * vectors; }
  static void put(int32_t* out, __m256i high, __m256i low, uint32_t count, bool add) {
    put16(out, _mm256_sub_epi16(low, _mm256_set1_epi16(static_cast<int16_t>(128 * count))), add);
    put16(out + 16, high, add);
  }
};

struct Int16Rows {
  static const uint8_t* zeroRow() { return zeroInt16.bytes; }
  static constexpr int channels = 16;
  static constexpr int64_t bytes(int vectors) { return 32 * vectors; }
  static void put(int32_t* out, __m256i high, __m256i low, uint32_t, bool add) {
    put8(out, join8(_mm256_castsi256_si128(high), _mm256_castsi256_si128(low)), add);
    put8(out + 8, join8(_mm256_extracti128_si256(high, 1), _mm256_extracti128_si256(low, 1)), add);
  }
};

template <typename Rows, int V>
inline void putSums(const Sums<V>& sums, uint32_t count, bool add, int32_t* out) {
  for (int v = 0; v < V; ++v) {
    const __m256i high = sums.high_i16x16[v];
    const __m256i low = _mm256_sub_epi16(sums.x_i16x16[v], _mm256_slli_epi16(high, 8));
    Rows::put(out + v * Rows::channels, high, low, count, add);
  }
}

/// Sums that are widened to int32 whenever a run is full.
template <typename Rows, int V>
struct LongSums {
  Sums<V> sums = {};
  uint32_t left = gatherRun;
  uint32_t summed = 0;
  bool add;
  int32_t* out;

  void put() {
    putSums<Rows, V>(sums, summed, add, out);
    sums = {};
    left = gatherRun;
    summed = 0;
    add = true;
  }

  void addList(const uint8_t* rows, const Field& field, uint32_t list) {
    for (uint32_t s = 0; s < field.segmentCount; ++s) {
      const Segment& segment = field.segments[s];
      const uint32_t* starts = segment.starts + static_cast<uint64_t>(list) * segment.listStride;
      const uintptr_t base = reinterpret_cast<uintptr_t>(rows) + static_cast<uintptr_t>(segment.base * Rows::bytes(V));
      for (uint32_t i = starts[0]; i < starts[segment.positions];) {
        const uint32_t rest = starts[segment.positions] - i;
        const uint32_t run = rest < left ? rest : left;
        summed += sumRows<Rows, V>(base, field.indices + i, run, sums);
        i += run;
        left -= run;
        if (left == 0) put();
      }
    }
  }
};

/// Any lists: of many segments, or too long for one run.
template <typename Rows, int V>
__attribute__((noinline)) void gatherLong(const uint8_t* rows, const Field& field, const StepPair& pair, bool add,
                                          int32_t* out) {
  const uint32_t steps[2] = {pair.first, pair.second};
  for (uint32_t i = 0; i < (pair.single() ? 1U : 2U); ++i) {
    LongSums<Rows, V> sums;
    sums.add = add;
    sums.out = out + static_cast<uint64_t>(steps[i]) * V * Rows::channels;
    sums.addList(rows, field, pair.list);
    if (!pair.single()) sums.addList(rows, field, pair.list + 1 + i);
    sums.put();
  }
}

/// One segment, whose lists make one run.
template <typename Rows, int V>
inline void gatherPair(const uint8_t* rows, const Field& field, const StepPair& pair, bool add, int32_t* out) {
  constexpr uint32_t width = V * Rows::channels;
  const Segment& segment = field.segments[0];
  const uint32_t positions = segment.positions;
  const uint32_t* both = segment.starts + static_cast<uint64_t>(pair.list) * segment.listStride;
  const uint32_t* first = both + segment.listStride;
  const uint32_t* second = first + segment.listStride;
  const uint32_t shared = both[positions] - both[0];
  uint32_t most = shared;
  if (!pair.single()) {
    const uint32_t a = first[positions] - first[0];
    const uint32_t b = second[positions] - second[0];
    most += a > b ? a : b;
  }
  if (most > gatherRun) return gatherLong<Rows, V>(rows, field, pair, add, out);
  const uintptr_t base = reinterpret_cast<uintptr_t>(rows) + static_cast<uintptr_t>(segment.base * Rows::bytes(V));
  Sums<V> sums = {};
  const uint32_t summed = sumRows<Rows, V>(base, field.indices + both[0], shared, sums);
  if (pair.single()) return putSums<Rows, V>(sums, summed, add, out + static_cast<uint64_t>(pair.first) * width);
  Sums<V> more = sums;
  const uint32_t a = summed + sumRows<Rows, V>(base, field.indices + first[0], first[positions] - first[0], more);
  putSums<Rows, V>(more, a, add, out + static_cast<uint64_t>(pair.first) * width);
  const uint32_t b = summed + sumRows<Rows, V>(base, field.indices + second[0], second[positions] - second[0], sums);
  putSums<Rows, V>(sums, b, add, out + static_cast<uint64_t>(pair.second) * width);
}

template <typename Rows, int V>
inline void gather(const uint8_t* rows, const Field& field, const StepPair* pairs, uint32_t pairCount, bool add,
                   int32_t* out) {
  for (uint32_t p = 0; p < pairCount; ++p) {
    if (field.segmentCount == 1) {
      gatherPair<Rows, V>(rows, field, pairs[p], add, out);
    } else {
      gatherLong<Rows, V>(rows, field, pairs[p], add, out);
    }
  }
}

}  // namespace

void gather_i8__avx2(const uint8_t* rows, const Field& field, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                       bool add, int32_t* out) {
  if (width == 64) return gather<Int8Rows, 2>(rows, field, pairs, pairCount, add, out);
  gather<Int8Rows, 1>(rows, field, pairs, pairCount, add, out);
}

void gather_i16__avx2(const uint8_t* rows, const Field& field, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                       bool add, int32_t* out) {
  if (width == 64) return gather<Int16Rows, 4>(rows, field, pairs, pairCount, add, out);
  gather<Int16Rows, 2>(rows, field, pairs, pairCount, add, out);
}

}  // namespace noisefloor
