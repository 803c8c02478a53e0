#include <arm_neon.h>

#include "kernels.h"

namespace noisefloor {
namespace {

inline void put4(int32_t* out, uint32x4_t value, bool add) {
  uint32_t* target = reinterpret_cast<uint32_t*>(out);
  vst1q_u32(target, add ? vaddq_u32(vld1q_u32(target), value) : value);
}

inline void put8(int32_t* out, int16x8_t value, bool add) {
  put4(out, vreinterpretq_u32_s32(vmovl_s16(vget_low_s16(value))), add);
  put4(out + 4, vreinterpretq_u32_s32(vmovl_high_s16(value)), add);
}

constexpr uint32_t tailRows = 3;
alignas(64) constexpr ZeroRow zeroInt8 = makeZeroRow(128);
alignas(64) constexpr ZeroRow zeroInt16 = makeZeroRow(0);

/// SSRA shifts and adds in one instruction: two for the 16 weights of a vector, as widening additions of plain bytes
/// would take.
struct Int8Rows {
  struct Sum {
    uint16x8_t x;    ///< modulo 2^16
    int16x8_t high;  ///< of x >> 8
  };
  static const uint8_t* zeroRow() { return zeroInt8.bytes; }
  static constexpr uint32_t vectors(uint32_t width) { return width / 16; }
  static constexpr uint32_t run = gatherRun;

  static void add(const uint8_t* weights, Sum& sum) {
    const uint16x8_t x = vreinterpretq_u16_u8(vld1q_u8(weights));
    sum.x = vaddq_u16(sum.x, x);
    sum.high = vsraq_n_s16(sum.high, vreinterpretq_s16_u16(x), 8);
  }
  /// A group of 32 channels is two vectors: see gather.h.
  static void put(const Sum& sum, uint32_t vector, uint32_t count, bool add, int32_t* out) {
    int32_t* target = out + vector / 2 * 32 + vector % 2 * 8;
    const uint16x8_t low = vsubq_u16(sum.x, vshlq_n_u16(vreinterpretq_u16_s16(sum.high), 8));
    const uint16x8_t offset = vdupq_n_u16(static_cast<uint16_t>(128 * count));
    put8(target, vreinterpretq_s16_u16(vsubq_u16(low, offset)), add);
    put8(target + 16, sum.high, add);
  }
};

/// Widening additions to int32: as many instructions as two sums in int16, and no end to a run.
struct Int16Rows {
  struct Sum {
    int32x4_t first, second;
  };
  static const uint8_t* zeroRow() { return zeroInt16.bytes; }
  static constexpr uint32_t vectors(uint32_t width) { return width / 8; }
  static constexpr uint32_t run = ~uint32_t{0};

  static void add(const uint8_t* weights, Sum& sum) {
    const int16x8_t x = vreinterpretq_s16_u8(vld1q_u8(weights));
    sum.first = vaddw_s16(sum.first, vget_low_s16(x));
    sum.second = vaddw_high_s16(sum.second, x);
  }
  static void put(const Sum& sum, uint32_t vector, uint32_t, bool add, int32_t* out) {
    put4(out + 8 * vector, vreinterpretq_u32_s32(sum.first), add);
    put4(out + 8 * vector + 4, vreinterpretq_u32_s32(sum.second), add);
  }
};

template <typename Rows, uint32_t width>
struct Sums {
  static constexpr uint32_t vectors = Rows::vectors(width);
  static constexpr uint32_t bytes = 16 * vectors;
  typename Rows::Sum of[vectors];

