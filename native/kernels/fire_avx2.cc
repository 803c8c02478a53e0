#include <immintrin.h>

#include "bits_avx2.h"
#include "kernels.h"

namespace noisefloor {
namespace {

inline __m256i load8(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

/// The caller passes termCount as a constant for the common numbers, so that the loop unrolls.
template <typename Word>
inline __m256i current(const Term* terms, uint32_t termCount, __m256i bias, uint32_t step, uint32_t w) {
  __m256i sum = bias;
  for (uint32_t i = 0; i < termCount; ++i) {
    const Term& term = terms[i];
    const __m256i multiplier = load8(term.multiplier + w);
    if (term.words != nullptr) {
      const __m256i bits = bits8(static_cast<const Word*>(term.words) + w, step / 32);
      const __m256i first = _mm256_sll_epi32(bits, _mm_cvtsi32_si128(static_cast<int>(31 - step % 32)));
      sum = _mm256_add_epi32(sum, _mm256_and_si256(_mm256_srai_epi32(first, 31), multiplier));
      continue;
    }
    const __m256i acc = load8(term.acc + static_cast<uint64_t>(step) * term.stepStride + w);
    __m256i product = _mm256_mullo_epi32(acc, multiplier);
    if (term.shift != 0) {
      product = _mm256_sra_epi32(_mm256_add_epi32(product, _mm256_set1_epi32(term.half)), _mm_cvtsi32_si128(term.shift));
    }
    sum = _mm256_add_epi32(sum, product);
  }
  return sum;
}

/// Stores 8 words given their low and high 32 bits.
inline void store8(uint8_t* out, __m256i low, __m256i) {
  const __m128i u16x8 = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packus_epi16(u16x8, u16x8));
}
inline void store8(uint16_t* out, __m256i low, __m256i) {
  const __m128i u16x8 = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), u16x8);
}
inline void store8(uint32_t* out, __m256i low, __m256i) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), low); }
inline void store8(uint64_t* out, __m256i low, __m256i high) {
  const __m256i a = _mm256_unpacklo_epi32(low, high);
  const __m256i b = _mm256_unpackhi_epi32(low, high);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute2x128_si256(a, b, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 4), _mm256_permute2x128_si256(a, b, 0x31));
}

template <typename Word>
__attribute__((always_inline)) inline void fireTerms(const Term* terms, uint32_t termCount, const Neurons& neurons,
                                                     uint32_t steps, uint32_t width, void* words) {
  for (uint32_t w = 0; w < width; w += 8) {
    const __m256i bias = load8(neurons.bias + w);
    const __m256i threshold = load8(neurons.threshold + w);
    __m256i v = load8(neurons.initial + w);
    __m256i word[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (uint32_t half = 0; half < (sizeof(Word) == 8 ? 2U : 1U); ++half) {
      __m256i bit = _mm256_set1_epi32(1);
      const uint32_t end = steps < 32 * half + 32 ? steps : 32 * half + 32;
      for (uint32_t t = 32 * half; t < end; ++t, bit = _mm256_slli_epi32(bit, 1)) {
        v = _mm256_add_epi32(v, current<Word>(terms, termCount, bias, t, w));
        const __m256i silent = _mm256_cmpgt_epi32(threshold, v);
        v = _mm256_sub_epi32(v, _mm256_andnot_si256(silent, threshold));
        word[half] = _mm256_or_si256(word[half], _mm256_andnot_si256(silent, bit));
      }
    }
    store8(static_cast<Word*>(words) + w, word[0], word[1]);
    if (neurons.last != nullptr) _mm256_storeu_si256(reinterpret_cast<__m256i*>(neurons.last + w), v);
  }
}

template <typename Word>
inline void fire(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, uint32_t width,
                 void* words) {
  if (termCount == 1) return fireTerms<Word>(terms, 1, neurons, steps, width, words);
  if (termCount == 2) return fireTerms<Word>(terms, 2, neurons, steps, width, words);
  fireTerms<Word>(terms, termCount, neurons, steps, width, words);
}

}  // namespace

#define NF_FIRE(name, Word)                                                                                  \
  void name##__avx2(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps,           \
                    uint32_t width, void* words) {                                                           \
    fire<Word>(terms, termCount, neurons, steps, width, words);                                              \
  }
NF_FIRE(fire_u8, uint8_t)
NF_FIRE(fire_u16, uint16_t)
NF_FIRE(fire_u32, uint32_t)
NF_FIRE(fire_u64, uint64_t)

}  // namespace noisefloor
