#pragma once
#include <stdint.h>

#include "gather.h"

namespace noisefloor {
namespace {

// The walk over lists that every vector gather (GatherFn) takes. `Rows` is a row format of an instruction set:
//   Sum                 sums of one vector of a row
//   vectorBytes         of a row, that a Sum takes
//   run                 rows that a Sum holds exactly
//   format
//   bytes(channels)     of a row
//   add(weights, sum)
//   addPair(weights, others, sum)       of i7 alone
//   put(sum, vector, count, add, out)   writes the sums of `count` rows, from vector number `vector` of `out` on
// In an unnamed namespace: each instruction set has a walk of its own.

constexpr uint32_t tailRows = 3;
template <RowFormat format>
alignas(64) constexpr ZeroRow zeroRow = makeZeroRow(format);

/// Sums of `part` channels of rows of `width`.
template <typename Rows, uint32_t part, uint32_t width>
struct Sums {
  static constexpr uint32_t vectors = Rows::bytes(part) / Rows::vectorBytes;
  static constexpr uint32_t rowBytes = Rows::bytes(width);
  typename Rows::Sum of[vectors];

  void add(uintptr_t row) {
    for (uint32_t v = 0; v < vectors; ++v) Rows::add(vectorOf(row, v), of[v]);
  }
  void addPair(uintptr_t row, uintptr_t other) {
    if constexpr (Rows::format == RowFormat::i7) {
      for (uint32_t v = 0; v < vectors; ++v) Rows::addPair(vectorOf(row, v), vectorOf(other, v), of[v]);
    } else {
      add(row);
      add(other);
    }
  }
  /// `count`: the rows added.
  void put(uint32_t count, bool add, int32_t* out) const {
    for (uint32_t v = 0; v < vectors; ++v) Rows::put(of[v], v, count, add, out);
  }

 private:
  static const uint8_t* vectorOf(uintptr_t row, uint32_t v) { return reinterpret_cast<const uint8_t*>(row) + Rows::vectorBytes * v; }
};

/// Adds `count` rows and tailRows - count % 4 zero rows; returns how many these are. `base` is the address of row 0 and may
/// lie before the rows: only base + index is one of them. The tail is always as long and has no branch: one that depends
/// on the length of a list is mispredicted, and that costs more than adding zeros.
template <typename Rows, uint32_t part, uint32_t width>
inline uint32_t sumRows(uintptr_t base, const uint32_t* index, uint32_t count, Sums<Rows, part, width>& sums) {
  constexpr uintptr_t scale = Sums<Rows, part, width>::rowBytes / indexUnit;
  const uint32_t full = count & ~3U;
  const uint32_t* const tail = index + full;
  for (; index < tail; index += 4) {
    sums.addPair(base + index[0] * scale, base + index[1] * scale);
    sums.addPair(base + index[2] * scale, base + index[3] * scale);
  }
  const uintptr_t zero = reinterpret_cast<uintptr_t>(zeroRow<Rows::format>.bytes);
  uintptr_t rows[tailRows];
  for (uint32_t k = 0; k < tailRows; ++k) {
    const uintptr_t real = k < count - full ? ~uintptr_t{0} : 0;
    rows[k] = zero + ((base + tail[k] * scale - zero) & real);
  }
  sums.addPair(rows[0], rows[1]);
  sums.add(rows[2]);
  return full + tailRows;
}

inline const uint32_t* startsOf(const Segment& segment, uint32_t list) {
  return segment.starts + static_cast<uint64_t>(list) * segment.listStride;
}

template <typename Rows, uint32_t width>
inline uintptr_t baseOf(const uint8_t* rows, const Segment& segment) {
  const int64_t offset = segment.base * static_cast<int64_t>(Rows::bytes(width));
  return reinterpret_cast<uintptr_t>(rows) + static_cast<uintptr_t>(offset);
}

/// Sums that are put whenever a run is full.
template <typename Rows, uint32_t part, uint32_t width>
struct LongSums {
  Sums<Rows, part, width> sums = {};
  uint32_t left = Rows::run;
  uint32_t summed = 0;
  bool add;
  int32_t* out;

  void put() {
    sums.put(summed, add, out);
    sums = {};
    left = Rows::run;
    summed = 0;
    add = true;
  }

