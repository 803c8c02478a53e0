#include "kernels.h"

namespace noisefloor {
namespace {

template <typename Word>
inline void index(const void* words, uint32_t positions, uint32_t stride, uint32_t steps, uint32_t* indices,
                  uint32_t* starts) {
  const Word* word = static_cast<const Word*>(words);
  uint32_t end = starts[0];
  for (uint32_t t = 0; t < steps; ++t) {
    for (uint32_t x = 0; x < positions; ++x) {
      *starts++ = end;
      for (uint32_t i = x * stride; i < (x + 1) * stride; ++i) {
        indices[end] = i;
        end += static_cast<uint32_t>((word[i] >> t) & 1);
      }
    }
    *starts++ = end;
  }
}

template <typename Word>
inline void identity(const void* words, uint32_t steps, uint32_t width, int32_t* acc) {
  const Word* word = static_cast<const Word*>(words);
  for (uint32_t t = 0; t < steps; ++t) {
    for (uint32_t w = 0; w < width; ++w) acc[t * width + w] += static_cast<int32_t>((word[w] >> t) & 1);
  }
}

}  // namespace

#define NF_SPIKES(suffix, Word)                                                                                  \
  void index_##suffix##__scalar(const void* words, uint32_t positions, uint32_t stride, uint32_t steps,          \
                                uint32_t* indices, uint32_t* starts) {                                           \
    index<Word>(words, positions, stride, steps, indices, starts);                                               \
  }                                                                                                              \
  void identity_##suffix##__scalar(const void* words, uint32_t steps, uint32_t width, int32_t* acc) {            \
    identity<Word>(words, steps, width, acc);                                                                    \
  }
NF_SPIKES(u8, uint8_t)
NF_SPIKES(u16, uint16_t)
NF_SPIKES(u32, uint32_t)
NF_SPIKES(u64, uint64_t)

uint32_t* rows__scalar(const uint32_t* indices, const Segment* segments, uint32_t segmentCount, uint32_t steps,
                       uint32_t shift, uint32_t zeroRow, uint32_t* offsets, uint32_t* counts) {
  for (uint32_t t = 0; t < steps; ++t) {
    uint32_t count = 0;
    for (uint32_t s = 0; s < segmentCount; ++s) {
      const uint32_t* starts = segments[s].starts + t * segments[s].stepStride;
      for (uint32_t i = starts[0]; i < starts[segments[s].positions]; ++i) {
        offsets[count++] = (segments[s].base + indices[i]) << shift;
      }
    }
    while (count % 4 != 0) offsets[count++] = zeroRow;
    counts[t] = count;
    offsets += count;
  }
  return offsets;
}

}  // namespace noisefloor
