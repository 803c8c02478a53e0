#include <immintrin.h>

#include "bits_avx2.h"
#include "fire_plain.h"
#include "kernels.h"

namespace noisefloor {
namespace {

/// x where bit t of 8 consecutive words is set, else 0.
template <typename Word>
inline __m256i where8(const Word* words, uint32_t t, __m256i x) {
  const __m256i first = _mm256_sll_epi32(bits8(words, t / 32), _mm_cvtsi32_si128(static_cast<int>(31 - t % 32)));
  return _mm256_and_si256(_mm256_srai_epi32(first, 31), x);
}

inline __m256i load8(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

template <typename Word>
inline __m256i current(const Term* terms, uint32_t termCount, __m256i bias, uint32_t step, uint32_t position,
                       uint32_t w) {
  __m256i sum = bias;
  for (uint32_t i = 0; i < termCount; ++i) {
    const Term& term = terms[i];
    const __m256i multiplier = load8(term.multiplier + w);
    if (term.words != nullptr) {
      sum = _mm256_add_epi32(sum, where8(static_cast<const Word*>(term.wordsOf(position)) + w, step, multiplier));
      continue;
    }
    const __m256i acc = load8(term.accOf(position) + static_cast<uint64_t>(step) * term.stepStride + w);
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

struct Lanes {
  using Vector = __m256i;
  static constexpr uint32_t lanes = 8;
  static Vector load(const int32_t* p) { return load8(p); }
  static void store(int32_t* p, Vector x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  static Vector set(int32_t x) { return _mm256_set1_epi32(x); }
  static Vector add(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
  static Vector multiply(Vector a, Vector b) { return _mm256_mullo_epi32(a, b); }
  static Vector shiftRight(Vector a, int32_t bits) { return _mm256_sra_epi32(a, _mm_cvtsi32_si128(bits)); }
  template <typename Word>
  static Vector addWhere(Vector sum, const Word* words, uint32_t t, Vector x) {
    return _mm256_add_epi32(sum, where8(words, t, x));
  }
  static void fire(Vector& v, Vector threshold, Vector& word, Vector bit) {
    const __m256i silent = _mm256_cmpgt_epi32(threshold, v);
    v = _mm256_sub_epi32(v, _mm256_andnot_si256(silent, threshold));
    word = _mm256_or_si256(word, _mm256_andnot_si256(silent, bit));
  }
  template <typename Word>
  static void storeWords(Word* out, Vector low, Vector high) {
    store8(out, low, high);
  }
};

/// Any terms.
template <typename Word>
__attribute__((noinline)) void fireTerms(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps,
                                         uint32_t width, uint32_t position, Word* words) {
  for (uint32_t w = 0; w < width; w += 8) {
    const __m256i bias = load8(neurons.bias + w);
    const __m256i threshold = load8(neurons.threshold + w);
    __m256i v = load8(neurons.initial + position * neurons.initialStride + w);
    __m256i word[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (uint32_t half = 0; half < (sizeof(Word) == 8 ? 2U : 1U); ++half) {
      __m256i bit = _mm256_set1_epi32(1);
      const uint32_t end = steps < 32 * half + 32 ? steps : 32 * half + 32;
      for (uint32_t t = 32 * half; t < end; ++t, bit = _mm256_slli_epi32(bit, 1)) {
        v = _mm256_add_epi32(v, current<Word>(terms, termCount, bias, t, position, w));
        Lanes::fire(v, threshold, word[half], bit);
      }
    }
    store8(words + w, word[0], word[1]);
    if (neurons.last != nullptr) _mm256_storeu_si256(reinterpret_cast<__m256i*>(neurons.last + position * neurons.lastStride + w), v);
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

#define NF_FIRE(name, Word)                                                                        \
  void name##__avx2(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, \
                    uint32_t width, const Span& span, void* words) {                               \
    fire<Word>(terms, termCount, neurons, steps, width, span, words);                              \
  }
NF_FIRE(fire_u8, uint8_t)
NF_FIRE(fire_u16, uint16_t)
NF_FIRE(fire_u32, uint32_t)
NF_FIRE(fire_u64, uint64_t)

}  // namespace noisefloor
