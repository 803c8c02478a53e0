#include <arm_neon.h>

#include "bits_neon.h"
#include "kernels.h"

// Unsigned sums: one that leaves int32 wraps, as the contract says.
namespace noisefloor {
namespace {

inline uint32x4_t load4(const int32_t* p) { return vreinterpretq_u32_s32(vld1q_s32(p)); }

/// Stores 4 words given their low and high 32 bits.
inline void store4(uint8_t* out, uint32x4_t low, uint32x4_t) {
  const uint16x4_t u16x4 = vmovn_u32(low);
  const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(u16x4, u16x4))), 0);
  __builtin_memcpy(out, &four, sizeof four);
}
inline void store4(uint16_t* out, uint32x4_t low, uint32x4_t) { vst1_u16(out, vmovn_u32(low)); }
inline void store4(uint32_t* out, uint32x4_t low, uint32x4_t) { vst1q_u32(out, low); }
inline void store4(uint64_t* out, uint32x4_t low, uint32x4_t high) {
  vst1q_u64(out, vreinterpretq_u64_u32(vzip1q_u32(low, high)));
  vst1q_u64(out + 2, vreinterpretq_u64_u32(vzip2q_u32(low, high)));
}

/// What a term needs for 8 neurons in the steps of one half of a word.
struct Operand {
  bool identity;
  const int32_t* acc;
  uint64_t stepStride;
  uint32x4_t multiplier[2];
  uint32x4_t bits[2];
  uint32x4_t rounding;
  int32x4_t shift;  ///< negative: to the right

  void addTo(uint32x4_t* v, uint32_t step, uint32x4_t bit) const {
    for (int i = 0; i < 2; ++i) {
      if (identity) {
        v[i] = vaddq_u32(v[i], vandq_u32(vtstq_u32(bits[i], bit), multiplier[i]));
        continue;
      }
      const uint32x4_t scaled = vmlaq_u32(rounding, load4(acc + step * stepStride + 4 * i), multiplier[i]);
      v[i] = vaddq_u32(v[i], vreinterpretq_u32_s32(vshlq_s32(vreinterpretq_s32_u32(scaled), shift)));
    }
  }
};

template <typename Word>
inline Operand operandOf(const Term& term, uint32_t half, uint32_t position, uint32_t w) {
  Operand operand;
  operand.identity = term.words != nullptr;
  const Word* words = operand.identity ? static_cast<const Word*>(term.wordsOf(position)) : nullptr;
  operand.acc = operand.identity ? nullptr : term.accOf(position) + w;
  operand.stepStride = term.stepStride;
  operand.rounding = vdupq_n_u32(static_cast<uint32_t>(term.half));
  operand.shift = vdupq_n_s32(-term.shift);
  for (int i = 0; i < 2; ++i) {
    operand.multiplier[i] = load4(term.multiplier + w + 4 * i);
    operand.bits[i] = operand.identity ? bits4(words + w + 4 * i, half) : vdupq_n_u32(0);
  }
  return operand;
}

/// The first `held` terms stay in registers for all steps.
template <typename Word, uint32_t held>
__attribute__((always_inline)) inline void fireTerms(const Term* terms, uint32_t termCount, const Neurons& neurons,
                                                     uint32_t steps, uint32_t width, uint32_t position, Word* words) {
  const int32_t* initial = neurons.initial + position * neurons.initialStride;
  for (uint32_t w = 0; w < width; w += 8) {
    const uint32x4_t bias[2] = {load4(neurons.bias + w), load4(neurons.bias + w + 4)};
    const uint32x4_t threshold[2] = {load4(neurons.threshold + w), load4(neurons.threshold + w + 4)};
    uint32x4_t v[2] = {load4(initial + w), load4(initial + w + 4)};
    uint32x4_t word[2][2] = {};
    for (uint32_t half = 0; half < sizeof(Word) / 8 + 1; ++half) {
      Operand operands[held + 1];
      for (uint32_t i = 0; i < held; ++i) operands[i] = operandOf<Word>(terms[i], half, position, w);
      uint32x4_t bit = vdupq_n_u32(1);
      const uint32_t end = steps < 32 * half + 32 ? steps : 32 * half + 32;
      for (uint32_t t = 32 * half; t < end; ++t, bit = vaddq_u32(bit, bit)) {
        for (uint32_t i = 0; i < held; ++i) operands[i].addTo(v, t, bit);
        for (uint32_t i = held; i < termCount; ++i) operandOf<Word>(terms[i], half, position, w).addTo(v, t, bit);
        for (int i = 0; i < 2; ++i) {
          v[i] = vaddq_u32(v[i], bias[i]);
          const uint32x4_t spikes = vcgeq_s32(vreinterpretq_s32_u32(v[i]), vreinterpretq_s32_u32(threshold[i]));
          v[i] = vsubq_u32(v[i], vandq_u32(spikes, threshold[i]));
          word[i][half] = vsriq_n_u32(spikes, word[i][half], 1);  // enters at the top
        }
      }
      const int32x4_t down = vdupq_n_s32(static_cast<int32_t>(end - 32 * half) - 32);
      for (int i = 0; i < 2; ++i) word[i][half] = vshlq_u32(word[i][half], down);
    }
    for (int i = 0; i < 2; ++i) {
      store4(words + w + 4 * i, word[i][0], word[i][1]);
      if (neurons.last != nullptr) vst1q_s32(neurons.last + position * neurons.lastStride + w + 4 * i, vreinterpretq_s32_u32(v[i]));
    }
  }
}

template <typename Word>
inline void fire(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, uint32_t width,
                 const Span& span, void* words) {
  for (uint32_t p = 0; p < span.count; ++p) {
    Word* const out = reinterpret_cast<Word*>(static_cast<uint8_t*>(words) + p * span.wordStride);
    if (termCount == 1) {
      fireTerms<Word, 1>(terms, 1, neurons, steps, width, p, out);
    } else if (termCount == 2) {
      fireTerms<Word, 2>(terms, 2, neurons, steps, width, p, out);
    } else {
      fireTerms<Word, 0>(terms, termCount, neurons, steps, width, p, out);
    }
  }
}

}  // namespace

#define NF_FIRE(name, Word)                                                                        \
  void name##__neon(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, \
                    uint32_t width, const Span& span, void* words) {                               \
    fire<Word>(terms, termCount, neurons, steps, width, span, words);                              \
  }
NF_FIRE(fire_u8, uint8_t)
NF_FIRE(fire_u16, uint16_t)
NF_FIRE(fire_u32, uint32_t)
NF_FIRE(fire_u64, uint64_t)

}  // namespace noisefloor
