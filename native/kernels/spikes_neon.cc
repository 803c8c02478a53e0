#include <arm_neon.h>

#include "bits_neon.h"
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

/// Which of 16 consecutive words does a rule pick? 0xff or 0 for each.
template <typename Word>
struct Equal16;

template <>
struct Equal16<uint8_t> {
  uint8x16_t mask, value;
  explicit Equal16(const ListRule& r)
      : mask(vdupq_n_u8(static_cast<uint8_t>(r.mask))), value(vdupq_n_u8(static_cast<uint8_t>(r.value))) {}
  uint8x16_t operator()(const uint8_t* w) const { return vceqq_u8(vandq_u8(vld1q_u8(w), mask), value); }
};
template <>
struct Equal16<uint16_t> {
  uint16x8_t mask, value;
  explicit Equal16(const ListRule& r)
      : mask(vdupq_n_u16(static_cast<uint16_t>(r.mask))), value(vdupq_n_u16(static_cast<uint16_t>(r.value))) {}
  uint8x16_t eight(const uint16_t* w) const {
    return vreinterpretq_u8_u16(vceqq_u16(vandq_u16(vld1q_u16(w), mask), value));
  }
  uint8x16_t operator()(const uint16_t* w) const { return vuzp1q_u8(eight(w), eight(w + 8)); }
};
template <>
struct Equal16<uint32_t> {
  uint32x4_t mask, value;
  explicit Equal16(const ListRule& r)
      : mask(vdupq_n_u32(static_cast<uint32_t>(r.mask))), value(vdupq_n_u32(static_cast<uint32_t>(r.value))) {}
  uint16x8_t four(const uint32_t* w) const {
    return vreinterpretq_u16_u32(vceqq_u32(vandq_u32(vld1q_u32(w), mask), value));
  }
  uint8x16_t eight(const uint32_t* w) const { return vreinterpretq_u8_u16(vuzp1q_u16(four(w), four(w + 4))); }
  uint8x16_t operator()(const uint32_t* w) const { return vuzp1q_u8(eight(w), eight(w + 8)); }
};
template <>
struct Equal16<uint64_t> {
  uint64x2_t mask, value;
  explicit Equal16(const ListRule& r) : mask(vdupq_n_u64(r.mask)), value(vdupq_n_u64(r.value)) {}
  uint32x4_t two(const uint64_t* w) const {
    return vreinterpretq_u32_u64(vceqq_u64(vandq_u64(vld1q_u64(w), mask), value));
  }
  uint16x8_t four(const uint64_t* w) const { return vreinterpretq_u16_u32(vuzp1q_u32(two(w), two(w + 2))); }
  uint8x16_t eight(const uint64_t* w) const { return vreinterpretq_u8_u16(vuzp1q_u16(four(w), four(w + 4))); }
  uint8x16_t operator()(const uint64_t* w) const { return vuzp1q_u8(eight(w), eight(w + 8)); }
};

/// Stores first + indexUnit * i for each set bit i of `byte`; what lies behind them is overwritten later.
inline void putBits(uint32_t* out, uint32_t byte, uint32_t first) {
  const uint16x8_t bits = vmovl_u8(vld1_u8(bitPositions.of[byte]));
  const uint32x4_t base = vdupq_n_u32(first);
  vst1q_u32(out, vaddw_u16(base, vget_low_u16(bits)));
  vst1q_u32(out + 4, vaddw_high_u16(base, bits));
}

constexpr uint8_t bitOfLane[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};

template <typename Word>
inline void index(const void* words, uint32_t positions, uint32_t stride, const ListRule* rules, uint32_t listCount,
                  uint32_t* indices, uint32_t* starts) {
  const Word* word = static_cast<const Word*>(words);
  const uint8x16_t bits = vld1q_u8(bitOfLane);
  uint32_t* out = indices + starts[0];
  for (uint32_t l = 0; l < listCount; ++l) {
    const Equal16<Word> picked(rules[l]);
    uint32_t i = 0;
    for (uint32_t x = 0; x < positions; ++x) {
      *starts++ = static_cast<uint32_t>(out - indices);
      for (const uint32_t end = i + stride; i < end; i += 16) {
        // Both bytes, empty ones too: a branch on them is mispredicted, eight entries stored in vain are not.
        const uint8x16_t lanes = vandq_u8(picked(word + i), bits);
        const uint8x8_t pairs = vpadd_u8(vget_low_u8(lanes), vget_high_u8(lanes));
        const uint8x8_t quads = vpadd_u8(pairs, pairs);
        const uint8x8_t bytes = vpadd_u8(quads, quads);
        const uint8x8_t counts = vcnt_u8(bytes);
        putBits(out, vget_lane_u8(bytes, 0), indexUnit * i);
        out += vget_lane_u8(counts, 0);
        putBits(out, vget_lane_u8(bytes, 1), indexUnit * (i + 8));
        out += vget_lane_u8(counts, 1);
      }
    }
    *starts++ = static_cast<uint32_t>(out - indices);
  }
}

template <typename Word>
inline void diagonal(const void* words, const int32_t* weights, uint32_t steps, uint32_t width, int32_t* acc) {
  const uint32x4_t one = vdupq_n_u32(1);
  for (uint32_t w = 0; w < width; w += 4) {
    const uint32x4_t weight = vreinterpretq_u32_s32(vld1q_s32(weights + w));
    uint32x4_t bits = vdupq_n_u32(0);
    for (uint32_t t = 0; t < steps; ++t) {
      if (t % 32 == 0) bits = bits4(static_cast<const Word*>(words) + w, t / 32);
      uint32_t* target = reinterpret_cast<uint32_t*>(acc + static_cast<uint64_t>(t) * width + w);
      vst1q_u32(target, vaddq_u32(vld1q_u32(target), vandq_u32(vtstq_u32(bits, one), weight)));
      bits = vshrq_n_u32(bits, 1);
    }
  }
}

}  // namespace

#define NF_SPIKES(suffix, Word)                                                                                    \
  void index_##suffix##__neon(const void* words, uint32_t positions, uint32_t stride, const ListRule* rules,       \
                              uint32_t listCount, uint32_t* indices, uint32_t* starts) {                           \
    index<Word>(words, positions, stride, rules, listCount, indices, starts);                                      \
  }                                                                                                                \
  void diagonal_##suffix##__neon(const void* words, const int32_t* weights, uint32_t steps, uint32_t width,        \
                                  int32_t* acc) {                                                                  \
    diagonal<Word>(words, weights, steps, width, acc);                                                             \
  }
NF_SPIKES(u8, uint8_t)
NF_SPIKES(u16, uint16_t)
NF_SPIKES(u32, uint32_t)
NF_SPIKES(u64, uint64_t)

void merge__neon(const uint32_t* indices, const ListedRow* rows, uint32_t rowCount, uint32_t positions, uint32_t listCount,
                 uint32_t advance, uint32_t* merged, uint32_t* starts) {
  mergeLists(indices, rows, rowCount, positions, listCount, advance, merged, starts,
             [](const uint32_t* list, uint32_t count, uint32_t offset, uint32_t* out) {
               const uint32x4_t offset_u32x4 = vdupq_n_u32(offset);
               const uint32_t* const end = list + count;
               // A first turn in any case: most lists end in it, whatever their length, and so does the loop.
               do {
                 vst1q_u32(out, vaddq_u32(vld1q_u32(list), offset_u32x4));
                 vst1q_u32(out + 4, vaddq_u32(vld1q_u32(list + 4), offset_u32x4));
                 list += 8;
                 out += 8;
               } while (list < end);
             });
}

}  // namespace noisefloor
