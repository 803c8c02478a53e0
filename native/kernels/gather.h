#pragma once
#include <stdint.h>

#include "steps.h"

namespace noisefloor {

/// Adjacent source positions of one row, seen through adjacent kernel taps: they are one run of
/// each list of the source.
struct Segment {
  const uint32_t* starts;  ///< of the first position in list 0, see IndexFn
  uint32_t positions;
  uint32_t listStride;     ///< of starts
  int64_t base;            ///< added to an index, it gives the number of the weight row
};

/// What a synapse sees at some output positions, one after the other.
struct Fields {
  const uint32_t* indices;   ///< of the source, see IndexFn
  const Segment* segments;
  const uint32_t* ends;      ///< [positions]: where the segments of each end
  uint32_t first;            ///< segment of the first position
  uint32_t positions;
  uint64_t stride;           ///< of `out`, from position to position
};

/// Sums the weight rows of all spikes of each position:
/// out[t][w] (+)= sum of row(base + index / indexUnit)[w] over the spikes of step t, for the steps of `pairs`, w < width.
///
/// rows   one block of output channels, 64-byte aligned
/// width  32 or 64 output channels; i7 and i8 also 128 or 256
/// add    to what `out` holds; else it is overwritten
/// out    [position][steps][width]; every step is in one pair
///
/// Reads up to 3 indices past the end of a list, whatever they are.
///
/// The row formats hold 16-bit lanes x = 256 * high + low with high a signed and low an unsigned byte, so one loop
/// serves all: it sums x modulo 2^16 and, apart, high (x >> 8) in int16; the sum of low is what is left.
///   i8   groups of 32 channels in 32 bytes; lane j: low = weight[j] + 128, high = weight[j + 16]
///   i7   as i8, of weights from -64 to 63, with low = weight[j] + 64: two rows are added byte by byte, which nothing leaves,
///        before they are summed
///   i16  lane j is weight[j]; its sum is 256 * (sum of high) + (sum of low)
/// Accumulators: int16 for high, uint16 for low. |high| <= 128 and low <= 255, so both are exact for up to 255 rows, of i7 for
/// twice as many; the kernels widen to int32 every gatherRun rows, or narrowRun. The int32 sum is modulo 2^32: exact for a checked model.
using GatherFn = void(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                      bool add, int32_t* out);

/// Rows of zero weights change nothing, however many: their low bytes are taken off modulo 2^16.
constexpr uint32_t gatherRun = 252;
constexpr uint32_t narrowRun = 2 * gatherRun;
/// Lists hold multiples of this, so that an index times at most 8 is a byte offset in rows of 64: x86 addresses scale by up to 8.
constexpr uint32_t indexUnit = 8;

enum class RowFormat : uint8_t { i7, i8, i16 };

/// What a low byte of a row is above its weight; 0 where the lane is the weight.
constexpr int32_t lowOffset(RowFormat format) { return format == RowFormat::i7 ? 64 : format == RowFormat::i8 ? 128 : 0; }

/// A row of zero weights.
struct ZeroRow {
  uint8_t bytes[256];
};

constexpr ZeroRow makeZeroRow(RowFormat format) {
  ZeroRow row = {};
  for (int i = 0; i < 256; i += 2) row.bytes[i] = static_cast<uint8_t>(lowOffset(format));
  return row;
}

/// What a synapse sees at one output position.
struct Field {
  const uint32_t* indices;
  const Segment* segments;
  uint32_t segmentCount;
};

inline Field fieldOf(const Fields& fields, uint32_t position) {
  const uint32_t first = position == 0 ? fields.first : fields.ends[position - 1];
  return {fields.indices, fields.segments + first, fields.ends[position] - first};
}

}  // namespace noisefloor
