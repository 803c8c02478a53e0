#include <immintrin.h>

#include "bits_avx2.h"
#include "kernels.h"
#include "merge.h"

namespace noisefloor {
namespace {

/// of[m]: the indices of the set bits of byte m, packed to the front, in units of indexUnit.
struct BitPositions {
  uint8_t of[256][8];
};

constexpr BitPositions makeBitPositions() {
  BitPositions table = {};
  for (int byte = 0; byte < 256; ++byte) {
    int count = 0;
    for (int bit = 0; bit < 8; ++bit) {
      if ((byte >> bit) & 1) table.of[byte][count++] = static_cast<uint8_t>(indexUnit * bit);
    }
  }
  return table;
}

alignas(64) constexpr BitPositions bitPositions = makeBitPositions();

/// Of 16 consecutive words, as a 16-bit mask: which does a rule pick?
template <typename Word>
struct Equal16;

template <>
struct Equal16<uint8_t> {
  __m128i mask, value;
  explicit Equal16(const ListRule& r)
      : mask(_mm_set1_epi8(static_cast<char>(r.mask))), value(_mm_set1_epi8(static_cast<char>(r.value))) {}
  uint32_t operator()(const uint8_t* w) const {
    const __m128i word = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w));
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(word, mask), value)));
  }
};
template <>
struct Equal16<uint16_t> {
  __m128i mask, value;
  explicit Equal16(const ListRule& r)
      : mask(_mm_set1_epi16(static_cast<short>(r.mask))), value(_mm_set1_epi16(static_cast<short>(r.value))) {}
  __m128i eight(const uint16_t* w) const {
    return _mm_cmpeq_epi16(_mm_and_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)), mask), value);
  }
  uint32_t operator()(const uint16_t* w) const {
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(eight(w), eight(w + 8))));
  }
};
template <>
struct Equal16<uint32_t> {
  __m256i mask, value;
  explicit Equal16(const ListRule& r)
      : mask(_mm256_set1_epi32(static_cast<int>(r.mask))), value(_mm256_set1_epi32(static_cast<int>(r.value))) {}
  uint32_t eight(const uint32_t* w) const {
    const __m256i word = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i equal = _mm256_cmpeq_epi32(_mm256_and_si256(word, mask), value);
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(equal)));
  }
  uint32_t operator()(const uint32_t* w) const { return eight(w) | eight(w + 8) << 8; }
};
template <>
struct Equal16<uint64_t> {
  __m256i mask, value;
  explicit Equal16(const ListRule& r)
      : mask(_mm256_set1_epi64x(static_cast<long long>(r.mask))), value(_mm256_set1_epi64x(static_cast<long long>(r.value))) {}
  uint32_t four(const uint64_t* w) const {
    const __m256i word = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i equal = _mm256_cmpeq_epi64(_mm256_and_si256(word, mask), value);
    return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(equal)));
  }
  uint32_t operator()(const uint64_t* w) const {
    return four(w) | four(w + 4) << 4 | four(w + 8) << 8 | four(w + 12) << 12;
  }
};

/// Stores indexUnit * (first + i) for each set bit i of `byte`; what lies behind them is overwritten later.
inline uint32_t* putBits(uint32_t* out, uint32_t byte, uint32_t first) {
  const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bitPositions.of[byte]));
  const __m256i list = _mm256_add_epi32(_mm256_cvtepu8_epi32(bits), _mm256_set1_epi32(static_cast<int>(indexUnit * first)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), list);
  return out + _mm_popcnt_u32(byte);
}

template <typename Word>
inline void index(const void* words, uint32_t positions, uint32_t stride, const ListRule* rules, uint32_t listCount,
                  uint32_t* indices, uint32_t* starts) {
  const Word* word = static_cast<const Word*>(words);
  uint32_t* out = indices + starts[0];
  for (uint32_t l = 0; l < listCount; ++l) {
    const Equal16<Word> picked(rules[l]);
    uint32_t i = 0;
    for (uint32_t x = 0; x < positions; ++x) {
      *starts++ = static_cast<uint32_t>(out - indices);
      for (const uint32_t end = i + stride; i < end; i += 16) {
        // Both bytes, empty ones too: a branch on them is mispredicted, eight entries stored in vain are not.
        const uint32_t mask = picked(word + i);
        out = putBits(out, mask & 0xff, i);
        out = putBits(out, mask >> 8, i + 8);
      }
    }
    *starts++ = static_cast<uint32_t>(out - indices);
  }
}

template <typename Word>
inline void diagonal(const void* words, const int32_t* weights, uint32_t steps, uint32_t width, int32_t* acc) {
  for (uint32_t w = 0; w < width; w += 8) {
    const __m256i weight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + w));
    __m256i bits = _mm256_setzero_si256();
    for (uint32_t t = 0; t < steps; ++t) {
      if (t % 32 == 0) bits = bits8(static_cast<const Word*>(words) + w, t / 32);
      __m256i* target = reinterpret_cast<__m256i*>(acc + static_cast<uint64_t>(t) * width + w);
      const __m256i spikes = _mm256_srai_epi32(_mm256_slli_epi32(bits, 31), 31);
      _mm256_storeu_si256(target, _mm256_add_epi32(_mm256_loadu_si256(target), _mm256_and_si256(spikes, weight)));
      bits = _mm256_srli_epi32(bits, 1);
    }
  }
}

}  // namespace

#define NF_SPIKES(suffix, Word)                                                                             \
  void index_##suffix##__avx2(const void* words, uint32_t positions, uint32_t stride, const ListRule* rules, \
  uint32_t listCount, uint32_t* indices, uint32_t* starts) { \
    index<Word>(words, positions, stride, rules, listCount, indices, starts);                                          \
  }                                                                                                         \
  void diagonal_##suffix##__avx2(const void* words, const int32_t* weights, uint32_t steps, uint32_t width, \
                                  int32_t* acc) {                                                           \
    diagonal<Word>(words, weights, steps, width, acc);                                                      \
  }
NF_SPIKES(u8, uint8_t)
NF_SPIKES(u16, uint16_t)
NF_SPIKES(u32, uint32_t)
NF_SPIKES(u64, uint64_t)

void merge__avx2(const uint32_t* indices, const ListedRow* rows, uint32_t rowCount, uint32_t positions, uint32_t listCount,
                 uint32_t advance, uint32_t* merged, uint32_t* starts) {
  mergeLists(indices, rows, rowCount, positions, listCount, advance, merged, starts,
             [](const uint32_t* list, uint32_t count, uint32_t offset, uint32_t* out) {
               const __m256i offset_u32x8 = _mm256_set1_epi32(static_cast<int>(offset));
               // A first turn in any case: most lists end in it, whatever their length, and so does the loop.
               uint32_t i = 0;
               do {
                 for (const uint32_t end = i + 16; i < end; i += 8) {
                   const __m256i index = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(list + i));
                   _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_add_epi32(index, offset_u32x8));
                 }
               } while (i < count);
             });
}

}  // namespace noisefloor
