#pragma once
#include <stdint.h>

#include "fire.h"

namespace noisefloor {
namespace {

// The loop of FireFn for the common layers. Their current is, beside a constant, up to two sums without a shift and up to one
// identity. `Lanes` is an instruction set:
//   Vector, lanes      of int32
//   load, store, set, add, multiply, shiftRight
//   addWhere(sum, words, t, x)              adds x where bit t of a word is set
//   fire(v, threshold, word, bit)           compares, resets, sets the bit of those that fired
//   storeWords(out, low, high)              words given their low and high 32 bits
// In an unnamed namespace: each instruction set has a loop of its own.

constexpr uint32_t mostConstants = 2;

struct PlainTerms {
  const Term* constant[mostConstants];
  const Term* sum[2];
  const Term* identity[1];
  uint32_t constants = 0;
  uint32_t sums = 0;
  uint32_t identities = 0;
};

inline bool arePlain(const Term* terms, uint32_t termCount, PlainTerms& plain) {
  for (uint32_t i = 0; i < termCount; ++i) {
    const Term& term = terms[i];
    if (term.words != nullptr) {
      if (plain.identities == 1) return false;
      plain.identity[plain.identities++] = &term;
    } else if (term.stepStride == 0) {
      if (plain.constants == mostConstants) return false;
      plain.constant[plain.constants++] = &term;
    } else {
      if (plain.sums == 2 || term.shift != 0) return false;
      plain.sum[plain.sums++] = &term;
    }
  }
  return true;
}

/// Bias and the currents that are the same at each step.
template <typename Lanes>
inline typename Lanes::Vector constantCurrent(const PlainTerms& terms, const Neurons& neurons, uint32_t position, uint32_t w) {
  typename Lanes::Vector sum = Lanes::load(neurons.bias + w);
  for (uint32_t i = 0; i < terms.constants; ++i) {
    const Term& term = *terms.constant[i];
    const typename Lanes::Vector product = Lanes::multiply(Lanes::load(term.accOf(position) + w), Lanes::load(term.multiplier + w));
    sum = Lanes::add(sum, Lanes::shiftRight(Lanes::add(product, Lanes::set(term.half)), term.shift));
  }
  return sum;
}

/// `groups` vectors of neurons step by step together: one alone would wait for its own compare and reset at each step.
template <typename Lanes, typename Word, int sums, int identities, int groups>
__attribute__((always_inline)) inline void fireGroups(const PlainTerms& terms, const Neurons& neurons, uint32_t steps,
                                                      const Span& span, uint32_t w, uint8_t* words) {
  using Vector = typename Lanes::Vector;
  constexpr uint32_t halves = sizeof(Word) == 8 ? 2 : 1;
  Vector threshold[groups], multiplier[groups][sums + identities + 1];
#pragma GCC unroll 4
  for (int g = 0; g < groups; ++g) {
    const uint32_t at = w + Lanes::lanes * g;
    threshold[g] = Lanes::load(neurons.threshold + at);
    for (int i = 0; i < sums; ++i) multiplier[g][i] = Lanes::load(terms.sum[i]->multiplier + at);
    for (int i = 0; i < identities; ++i) multiplier[g][sums + i] = Lanes::load(terms.identity[i]->multiplier + at);
  }
  for (uint32_t p = 0; p < span.count; ++p) {
    Vector constant[groups], v[groups], word[groups][2];
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) {
      const uint32_t at = w + Lanes::lanes * g;
      constant[g] = constantCurrent<Lanes>(terms, neurons, p, at);
      v[g] = Lanes::load(neurons.initial + p * neurons.initialStride + at);
      word[g][0] = word[g][1] = Lanes::set(0);
    }
    const int32_t* acc[sums + 1];
    const Word* source[identities + 1];
    for (int i = 0; i < sums; ++i) acc[i] = terms.sum[i]->accOf(p) + w;
    for (int i = 0; i < identities; ++i) source[i] = static_cast<const Word*>(terms.identity[i]->wordsOf(p)) + w;
    for (uint32_t half = 0; half < halves; ++half) {
      Vector bit = Lanes::set(1);
      const uint32_t end = steps < 32 * half + 32 ? steps : 32 * half + 32;
      for (uint32_t t = 32 * half; t < end; ++t, bit = Lanes::add(bit, bit)) {
#pragma GCC unroll 4
        for (int g = 0; g < groups; ++g) {
          const uint32_t at = Lanes::lanes * g;
          Vector current = constant[g];
          for (int i = 0; i < sums; ++i) current = Lanes::add(current, Lanes::multiply(Lanes::load(acc[i] + at), multiplier[g][i]));
          for (int i = 0; i < identities; ++i) current = Lanes::addWhere(current, source[i] + at, t, multiplier[g][sums + i]);
          v[g] = Lanes::add(v[g], current);
          Lanes::fire(v[g], threshold[g], word[g][half], bit);
        }
        for (int i = 0; i < sums; ++i) acc[i] += terms.sum[i]->stepStride;
      }
    }
    Word* const out = reinterpret_cast<Word*>(words + p * span.wordStride) + w;
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) {
      Lanes::storeWords(out + Lanes::lanes * g, word[g][0], word[g][1]);
      if (neurons.last != nullptr) Lanes::store(neurons.last + p * neurons.lastStride + w + Lanes::lanes * g, v[g]);
    }
  }
}

template <typename Lanes, typename Word, int sums, int identities>
inline void fireAll(const PlainTerms& terms, const Neurons& neurons, uint32_t steps, uint32_t width, const Span& span,
                    uint8_t* words) {
  constexpr int groups = 4;
  uint32_t w = 0;
  for (; w + groups * Lanes::lanes <= width; w += groups * Lanes::lanes) {
    fireGroups<Lanes, Word, sums, identities, groups>(terms, neurons, steps, span, w, words);
  }
  for (; w < width; w += Lanes::lanes) fireGroups<Lanes, Word, sums, identities, 1>(terms, neurons, steps, span, w, words);
}

template <typename Lanes, typename Word, int sums>
inline void fireSums(const PlainTerms& terms, const Neurons& neurons, uint32_t steps, uint32_t width, const Span& span,
                     uint8_t* words) {
  if (terms.identities == 0) return fireAll<Lanes, Word, sums, 0>(terms, neurons, steps, width, span, words);
  fireAll<Lanes, Word, sums, 1>(terms, neurons, steps, width, span, words);
}

/// False where the terms are others: nothing is done then.
template <typename Lanes, typename Word>
inline bool firePlain(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, uint32_t width,
                      const Span& span, uint8_t* words) {
  PlainTerms plain;
  if (!arePlain(terms, termCount, plain)) return false;
  if (plain.sums == 0) fireSums<Lanes, Word, 0>(plain, neurons, steps, width, span, words);
  if (plain.sums == 1) fireSums<Lanes, Word, 1>(plain, neurons, steps, width, span, words);
  if (plain.sums == 2) fireSums<Lanes, Word, 2>(plain, neurons, steps, width, span, words);
  return true;
}

}  // namespace
}  // namespace noisefloor