  void addList(const uint8_t* rows, const Field& field, uint32_t list) {
    for (uint32_t s = 0; s < field.segmentCount; ++s) {
      const Segment& segment = field.segments[s];
      const uint32_t* starts = startsOf(segment, list);
      const uintptr_t base = baseOf<Rows, width>(rows, segment);
      for (uint32_t i = starts[0]; i < starts[segment.positions];) {
        const uint32_t rest = starts[segment.positions] - i;
        const uint32_t run = rest < left ? rest : left;
        summed += sumRows(base, field.indices + i, run, sums);
        i += run;
        left -= run;
        if (left == 0) put();
      }
    }
  }
};

/// Any lists: of many segments, or too long for one run.
template <typename Rows, uint32_t part, uint32_t width>
__attribute__((noinline)) void gatherLong(const uint8_t* rows, const Field& field, const StepPair& pair, bool add,
                                          int32_t* out) {
  const uint32_t steps[2] = {pair.first, pair.second};
  for (uint32_t i = 0; i < (pair.single() ? 1U : 2U); ++i) {
    LongSums<Rows, part, width> sums;
    sums.add = add;
    sums.out = out + static_cast<uint64_t>(steps[i]) * width;
    sums.addList(rows, field, pair.list);
    if (!pair.single()) sums.addList(rows, field, pair.list + 1 + i);
    sums.put();
  }
}

/// One segment, whose lists make one run.
template <typename Rows, uint32_t part, uint32_t width>
inline void gatherPair(const uint8_t* rows, const Field& field, const StepPair& pair, bool add, int32_t* out) {
  const Segment& segment = field.segments[0];
  const uint32_t positions = segment.positions;
  const uint32_t* both = startsOf(segment, pair.list);
  const uint32_t* first = both + segment.listStride;
  const uint32_t* second = first + segment.listStride;
  const uint32_t shared = both[positions] - both[0];
  uint32_t most = shared;
  if (!pair.single()) {
    const uint32_t a = first[positions] - first[0];
    const uint32_t b = second[positions] - second[0];
    most += a > b ? a : b;
  }
  if (most > Rows::run) return gatherLong<Rows, part, width>(rows, field, pair, add, out);
  const uintptr_t base = baseOf<Rows, width>(rows, segment);
  Sums<Rows, part, width> sums = {};
  const uint32_t summed = sumRows(base, field.indices + both[0], shared, sums);
  if (pair.single()) return sums.put(summed, add, out + static_cast<uint64_t>(pair.first) * width);
  Sums<Rows, part, width> more = sums;
  const uint32_t a = summed + sumRows(base, field.indices + first[0], first[positions] - first[0], more);
  more.put(a, add, out + static_cast<uint64_t>(pair.first) * width);
  const uint32_t b = summed + sumRows(base, field.indices + second[0], second[positions] - second[0], sums);
  sums.put(b, add, out + static_cast<uint64_t>(pair.second) * width);
}

template <typename Rows, uint32_t part, uint32_t width>
inline void gatherPart(const uint8_t* rows, const Field& field, const StepPair* pairs, uint32_t pairCount, bool add,
                       int32_t* out) {
  for (uint32_t p = 0; p < pairCount; ++p) {
    if (field.segmentCount == 1) {
      gatherPair<Rows, part, width>(rows, field, pairs[p], add, out);
    } else {
      gatherLong<Rows, part, width>(rows, field, pairs[p], add, out);
    }
  }
}

/// `part` channels at a time, as many as there are registers for: a list is walked once for each part.
template <typename Rows, uint32_t part, uint32_t width>
inline void gather(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, bool add,
                   int32_t* out) {
  for (uint32_t position = 0; position < fields.positions; ++position, out += fields.stride) {
    const Field field = fieldOf(fields, position);
    for (uint32_t first = 0; first < width; first += part) {
      gatherPart<Rows, part, width>(rows + Rows::bytes(first), field, pairs, pairCount, add, out + first);
    }
  }
}

/// Rows of bytes, 64 channels at a time.
template <typename Rows>
inline void gatherBytes(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                        bool add, int32_t* out) {
  if (width == 256) return gather<Rows, 64, 256>(rows, fields, pairs, pairCount, add, out);
  if (width == 128) return gather<Rows, 64, 128>(rows, fields, pairs, pairCount, add, out);
  if (width == 64) return gather<Rows, 64, 64>(rows, fields, pairs, pairCount, add, out);
  gather<Rows, 32, 32>(rows, fields, pairs, pairCount, add, out);
}

}  // namespace
}  // namespace noisefloor
