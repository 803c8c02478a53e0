#pragma once
#include <stdint.h>

namespace noisefloor {

/// One synapse's contribution to the current: (acc * multiplier + half) >> shift, or, where `words` is set, the
/// multiplier in the steps in which the source spikes (an identity).
struct Term {
  const void* words;         ///< [width] of the width of the words written, or null
  const int32_t* acc;        ///< [steps][width], or [width] when stepStride is 0 (the analog input: the same at each step)
  uint32_t stepStride;
  const int32_t* multiplier; ///< [width]
  int32_t half;
  int32_t shift;
  uint64_t accStride;        ///< from position to position
  uint64_t wordStride;       ///< the same, in bytes

  const int32_t* accOf(uint32_t position) const { return acc + position * accStride; }
  const void* wordsOf(uint32_t position) const { return static_cast<const uint8_t*>(words) + position * wordStride; }
};

struct Neurons {
  const int32_t* bias;       ///< [width]
  const int32_t* threshold;  ///< [width], > 0
  const int32_t* initial;    ///< [width], potentials before the first step
  int32_t* last;             ///< [width], receives those after the last step; may be `initial`. Null: nobody asks
  uint64_t initialStride;    ///< from position to position
  uint64_t lastStride;
};

/// Adjacent output positions.
struct Span {
  uint32_t count;
  uint64_t wordStride;  ///< from position to position of the words written, in bytes
};

/// Integrate-and-fire over all steps, reset by subtraction. For each position, t < steps, w < width:
/// v += bias + sum of terms; s = v >= threshold; v -= threshold * s; bit t of words[w] = s.
///
/// words  [position][width] of 8, 16, 32 or 64 bits, overwritten; bits from `steps` on are 0
/// width  a multiple of 16
/// Accumulator: int32, modulo 2^32; exact for a checked model.
using FireFn = void(const Term* terms, uint32_t termCount, const Neurons& neurons, uint32_t steps, uint32_t width,
                    const Span& span, void* words);

}  // namespace noisefloor
