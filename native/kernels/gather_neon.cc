#include <arm_neon.h>

#include "gather_lists.h"
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

/// SSRA shifts and adds in one instruction: two for the 16 weights of a vector, as widening additions of plain bytes
/// would take.
template <RowFormat of>
struct ByteRows {
  static constexpr RowFormat format = of;
  struct Sum {
    uint16x8_t x;    ///< modulo 2^16
    int16x8_t high;  ///< of x >> 8
  };
  static constexpr uint32_t bytes(uint32_t channels) { return channels; }
  static constexpr uint32_t vectorBytes = 16;
  static constexpr uint32_t run = gatherRun;

  static void add(const uint8_t* weights, Sum& sum) { addVector(vld1q_u8(weights), sum); }
  /// A group of 32 channels is two vectors: see gather.h.
  static void put(const Sum& sum, uint32_t vector, uint32_t count, bool add, int32_t* out) {
    int32_t* target = out + vector / 2 * 32 + vector % 2 * 8;
    const uint16x8_t low = vsubq_u16(sum.x, vshlq_n_u16(vreinterpretq_u16_s16(sum.high), 8));
    const uint16x8_t offset = vdupq_n_u16(static_cast<uint16_t>(lowOffset(format) * static_cast<int32_t>(count)));
    put8(target, vreinterpretq_s16_u16(vsubq_u16(low, offset)), add);
    put8(target + 16, sum.high, add);
  }

 protected:
  static void addVector(uint8x16_t weights, Sum& sum) {
    const uint16x8_t x = vreinterpretq_u16_u8(weights);
    sum.x = vaddq_u16(sum.x, x);
    sum.high = vsraq_n_s16(sum.high, vreinterpretq_s16_u16(x), 8);
  }
};

using Int8Rows = ByteRows<RowFormat::i8>;

struct Int7Rows : ByteRows<RowFormat::i7> {
  static constexpr uint32_t run = narrowRun;
  static void addPair(const uint8_t* weights, const uint8_t* others, Sum& sum) {
    addVector(vaddq_u8(vld1q_u8(weights), vld1q_u8(others)), sum);
  }
};

/// Widening additions to int32: as many instructions as two sums in int16, and no end to a run.
struct Int16Rows {
  struct Sum {
    int32x4_t first, second;
  };
  static constexpr RowFormat format = RowFormat::i16;
  static constexpr uint32_t bytes(uint32_t channels) { return 2 * channels; }
  static constexpr uint32_t vectorBytes = 16;
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

}  // namespace

void gather_i7__neon(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                     bool add, int32_t* out) {
  gatherBytes<Int7Rows>(rows, fields, pairs, pairCount, width, add, out);
}

void gather_i8__neon(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                     bool add, int32_t* out) {
  gatherBytes<Int8Rows>(rows, fields, pairs, pairCount, width, add, out);
}

void gather_i16__neon(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                      bool add, int32_t* out) {
  if (width == 64) return gather<Int16Rows, 64, 64>(rows, fields, pairs, pairCount, add, out);
  gather<Int16Rows, 32, 32>(rows, fields, pairs, pairCount, add, out);
}

}  // namespace noisefloor
