#include "kernels.h"

namespace noisefloor {
namespace {

// Unsigned sums: a sum that leaves int32 wraps, as in the vector kernels.
inline void addTo(int32_t& sum, int32_t value) {
  sum = static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(value));
}

template <RowFormat format>
struct ByteRows {
  static constexpr uint32_t weightBytes = 1;
  static void add(const uint8_t* row, uint32_t width, int32_t* out) {
    for (uint32_t group = 0; group < width; group += 32) {
      for (uint32_t lane = 0; lane < 16; ++lane) {
        const uint8_t* pair = row + group + 2 * lane;
        addTo(out[group + lane], static_cast<int32_t>(pair[0]) - lowOffset(format));
        addTo(out[group + lane + 16], static_cast<int8_t>(pair[1]));
      }
    }
  }
};

struct Int16Rows {
  static constexpr uint32_t weightBytes = 2;
  static void add(const uint8_t* row, uint32_t width, int32_t* out) {
    const int16_t* weights = reinterpret_cast<const int16_t*>(row);
    for (uint32_t w = 0; w < width; ++w) addTo(out[w], weights[w]);
  }
};

template <typename Rows>
inline void addList(const uint8_t* rows, const Field& field, uint32_t list, uint32_t width, int32_t* out) {
  for (uint32_t s = 0; s < field.segmentCount; ++s) {
    const Segment& segment = field.segments[s];
    const uint32_t* starts = segment.starts + static_cast<uint64_t>(list) * segment.listStride;
    for (uint32_t i = starts[0]; i < starts[segment.positions]; ++i) {
      const int64_t row = segment.base + field.indices[i] / indexUnit;
      Rows::add(rows + row * static_cast<int64_t>(width * Rows::weightBytes), width, out);
    }
  }
}

template <typename Rows>
inline void gatherField(const uint8_t* rows, const Field& field, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                        bool add, int32_t* out) {
  for (uint32_t p = 0; p < pairCount; ++p) {
    const StepPair& pair = pairs[p];
    int32_t* first = out + static_cast<uint64_t>(pair.first) * width;
    int32_t* second = out + static_cast<uint64_t>(pair.second) * width;
    for (uint32_t w = 0; w < width && !add; ++w) first[w] = second[w] = 0;
    addList<Rows>(rows, field, pair.list, width, first);
    if (pair.single()) continue;
    addList<Rows>(rows, field, pair.list + 1, width, first);
    addList<Rows>(rows, field, pair.list, width, second);
    addList<Rows>(rows, field, pair.list + 2, width, second);
  }
}

template <typename Rows>
inline void gather(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                   bool add, int32_t* out) {
  for (uint32_t position = 0; position < fields.positions; ++position, out += fields.stride) {
    gatherField<Rows>(rows, fieldOf(fields, position), pairs, pairCount, width, add, out);
  }
}

}  // namespace

void gather_i7__scalar(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                       bool add, int32_t* out) {
  gather<ByteRows<RowFormat::i7>>(rows, fields, pairs, pairCount, width, add, out);
}

void gather_i8__scalar(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                       bool add, int32_t* out) {
  gather<ByteRows<RowFormat::i8>>(rows, fields, pairs, pairCount, width, add, out);
}

void gather_i16__scalar(const uint8_t* rows, const Fields& fields, const StepPair* pairs, uint32_t pairCount, uint32_t width,
                        bool add, int32_t* out) {
  gather<Int16Rows>(rows, fields, pairs, pairCount, width, add, out);
}

}  // namespace noisefloor
