#include <immintrin.h>

#include "bits_avx512.h"
#include "fire_plain.h"
#include "kernels.h"

namespace noisefloor {
namespace {

template <typename Word>
inline __m512i current(const Term* terms, uint32_t termCount, __m512i bias, uint32_t step, uint32_t position,
                       uint32_t w) {
  __m512i sum = bias;
  for (uint32_t i = 0; i < termCount; ++i) {
    const Term& term = terms[i];
    const __m512i multiplier = _mm512_loadu_si512(term.multiplier + w);
    if (term.words != nullptr) {
      sum = _mm512_mask_add_epi32(sum, mask16(static_cast<const Word*>(term.wordsOf(position)) + w, step), sum, multiplier);
      continue;
    }
    const __m512i acc = _mm512_loadu_si512(term.accOf(position) + static_cast<uint64_t>(step) * term.stepStride + w);
    __m512i product = _mm512_mullo_epi32(acc, multiplier);
    if (term.shift != 0) {
      product = _mm512_sra_epi32(_mm512_add_epi32(product, _mm512_set1_epi32(term.half)), _mm_cvtsi32_si128(term.shift));
    }
    sum = _mm512_add_epi32(sum, product);
  }
  return sum;
}

/// Stores 16 words given their low and high 32 bits.
inline void store16(uint8_t* out, __m512i low, __m512i) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(low));
}
inline void store16(uint16_t* out, __m512i low, __m512i) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(low));
}
inline void store16(uint32_t* out, __m512i low, __m512i) { _mm512_storeu_si512(out, low); }
inline void store16(uint64_t* out, __m512i low, __m512i high) {
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  _mm512_storeu_si512(out, _mm512_permutex2var_epi32(low, first, high));
  _mm512_storeu_si512(out + 8, _mm512_permutex2var_epi32(low, second, high));
}

struct Lanes {
  using Vector = __m512i;
  static constexpr uint32_t lanes = 16;
  static Vector load(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void store(int32_t* p, Vector x) { _mm512_storeu_si512(p, x); }
  static Vector set(int32_t x) { return _mm512_set1_epi32(x); }
  static Vector add(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
  static Vector multiply(Vector a, Vector b) { return _mm512_mullo_epi32(a, b); }
  static Vector shiftRight(Vector a, int32_t bits) { return _mm512_sra_epi32(a, _mm_cvtsi32_si128(bits)); }
  template <typename Word>
  static Vector addWhere(Vector sum, const Word* words, uint32_t t, Vector x) {
    return _mm512_mask_add_epi32(sum, mask16(words, t), sum, x);
  }
  static void fire(Vector& v, Vector threshold, Vector& word, Vector bit) {
    const __mmask16 fired = _mm512_cmpge_epi32_mask(v, threshold);
    v = _mm512_mask_sub_epi32(v, fired, v, threshold);
    word = _mm512_mask_or_epi32(word, fired, word, bit);
  }
  template <typename Word>
  static void storeWords(Word* out, Vector low, Vector high) {
    store16(out, low, high);
  }
};

/// Any terms.
template <typename Word>
__attribute__((noinline)) void fireTerms(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps,
                                         uint32_t width, uint32_t position, Word* words) {
  for (uint32_t w = 0; w < width; w += 16) {
    const __m512i bias = _mm512_loadu_si512(neurons.bias + w);
    const __m512i threshold = _mm512_loadu_si512(neurons.threshold + w);
    __m512i v = _mm512_loadu_si512(neurons.initial + position * neurons.initialStride + w);
    __m512i word[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (uint32_t half = 0; half < (sizeof(Word) == 8 ? 2U : 1U); ++half) {
      __m512i bit = _mm512_set1_epi32(1);
      const uint32_t end = steps < 32 * half + 32 ? steps : 32 * half + 32;
      for (uint32_t t = 32 * half; t < end; ++t, bit = _mm512_slli_epi32(bit, 1)) {
        v = _mm512_add_epi32(v, current<Word>(terms, termCount, bias, t, position, w));
        Lanes::fire(v, threshold, word[half], bit);
      }
    }
    store16(words + w, word[0], word[1]);
    if (neurons.last != nullptr) _mm512_storeu_si512(neurons.last + position * neurons.lastStride + w, v);
  }
}

template <typename Word>
inline void fire(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, uint32_t width,
                 const Span& span, void* words) {
  uint8_t* const out = static_cast<uint8_t*>(words);
  if (firePlain<Lanes, Word>(terms, termCount, neurons, steps, width, span, out)) return;
  for (uint32_t p = 0; p < span.count; ++p) {
    fireTerms(terms, termCount, neurons, steps, width, p, reinterpret_cast<Word*>(out + p * span.wordStride));
  }
}

}  // namespace

#define NF_FIRE(name, Word)                                                                          \
  void name##__avx512(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, \
                      uint32_t width, const Span& span, void* words) {                               \
    fire<Word>(terms, termCount, neurons, steps, width, span, words);                                \
  }
NF_FIRE(fire_u8, uint8_t)
NF_FIRE(fire_u16, uint16_t)
NF_FIRE(fire_u32, uint32_t)
NF_FIRE(fire_u64, uint64_t)

}  // namespace noisefloor
