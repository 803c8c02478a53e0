#include <immintrin.h>

#include "gather_lists.h"
#include "kernels.h"

namespace noisefloor {
namespace {

inline void put16(int32_t* out, __m512i value_i32x16, bool add) {
  _mm512_storeu_si512(out, add ? _mm512_add_epi32(_mm512_loadu_si512(out), value_i32x16) : value_i32x16);
}

inline __m512i join16(__m256i high_i16x16, __m256i low_u16x16) {
  return _mm512_add_epi32(_mm512_slli_epi32(_mm512_cvtepi16_epi32(high_i16x16), 8), _mm512_cvtepu16_epi32(low_u16x16));
}

struct VectorRows {
  struct Sum {
    __m512i x_i16x32;     ///< modulo 2^16
    __m512i high_i16x32;  ///< of x >> 8
    __m512i low() const { return _mm512_sub_epi16(x_i16x32, _mm512_slli_epi16(high_i16x32, 8)); }
  };
  static constexpr uint32_t vectorBytes = 64;
  static constexpr uint32_t run = gatherRun;

  static void add(const uint8_t* weights, Sum& sum) { addVector(_mm512_load_si512(weights), sum); }

 protected:
  static void addVector(__m512i x, Sum& sum) {
    sum.x_i16x32 = _mm512_add_epi16(sum.x_i16x32, x);
    sum.high_i16x32 = _mm512_add_epi16(sum.high_i16x32, _mm512_srai_epi16(x, 8));
  }
};

/// A vector holds two groups of 32 channels: see gather.h.
template <RowFormat of>
struct ByteRows : VectorRows {
  static constexpr RowFormat format = of;
  static constexpr uint32_t bytes(uint32_t channels) { return channels; }
  static void put(const Sum& sum, uint32_t vector, uint32_t count, bool add, int32_t* out) {
    out += 64 * vector;
    const __m512i high = sum.high_i16x32;
    const __m512i low = _mm512_sub_epi16(sum.low(), _mm512_set1_epi16(static_cast<int16_t>(lowOffset(format) * static_cast<int32_t>(count))));
    put16(out, _mm512_cvtepi16_epi32(_mm512_castsi512_si256(low)), add);
    put16(out + 16, _mm512_cvtepi16_epi32(_mm512_castsi512_si256(high)), add);
    put16(out + 32, _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(low, 1)), add);
    put16(out + 48, _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(high, 1)), add);
  }
};

using Int8Rows = ByteRows<RowFormat::i8>;

struct Int7Rows : ByteRows<RowFormat::i7> {
  static constexpr uint32_t run = narrowRun;
  static void addPair(const uint8_t* weights, const uint8_t* others, Sum& sum) {
    addVector(_mm512_add_epi8(_mm512_load_si512(weights), _mm512_load_si512(others)), sum);
  }
};

struct Int16Rows : VectorRows {
  static constexpr RowFormat format = RowFormat::i16;
  static constexpr uint32_t bytes(uint32_t channels) { return 2 * channels; }
  static void put(const Sum& sum, uint32_t vector, uint32_t, bool add, int32_t* out) {
    out += 32 * vector;
    const __m512i high = sum.high_i16x32;
    const __m512i low = sum.low();
    put16(out, join16(_mm512_castsi512_si256(high), _mm512_castsi512_si256(low)), add);
    put16(out + 16, join16(_mm512_extracti64x4_epi64(high, 1), _mm512_extracti64x4_epi64(low, 1)), add);
  }
};

/// 64 channels or more, all at once.
template <typename Rows>
inline void gatherWide(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                       bool add, int32_t* out) {
  if (width == 256) return gather<Rows, 256, 256>(rows, fields, pairs, pairCount, add, out);
  if (width == 128) return gather<Rows, 128, 128>(rows, fields, pairs, pairCount, add, out);
  gather<Rows, 64, 64>(rows, fields, pairs, pairCount, add, out);
}

}  // namespace

// 32 channels of one byte fill half a register.
void gather_i7__avx512(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                       bool add, int32_t* out) {
  if (width > 32) return gatherWide<Int7Rows>(rows, fields, pairs, pairCount, width, add, out);
  gather_i7__avx2(rows, fields, pairs, pairCount, width, add, out);
}

void gather_i8__avx512(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                       bool add, int32_t* out) {
  if (width > 32) return gatherWide<Int8Rows>(rows, fields, pairs, pairCount, width, add, out);
  gather_i8__avx2(rows, fields, pairs, pairCount, width, add, out);
}

void gather_i16__avx512(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                        bool add, int32_t* out) {
  if (width == 64) return gather<Int16Rows, 64, 64>(rows, fields, pairs, pairCount, add, out);
  gather<Int16Rows, 32, 32>(rows, fields, pairs, pairCount, add, out);
}

}  // namespace noisefloor