  void add(uintptr_t row) {
    for (uint32_t v = 0; v < vectors; ++v) Rows::add(reinterpret_cast<const uint8_t*>(row) + 16 * v, of[v]);
  }
  /// `count`: the rows added.
  void put(uint32_t count, bool add, int32_t* out) const {
    for (uint32_t v = 0; v < vectors; ++v) Rows::put(of[v], v, count, add, out);
  }
};

/// Adds `count` rows and tailRows - count % 4 zero rows; returns how many these are. `base` is the address of row 0 and may
/// lie before the rows: only base + index is one of them. The tail has no branch that depends on the length of a list.
template <typename Rows, uint32_t width>
inline uint32_t sumRows(uintptr_t base, const uint32_t* index, uint32_t count, Sums<Rows, width>& sums) {
  constexpr uintptr_t scale = Sums<Rows, width>::bytes / indexUnit;
  const uint32_t full = count & ~3U;
  const uint32_t* const tail = index + full;
  for (; index < tail; index += 4) {
    for (int k = 0; k < 4; ++k) sums.add(base + index[k] * scale);
  }
  const uintptr_t zero = reinterpret_cast<uintptr_t>(Rows::zeroRow());
  for (uint32_t k = 0; k < tailRows; ++k) {
    const uintptr_t real = k < count - full ? ~uintptr_t{0} : 0;
    sums.add(zero + ((base + tail[k] * scale - zero) & real));
  }
  return full + tailRows;
}

inline const uint32_t* startsOf(const Segment& segment, uint32_t list) {
  return segment.starts + static_cast<uint64_t>(list) * segment.listStride;
}

template <typename Rows, uint32_t width>
inline uintptr_t baseOf(const uint8_t* rows, const Segment& segment) {
  const int64_t offset = segment.base * static_cast<int64_t>(Sums<Rows, width>::bytes);
  return reinterpret_cast<uintptr_t>(rows) + static_cast<uintptr_t>(offset);
}

/// Sums that are put whenever a run is full.
template <typename Rows, uint32_t width>
struct LongSums {
  Sums<Rows, width> sums = {};
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
template <typename Rows, uint32_t width>
__attribute__((noinline)) void gatherLong(const uint8_t* rows, const Field& field, const StepPair& pair, bool add,
                                          int32_t* out) {
  const uint32_t steps[2] = {pair.first, pair.second};
  for (uint32_t i = 0; i < (pair.single() ? 1U : 2U); ++i) {
    LongSums<Rows, width> sums;
    sums.add = add;
    sums.out = out + static_cast<uint64_t>(steps[i]) * width;
    sums.addList(rows, field, pair.list);
    if (!pair.single()) sums.addList(rows, field, pair.list + 1 + i);
    sums.put();
  }
}

/// One segment, whose lists make one run.
template <typename Rows, uint32_t width>
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
  if (most > Rows::run) return gatherLong<Rows, width>(rows, field, pair, add, out);
  const uintptr_t base = baseOf<Rows, width>(rows, segment);
  Sums<Rows, width> sums = {};
  const uint32_t summed = sumRows(base, field.indices + both[0], shared, sums);
  if (pair.single()) return sums.put(summed, add, out + static_cast<uint64_t>(pair.first) * width);
  Sums<Rows, width> more = sums;
  const uint32_t a = summed + sumRows(base, field.indices + first[0], first[positions] - first[0], more);
  more.put(a, add, out + static_cast<uint64_t>(pair.first) * width);
  const uint32_t b = summed + sumRows(base, field.indices + second[0], second[positions] - second[0], sums);
  sums.put(b, add, out + static_cast<uint64_t>(pair.second) * width);
}

template <typename Rows, uint32_t width>
inline void gather(const uint8_t* rows, const Field& field, const StepPair* pairs, uint32_t pairCount, bool add,
                   int32_t* out) {
  for (uint32_t p = 0; p < pairCount; ++p) {
    if (field.segmentCount == 1) {
      gatherPair<Rows, width>(rows, field, pairs[p], add, out);
    } else {
      gatherLong<Rows, width>(rows, field, pairs[p], add, out);
    }
  }
}

}  // namespace

void gather_i8__neon(const uint8_t* rows, const Field& field, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                     bool add, int32_t* out) {
  if (width == 64) return gather<Int8Rows, 64>(rows, field, pairs, pairCount, add, out);
  gather<Int8Rows, 32>(rows, field, pairs, pairCount, add, out);
}

void gather_i16__neon(const uint8_t* rows, const Field& field, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                      bool add, int32_t* out) {
  if (width == 64) return gather<Int16Rows, 64>(rows, field, pairs, pairCount, add, out);
  gather<Int16Rows, 32>(rows, field, pairs, pairCount, add, out);
}

}  // namespace noisefloor
