#pragma once
#include <immintrin.h>
#include <stdint.h>

// Internal linkage: every file that includes this has its own copy, compiled for the instruction set of that file.
namespace noisefloor {
namespace {

/// 32 bits, from bit 32 * half on, of 8 consecutive words.
inline __m256i bits8(const uint8_t* words, uint32_t) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(words)));
}
inline __m256i bits8(const uint16_t* words, uint32_t) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
}
inline __m256i bits8(const uint32_t* words, uint32_t) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}
inline __m256i bits8(const uint64_t* words, uint32_t half) {
  const __m256 a = _mm256_loadu_ps(reinterpret_cast<const float*>(words));
  const __m256 b = _mm256_loadu_ps(reinterpret_cast<const float*>(words + 4));
  const __m256 picked = half == 0 ? _mm256_shuffle_ps(a, b, 0x88) : _mm256_shuffle_ps(a, b, 0xdd);
  return _mm256_permute4x64_epi64(_mm256_castps_si256(picked), 0xd8);
}

}  // namespace
}  // namespace noisefloor
