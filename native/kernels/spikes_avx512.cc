#include <immintrin.h>

#include "kernels.h"

namespace noisefloor {
namespace {

/// Bit t of 16 consecutive words.
inline __mmask16 mask16(const uint8_t* words, uint32_t t) {
  const __m128i bit = _mm_set1_epi8(static_cast<char>(1U << t));
  return _mm_test_epi8_mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)), bit);
}
inline __mmask16 mask16(const uint16_t* words, uint32_t t) {
  const __m256i bit = _mm256_set1_epi16(static_cast<short>(1U << t));
  return _mm256_test_epi16_mask(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)), bit);
}
inline __mmask16 mask16(const uint32_t* words, uint32_t t) {
  return _mm512_test_epi32_mask(_mm512_loadu_si512(words), _mm512_set1_epi32(static_cast<int>(1U << t)));
}
inline __mmask16 mask16(const uint64_t* words, uint32_t t) {
  const __m512i bit = _mm512_set1_epi64(static_cast<long long>(1ULL << t));
  const uint32_t low = _mm512_test_epi64_mask(_mm512_loadu_si512(words), bit);
  const uint32_t high = _mm512_test_epi64_mask(_mm512_loadu_si512(words + 8), bit);
  return static_cast<__mmask16>(low | high << 8);
}

template <typename Word>
inline void index(const void* words, uint32_t positions, uint32_t stride, uint32_t steps, uint32_t* indices,
                  uint32_t* starts) {
  const Word* word = static_cast<const Word*>(words);
  const __m512i sixteen = _mm512_set1_epi32(16);
  uint32_t* out = indices + starts[0];
  for (uint32_t t = 0; t < steps; ++t) {
    __m512i all = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    uint32_t i = 0;
    for (uint32_t x = 0; x < positions; ++x) {
      *starts++ = static_cast<uint32_t>(out - indices);
      for (const uint32_t end = i + stride; i < end; i += 16) {
        // Empty masks too: a branch on them is mispredicted, sixteen entries stored in vain are not.
        const __mmask16 mask = mask16(word + i, t);
        _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(mask, all));
        out += _mm_popcnt_u32(mask);
        all = _mm512_add_epi32(all, sixteen);
      }
    }
    *starts++ = static_cast<uint32_t>(out - indices);
  }
}

}  // namespace

#define NF_INDEX(name, Word)                                                                                     \
  void name##__avx512(const void* words, uint32_t positions, uint32_t stride, uint32_t steps, uint32_t* indices, \
                      uint32_t* starts) {                                                                        \
    index<Word>(words, positions, stride, steps, indices, starts);                                               \
  }
NF_INDEX(index_u8, uint8_t)
NF_INDEX(index_u16, uint16_t)
NF_INDEX(index_u32, uint32_t)
NF_INDEX(index_u64, uint64_t)

uint32_t* rows__avx512(const uint32_t* indices, const Segment* segments, uint32_t segmentCount, uint32_t steps,
                       uint32_t shift, uint32_t zeroRow, uint32_t* offsets, uint32_t* counts) {
  const __m128i rowShift = _mm_cvtsi32_si128(static_cast<int>(shift));
  const __m128i zero = _mm_set1_epi32(static_cast<int>(zeroRow));
  for (uint32_t t = 0; t < steps; ++t) {
    uint32_t* out = offsets;
    for (uint32_t s = 0; s < segmentCount; ++s) {
      const Segment& segment = segments[s];
      const uint32_t* starts = segment.starts + static_cast<uint64_t>(t) * segment.stepStride;
      const uint32_t* list = indices + starts[0];
      const uint32_t count = starts[segment.positions] - starts[0];
      const __m512i base = _mm512_set1_epi32(static_cast<int>(segment.base));
      // 32 entries at least: most lists end in the first turn, whatever their length, and so does the loop.
      uint32_t i = 0;
      do {
        for (const uint32_t end = i + 32; i < end; i += 16) {
          const __m512i row = _mm512_add_epi32(_mm512_loadu_si512(list + i), base);
          _mm512_storeu_si512(out + i, _mm512_sll_epi32(row, rowShift));
        }
      } while (i < count);
      out += count;
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), zero);
    counts[t] = (static_cast<uint32_t>(out - offsets) + 3) & ~3U;
    offsets += counts[t];
  }
  return offsets;
}

}  // namespace noisefloor
