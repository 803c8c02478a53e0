#include <immintrin.h>

#include "bits_avx512.h"
#include "kernels.h"
#include "merge.h"

namespace noisefloor {
namespace {

/// Of 16 consecutive words: which does a rule pick?
template <typename Word>
struct Equal16;

template <>
struct Equal16<uint8_t> {
  __m128i mask, value;
  explicit Equal16(const ListRule& r)
      : mask(_mm_set1_epi8(static_cast<char>(r.mask))), value(_mm_set1_epi8(static_cast<char>(r.value))) {}
  __mmask16 operator()(const uint8_t* w) const {
    return _mm_cmpeq_epi8_mask(_mm_and_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)), mask), value);
  }
};
template <>
struct Equal16<uint16_t> {
  __m256i mask, value;
  explicit Equal16(const ListRule& r)
      : mask(_mm256_set1_epi16(static_cast<short>(r.mask))), value(_mm256_set1_epi16(static_cast<short>(r.value))) {}
  __mmask16 operator()(const uint16_t* w) const {
    const __m256i word = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    return _mm256_cmpeq_epi16_mask(_mm256_and_si256(word, mask), value);
  }
};
template <>
struct Equal16<uint32_t> {
  __m512i mask, value;
  explicit Equal16(const ListRule& r)
      : mask(_mm512_set1_epi32(static_cast<int>(r.mask))), value(_mm512_set1_epi32(static_cast<int>(r.value))) {}
  __mmask16 operator()(const uint32_t* w) const {
    return _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_loadu_si512(w), mask), value);
  }
};
template <>
struct Equal16<uint64_t> {
  __m512i mask, value;
  explicit Equal16(const ListRule& r)
      : mask(_mm512_set1_epi64(static_cast<long long>(r.mask))), value(_mm512_set1_epi64(static_cast<long long>(r.value))) {}
  __mmask16 operator()(const uint64_t* w) const {
    const uint32_t low = _mm512_cmpeq_epi64_mask(_mm512_and_si512(_mm512_loadu_si512(w), mask), value);
    const uint32_t high = _mm512_cmpeq_epi64_mask(_mm512_and_si512(_mm512_loadu_si512(w + 8), mask), value);
    return static_cast<__mmask16>(low | high << 8);
  }
};

template <typename Word>
inline void index(const void* words, uint32_t positions, uint32_t stride, const ListRule* rules, uint32_t listCount,
                  uint32_t* indices, uint32_t* starts) {
  const Word* word = static_cast<const Word*>(words);
  const __m512i sixteen = _mm512_set1_epi32(16 * indexUnit);
  uint32_t* out = indices + starts[0];
  for (uint32_t l = 0; l < listCount; ++l) {
    const Equal16<Word> picked(rules[l]);
    __m512i all = _mm512_setr_epi32(0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120);
    uint32_t i = 0;
    for (uint32_t x = 0; x < positions; ++x) {
      *starts++ = static_cast<uint32_t>(out - indices);
      for (const uint32_t end = i + stride; i < end; i += 16) {
        // Empty masks too: a branch on them is mispredicted, sixteen entries stored in vain are not.
        const __mmask16 mask = picked(word + i);
        _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(mask, all));
        out += _mm_popcnt_u32(mask);
        all = _mm512_add_epi32(all, sixteen);
      }
    }
    *starts++ = static_cast<uint32_t>(out - indices);
  }
}

template <typename Word>
inline void diagonal(const void* words, const int32_t* weights, uint32_t steps, uint32_t width, int32_t* acc) {
  for (uint32_t w = 0; w < width; w += 16) {
    const __m512i weight = _mm512_loadu_si512(weights + w);
    int32_t* target = acc + w;
    for (uint32_t start = 0; start < steps; start += 32) {
      const __m512i bits = bits16(static_cast<const Word*>(words) + w, start / 32);
      const uint32_t end = steps - start < 32 ? steps - start : 32;
      __m512i bit = _mm512_set1_epi32(1);
      for (uint32_t t = 0; t < end; ++t, target += width, bit = _mm512_add_epi32(bit, bit)) {
        const __m512i sum = _mm512_loadu_si512(target);
        _mm512_storeu_si512(target, _mm512_mask_add_epi32(sum, _mm512_test_epi32_mask(bits, bit), sum, weight));
      }
    }
  }
}

}  // namespace

#define NF_SPIKES(suffix, Word)                                                                                      \
  void index_##suffix##__avx512(const void* words, uint32_t positions, uint32_t stride, const ListRule* rules,       \
                                uint32_t listCount, uint32_t* indices, uint32_t* starts) {                           \
    index<Word>(words, positions, stride, rules, listCount, indices, starts);                                        \
  }                                                                                                                  \
  void diagonal_##suffix##__avx512(const void* words, const int32_t* weights, uint32_t steps, uint32_t width,        \
                                   int32_t* acc) {                                                                   \
    diagonal<Word>(words, weights, steps, width, acc);                                                               \
  }
