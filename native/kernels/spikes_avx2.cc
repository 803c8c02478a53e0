#include <immintrin.h>

#include "kernels.h"

namespace noisefloor {
namespace {

/// of[m]: the indices of the set bits of byte m, packed to the front.
struct BitPositions {
  uint8_t of[256][8];
};

constexpr BitPositions makeBitPositions() {
  BitPositions table = {};
  for (int byte = 0; byte < 256; ++byte) {
    int count = 0;
    for (int bit = 0; bit < 8; ++bit) {
      if ((byte >> bit) & 1) table.of[byte][count++] = static_cast<uint8_t>(bit);
    }
  }
  return table;
}

alignas(64) constexpr BitPositions bitPositions = makeBitPositions();

/// Bit t of 16 consecutive words as a 16-bit mask. The shift brings bit t to the sign, which movemask collects.
inline uint32_t mask16(const uint8_t* words, uint32_t t) {
  const __m128i w = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_sll_epi16(w, _mm_cvtsi32_si128(static_cast<int>(7 - t)))));
}
inline uint32_t mask16(const uint16_t* words, uint32_t t) {
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words));
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words + 8));
  const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(15 - t));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(_mm_sll_epi16(a, shift), _mm_sll_epi16(b, shift))));
}
inline uint32_t mask16(const uint32_t* words, uint32_t t) {
  const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(31 - t));
  uint32_t mask = 0;
  for (uint32_t i = 0; i < 2; ++i) {
    const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + 8 * i));
    const int byte = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_sll_epi32(w, shift)));
    mask |= static_cast<uint32_t>(byte) << (8 * i);
  }
  return mask;
}
inline uint32_t mask16(const uint64_t* words, uint32_t t) {
  const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(63 - t));
  uint32_t mask = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + 4 * i));
    const int nibble = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_sll_epi64(w, shift)));
    mask |= static_cast<uint32_t>(nibble) << (4 * i);
  }
  return mask;
}

/// Stores first + i for each set bit i of `byte`, and what lies behind them is overwritten later.
inline uint32_t* putBits(uint32_t* out, uint32_t byte, uint32_t first) {
  const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bitPositions.of[byte]));
  const __m256i list = _mm256_add_epi32(_mm256_cvtepu8_epi32(bits), _mm256_set1_epi32(static_cast<int>(first)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), list);
  return out + _mm_popcnt_u32(byte);
}

template <typename Word>
inline void index(const void* words, uint32_t positions, uint32_t stride, uint32_t steps, uint32_t* indices,
                  uint32_t* starts) {
  const Word* word = static_cast<const Word*>(words);
  uint32_t* out = indices + starts[0];
  for (uint32_t t = 0; t < steps; ++t) {
    uint32_t i = 0;
    for (uint32_t x = 0; x < positions; ++x) {
      *starts++ = static_cast<uint32_t>(out - indices);
      for (const uint32_t end = i + stride; i < end; i += 16) {
        // Both bytes, empty ones too: a branch on them is mispredicted, eight entries stored in vain are not.
        const uint32_t mask = mask16(word + i, t);
        out = putBits(out, mask & 0xff, i);
        out = putBits(out, mask >> 8, i + 8);
      }
    }
    *starts++ = static_cast<uint32_t>(out - indices);
  }
}

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

template <typename Word>
inline void identity(const void* words, uint32_t steps, uint32_t width, int32_t* acc) {
  const __m256i one = _mm256_set1_epi32(1);
  for (uint32_t w = 0; w < width; w += 8) {
    __m256i bits = _mm256_setzero_si256();
    for (uint32_t t = 0; t < steps; ++t) {
      if (t % 32 == 0) bits = bits8(static_cast<const Word*>(words) + w, t / 32);
      __m256i* target = reinterpret_cast<__m256i*>(acc + static_cast<uint64_t>(t) * width + w);
      _mm256_storeu_si256(target, _mm256_add_epi32(_mm256_loadu_si256(target), _mm256_and_si256(bits, one)));
      bits = _mm256_srli_epi32(bits, 1);
    }
  }
}

}  // namespace

#define NF_SPIKES(suffix, Word)                                                                             \
  void index_##suffix##__avx2(const void* words, uint32_t positions, uint32_t stride, uint32_t steps,       \
                              uint32_t* indices, uint32_t* starts) {                                        \
    index<Word>(words, positions, stride, steps, indices, starts);                                          \
  }                                                                                                         \
  void identity_##suffix##__avx2(const void* words, uint32_t steps, uint32_t width, int32_t* acc) {         \
    identity<Word>(words, steps, width, acc);                                                               \
  }
NF_SPIKES(u8, uint8_t)
NF_SPIKES(u16, uint16_t)
NF_SPIKES(u32, uint32_t)
NF_SPIKES(u64, uint64_t)

uint32_t* rows__avx2(const uint32_t* indices, const Segment* segments, uint32_t segmentCount, uint32_t steps,
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
      const __m256i base = _mm256_set1_epi32(static_cast<int>(segment.base));
      // 32 entries at least: most lists end in the first turn, whatever their length, and so does the loop.
      uint32_t i = 0;
      do {
        for (const uint32_t end = i + 32; i < end; i += 8) {
          const __m256i index = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(list + i));
          const __m256i row = _mm256_sll_epi32(_mm256_add_epi32(index, base), rowShift);
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), row);
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
