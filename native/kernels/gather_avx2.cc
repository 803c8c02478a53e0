#include <immintrin.h>

#include "gather_lists.h"
#include "kernels.h"

namespace noisefloor {
namespace {

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

struct VectorRows {
  struct Sum {
    __m256i x_i16x16;     ///< modulo 2^16
    __m256i high_i16x16;  ///< of x >> 8
    __m256i low() const { return _mm256_sub_epi16(x_i16x16, _mm256_slli_epi16(high_i16x16, 8)); }
  };
  static constexpr uint32_t vectorBytes = 32;
  static constexpr uint32_t run = gatherRun;

  static void add(const uint8_t* weights, Sum& sum) { addVector(load(weights), sum); }

 protected:
  static __m256i load(const uint8_t* weights) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(weights)); }
  static void addVector(__m256i x, Sum& sum) {
    sum.x_i16x16 = _mm256_add_epi16(sum.x_i16x16, x);
    sum.high_i16x16 = _mm256_add_epi16(sum.high_i16x16, _mm256_srai_epi16(x, 8));
  }
};

template <RowFormat of>
struct ByteRows : VectorRows {
  static constexpr RowFormat format = of;
  static constexpr uint32_t bytes(uint32_t channels) { return channels; }
  static void put(const Sum& sum, uint32_t vector, uint32_t count, bool add, int32_t* out) {
    out += 32 * vector;
    put16(out, _mm256_sub_epi16(sum.low(), _mm256_set1_epi16(static_cast<int16_t>(lowOffset(format) * static_cast<int32_t>(count)))), add);
    put16(out + 16, sum.high_i16x16, add);
  }
};

using Int8Rows = ByteRows<RowFormat::i8>;

struct Int7Rows : ByteRows<RowFormat::i7> {
  static constexpr uint32_t run = narrowRun;
  static void addPair(const uint8_t* weights, const uint8_t* others, Sum& sum) {
    addVector(_mm256_add_epi8(load(weights), load(others)), sum);
  }
};

struct Int16Rows : VectorRows {
  static constexpr RowFormat format = RowFormat::i16;
  static constexpr uint32_t bytes(uint32_t channels) { return 2 * channels; }
  static void put(const Sum& sum, uint32_t vector, uint32_t, bool add, int32_t* out) {
    out += 16 * vector;
    const __m256i high = sum.high_i16x16;
    const __m256i low = sum.low();
    put8(out, join8(_mm256_castsi256_si128(high), _mm256_castsi256_si128(low)), add);
    put8(out + 8, join8(_mm256_extracti128_si256(high, 1), _mm256_extracti128_si256(low, 1)), add);
  }
};

}  // namespace

void gather_i7__avx2(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                     bool add, int32_t* out) {
  gatherBytes<Int7Rows>(rows, fields, pairs, pairCount, width, add, out);
}

void gather_i8__avx2(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                     bool add, int32_t* out) {
  gatherBytes<Int8Rows>(rows, fields, pairs, pairCount, width, add, out);
}

void gather_i16__avx2(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                      bool add, int32_t* out) {
  if (width == 64) return gather<Int16Rows, 64, 64>(rows, fields, pairs, pairCount, add, out);
  gather<Int16Rows, 32, 32>(rows, fields, pairs, pairCount, add, out);
}

}  // namespace noisefloor
