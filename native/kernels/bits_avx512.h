#pragma once
#include <immintrin.h>
#include <stdint.h>

// Internal linkage: every file that includes this has its own copy, compiled for the instruction set of that file.
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

/// 32 bits of 16 consecutive words: all, or of 64 the lower or the upper half.
inline __m512i bits16(const uint8_t* words, uint32_t) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
}
inline __m512i bits16(const uint16_t* words, uint32_t) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
}
inline __m512i bits16(const uint32_t* words, uint32_t) { return _mm512_loadu_si512(words); }
inline __m512i bits16(const uint64_t* words, uint32_t half) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i picked = _mm512_add_epi32(even, _mm512_set1_epi32(static_cast<int>(half)));
  return _mm512_permutex2var_epi32(_mm512_loadu_si512(words), picked, _mm512_loadu_si512(words + 8));
}

}  // namespace
}  // namespace noisefloor
