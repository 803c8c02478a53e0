#include "kernels.h"
#include "merge.h"

namespace noisefloor {
namespace {

template <typename Word>
inline void index(const void* words, uint32_t positions, uint32_t stride, const ListRule* rules, uint32_t listCount,
                  uint32_t* indices, uint32_t* starts) {
  const Word* word = static_cast<const Word*>(words);
  uint32_t end = starts[0];
  for (uint32_t l = 0; l < listCount; ++l) {
    for (uint32_t x = 0; x < positions; ++x) {
      *starts++ = end;
      for (uint32_t i = x * stride; i < (x + 1) * stride; ++i) {
        indices[end] = indexUnit * i;
        end += (word[i] & rules[l].mask) == rules[l].value ? 1 : 0;
      }
    }
    *starts++ = end;
  }
}

template <typename Word>
inline void diagonal(const void* words, const int32_t* weights, uint32_t steps, uint32_t width, int32_t* acc) {
  const Word* word = static_cast<const Word*>(words);
  for (uint32_t t = 0; t < steps; ++t) {
    for (uint32_t w = 0; w < width; ++w) acc[t * width + w] += (word[w] >> t) & 1 ? weights[w] : 0;
  }
}

}  // namespace

#define NF_SPIKES(suffix, Word)                                                                                  \
  void index_##suffix##__scalar(const void* words, uint32_t positions, uint32_t stride, const ListRule* rules, \
  uint32_t listCount, uint32_t* indices, uint32_t* starts) { \
    index<Word>(words, positions, stride, rules, listCount, indices, starts);                                               \
  }                                                                                                              \
  void diagonal_##suffix##__scalar(const void* words, const int32_t* weights, uint32_t steps, uint32_t width,    \
                                  int32_t* acc) {                                                                \
    diagonal<Word>(words, weights, steps, width, acc);                                                           \
  }
NF_SPIKES(u8, uint8_t)
NF_SPIKES(u16, uint16_t)
NF_SPIKES(u32, uint32_t)
NF_SPIKES(u64, uint64_t)

void merge__scalar(const uint32_t* indices, const ListedRow* rows, uint32_t rowCount, uint32_t positions, uint32_t listCount,
                   uint32_t advance, uint32_t* merged, uint32_t* starts) {
  mergeLists(indices, rows, rowCount, positions, listCount, advance, merged, starts,
             [](const uint32_t* list, uint32_t count, uint32_t offset, uint32_t* out) {
               for (uint32_t i = 0; i < count; ++i) out[i] = list[i] + offset;
             });
}

void mergeWords_u8__scalar(const ListedCell* cells, uint32_t cellCount, uint32_t positions, uint32_t stride,
                           const ListRule* rules, uint32_t listCount, uint32_t advance, uint32_t* merged,
                           uint32_t* starts) {
  uint32_t end = starts[0];
  for (uint32_t l = 0; l < listCount; ++l) {
    for (uint32_t x = 0; x < positions; ++x) {
      *starts++ = end;
      for (uint32_t k = 0; k < cellCount; ++k) {
        const uint8_t* words = static_cast<const uint8_t*>(cells[k].words) + static_cast<uint64_t>(x) * stride;
        const uint32_t first = indexUnit * x * stride + x * advance + cells[k].offset;
        for (uint32_t c = 0; c < cells[k].count; ++c) {
          if ((words[c] & rules[l].mask) == rules[l].value) merged[end++] = first + indexUnit * c;
        }
      }
    }
    *starts++ = end;
  }
}

}  // namespace noisefloor
