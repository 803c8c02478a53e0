#pragma once
#include <stdint.h>

namespace noisefloor {

/// Lists the spikes of one row of positions, step after step.
///
/// words    [positions][stride] of 8, 16, 32 or 64 bits; stride is a multiple of 16
/// starts   [steps][positions + 1] into indices: where position x's spikes of step t begin, and, at x = positions,
///          where the step ends and the next one begins. starts[0] is given
/// indices  x * stride + channel of every spike, ascending within a step
/// May write up to 16 entries past the end of the last step.
using IndexFn = void(const void* words, uint32_t positions, uint32_t stride, uint32_t steps, uint32_t* indices,
                     uint32_t* starts);

/// Adds the spikes of one position to accumulators: acc[t][w] += bit t of words[w], for t < steps, w < width.
/// width is a multiple of 16. Accumulator: int32; at most one spike a call, so exact for 2^31 calls.
using IdentityFn = void(const void* words, uint32_t steps, uint32_t width, int32_t* acc);

/// Adjacent source positions of one row, seen through adjacent kernel taps: their spikes of a step are one run.
struct Segment {
  const uint32_t* starts;  ///< of the first position at step 0, see IndexFn
  uint32_t positions;
  uint32_t stepStride;     ///< of starts
  uint32_t base;           ///< added to an index, modulo 2^32, it gives the number of the weight row
};

/// Turns the spikes that a receptive field sees into one list of weight rows a step.
/// Step t gets (base + index) << shift for every index of every segment, padded with `zeroRow` to a multiple of 4.
///
/// counts  [steps], set to the padded lengths; the steps' lists follow each other in `offsets`
/// Returns the end of the last list.
/// May read and write listSlack entries past the end of a list.
using RowsFn = uint32_t*(const uint32_t* indices, const Segment* segments, uint32_t segmentCount, uint32_t steps,
                         uint32_t shift, uint32_t zeroRow, uint32_t* offsets, uint32_t* counts);

constexpr uint32_t listSlack = 32;

}  // namespace noisefloor
