#include <immintrin.h>

#include "bits_avx512.h"
#include "kernels.h"

namespace noisefloor {
namespace {

template <typename Word>
inline void index(const void* words, uint32_t positions, uint32_t stride, uint32_t steps, uint32_t* indices,
                  uint32_t* starts) {
  const Word* word = static_cast<const Word*>(words);
  const __m512i sixteen = _mm512_set1_epi32(16 * indexUnit);
  uint32_t* out = indices + starts[0];
  for (uint32_t t = 0; t < steps; ++t) {
    __m512i all = _mm512_setr_epi32(0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120);
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

void merge__avx512(const uint32_t* indices, const ListedRow* rows, uint32_t rowCount, uint32_t positions, uint32_t steps,
                   uint32_t advance, uint32_t* merged, uint32_t* starts) {
  uint32_t* out = merged + starts[0];
  const uint64_t stepStride = static_cast<uint64_t>(positions) + 1;
  for (uint32_t t = 0; t < steps; ++t) {
    uint32_t shift = 0;
    for (uint32_t x = 0; x < positions; ++x, shift += advance) {
      *starts++ = static_cast<uint32_t>(out - merged);
      for (uint32_t r = 0; r < rowCount; ++r) {
        const uint32_t* bounds = rows[r].starts + t * stepStride + x;
        const uint32_t* list = indices + bounds[0];
        const uint32_t count = bounds[1] - bounds[0];
        const __m512i offset = _mm512_set1_epi32(static_cast<int>(shift + rows[r].offset));
        // A first turn in any case: most lists end in it, whatever their length, and so does the loop.
        uint32_t i = 0;
        do {
          _mm512_storeu_si512(out + i, _mm512_add_epi32(_mm512_loadu_si512(list + i), offset));
          i += 16;
        } while (i < count);
        out += count;
      }
    }
    *starts++ = static_cast<uint32_t>(out - merged);
  }
}

}  // namespace noisefloor