NF_SPIKES(u8, uint8_t)
NF_SPIKES(u16, uint16_t)
NF_SPIKES(u32, uint32_t)
NF_SPIKES(u64, uint64_t)

void merge__avx512(const uint32_t* indices, const ListedRow* rows, uint32_t rowCount, uint32_t positions, uint32_t listCount,
                   uint32_t advance, uint32_t* merged, uint32_t* starts) {
  mergeLists(indices, rows, rowCount, positions, listCount, advance, merged, starts,
             [](const uint32_t* list, uint32_t count, uint32_t offset, uint32_t* out) {
               const __m512i offset_u32x16 = _mm512_set1_epi32(static_cast<int>(offset));
               // A first turn in any case: most lists end in it, whatever their length, and so does the loop.
               uint32_t i = 0;
               do {
                 _mm512_storeu_si512(out + i, _mm512_add_epi32(_mm512_loadu_si512(list + i), offset_u32x16));
                 i += 16;
               } while (i < count);
             });
}

namespace {

/// first + indexUnit * number, of 16 numbers.
inline void put16(uint32_t* out, __m128i numbers_u8x16, __m512i first) {
  static_assert(indexUnit == 8, "the shift below");
  _mm512_storeu_si512(out, _mm512_add_epi32(_mm512_slli_epi32(_mm512_cvtepu8_epi32(numbers_u8x16), 3), first));
}

/// The numbers from 16 on.
__attribute__((noinline, cold)) void putRest(uint32_t* out, __m512i packed_u8x64, uint32_t count, __m512i first) {
  alignas(64) uint8_t numbers[64];
  _mm512_store_si512(numbers, packed_u8x64);
  for (uint32_t i = 16; i < count; i += 16) put16(out + i, _mm_load_si128(reinterpret_cast<const __m128i*>(numbers + i)), first);
}

/// Stores first + indexUnit * i for each set bit i of `mask`. More than 16 are rare, so that branch is predicted.
inline uint32_t* put64(uint32_t* out, __mmask64 mask, __m512i numbers_u8x64, __m512i first) {
  const __m512i packed = _mm512_maskz_compress_epi8(mask, numbers_u8x64);
  const uint32_t count = static_cast<uint32_t>(_mm_popcnt_u64(mask));
  put16(out, _mm512_castsi512_si128(packed), first);
  if (__builtin_expect(count > 16, 0)) putRest(out, packed, count, first);
  return out + count;
}

alignas(64) constexpr struct Numbers {
  uint8_t of[64];
} numbers64 = {{0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
                44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63}};

/// `whole`: every cell has 64 words.
template <bool whole>
inline uint32_t* mergeCells(const ListedCell* cells, uint32_t cellCount, uint32_t positions, uint32_t stride, uint32_t advance,
                            const ListRule& rule, const uint32_t* merged, uint32_t* out, uint32_t* starts) {
  const __m512i numbers = _mm512_load_si512(numbers64.of);
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(rule.mask));
  const __m512i value = _mm512_set1_epi8(static_cast<char>(rule.value));
  const __m512i column = _mm512_set1_epi32(static_cast<int>(indexUnit * stride + advance));
  __m512i base = _mm512_setzero_si512();
  size_t at = 0;
  for (uint32_t x = 0; x < positions; ++x, at += stride) {
    *starts++ = static_cast<uint32_t>(out - merged);
#pragma GCC unroll 3
    for (const ListedCell* cell = cells; cell < cells + cellCount; ++cell) {
      const __m512i first = _mm512_add_epi32(base, _mm512_set1_epi32(static_cast<int>(cell->offset)));
      const uint8_t* words = static_cast<const uint8_t*>(cell->words) + at;
      __mmask64 picked;
      if constexpr (whole) {
        picked = _mm512_cmpeq_epi8_mask(_mm512_and_si512(_mm512_loadu_si512(words), mask), value);
      } else {
        const __mmask64 valid = ~uint64_t{0} >> (cellWords - cell->count);
        picked = _mm512_mask_cmpeq_epi8_mask(valid, _mm512_and_si512(_mm512_maskz_loadu_epi8(valid, words), mask), value);
      }
      out = put64(out, picked, numbers, first);
    }
    base = _mm512_add_epi32(base, column);
  }
  *starts = static_cast<uint32_t>(out - merged);
  return out;
}

}  // namespace

void mergeWords_u8__avx512(const ListedCell* cells, uint32_t cellCount, uint32_t positions, uint32_t stride,
                           const ListRule* rules, uint32_t listCount, uint32_t advance, uint32_t* merged,
                           uint32_t* starts) {
  const bool whole = stride % cellWords == 0;
  uint32_t* out = merged + starts[0];
  for (uint32_t l = 0; l < listCount; ++l, starts += positions + 1) {
    out = whole ? mergeCells<true>(cells, cellCount, positions, stride, advance, rules[l], merged, out, starts)
                : mergeCells<false>(cells, cellCount, positions, stride, advance, rules[l], merged, out, starts);
  }
}

}  // namespace noisefloor
