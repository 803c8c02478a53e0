#include "kernels.h"

namespace noisefloor {
namespace {

/// (acc * multiplier + half) >> shift, modulo 2^32: what a checked model never makes use of is still defined.
template <typename Word>
inline uint32_t contribution(const Term& term, uint32_t step, uint32_t position, uint32_t w) {
  if (term.words != nullptr) {
    const bool spikes = (static_cast<const Word*>(term.wordsOf(position))[w] >> step) & 1;
    return spikes ? static_cast<uint32_t>(term.multiplier[w]) : 0;
  }
  const uint32_t acc = static_cast<uint32_t>(term.accOf(position)[static_cast<uint64_t>(step) * term.stepStride + w]);
  const uint32_t scaled = acc * static_cast<uint32_t>(term.multiplier[w]) + static_cast<uint32_t>(term.half);
  return static_cast<uint32_t>(static_cast<int32_t>(scaled) >> term.shift);
}

template <typename Word>
inline void fireOne(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, uint32_t width,
                    uint32_t position, Word* words) {
  const int32_t* initial = neurons.initial + position * neurons.initialStride;
  int32_t* last = neurons.last == nullptr ? nullptr : neurons.last + position * neurons.lastStride;
  for (uint32_t w = 0; w < width; ++w) {
    uint32_t v = static_cast<uint32_t>(initial[w]);
    Word word = 0;
    for (uint32_t t = 0; t < steps; ++t) {
      v += static_cast<uint32_t>(neurons.bias[w]);
      for (uint32_t i = 0; i < termCount; ++i) v += contribution<Word>(terms[i], t, position, w);
      if (static_cast<int32_t>(v) < neurons.threshold[w]) continue;
      v -= static_cast<uint32_t>(neurons.threshold[w]);
      word = static_cast<Word>(word | static_cast<Word>(Word{1} << t));
    }
    words[w] = word;
    if (last != nullptr) last[w] = static_cast<int32_t>(v);
  }
}

template <typename Word>
inline void fire(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, uint32_t width,
                 const Span& span, void* words) {
  for (uint32_t p = 0; p < span.count; ++p) {
    Word* const out = reinterpret_cast<Word*>(static_cast<uint8_t*>(words) + p * span.wordStride);
    fireOne(terms, termCount, neurons, steps, width, p, out);
  }
}

}  // namespace

#define NF_FIRE(name, Word)                                                                          \
  void name##__scalar(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, \
                      uint32_t width, const Span& span, void* words) {                               \
    fire<Word>(terms, termCount, neurons, steps, width, span, words);                                \
  }
NF_FIRE(fire_u8, uint8_t)
NF_FIRE(fire_u16, uint16_t)
NF_FIRE(fire_u32, uint32_t)
NF_FIRE(fire_u64, uint64_t)

}  // namespace noisefloor
