#include "accumulate.h"

#include <algorithm>
#include <cstring>

namespace noisefloor {
namespace {

/// The channels of a block that exist.
struct ChannelRange {
  size_t begin;
  size_t end;
};

ChannelRange blockChannels(const Layer& layer, uint32_t block) {
  const size_t begin = static_cast<size_t>(block) * layer.width;
  return {begin, std::min(begin + layer.width, static_cast<size_t>(layer.shape.channels))};
}

inline void addWrapping(int32_t& sum, int32_t value) {
  sum = static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(value));
}

/// Adds value * weights of one input to the channels of its group that are in `range`; acc starts at range.begin.
inline void addGroupRow(const Synapse& synapse, size_t outPerGroup, size_t group, size_t row, int32_t value,
                        const ChannelRange& range, int32_t* acc) {
  const int16_t* weights = synapse.groupRows.data() + row * outPerGroup;
  const size_t first = group * outPerGroup;
  const size_t begin = std::max(first, range.begin);
  const size_t end = std::min(first + outPerGroup, range.end);
  for (size_t c = begin; c < end; ++c) addWrapping(acc[c - range.begin], weights[c - first] * value);
}

/// Channels that are counted at a time.
constexpr size_t countedLanes = 64;

/// A byte, that is eight steps, of the words of some channels, at each position of a window. They are copied because in the store they lie
/// a power of two apart and would evict one another.
using CountedWindow = uint8_t[mostCounted][countedLanes];
static_assert(mostCounted <= UINT8_MAX, "a count fits a byte");

void copyBytes(const uint8_t* words, size_t stride, size_t count, uint8_t* to) {
  if (stride == 1) {
    std::memcpy(to, words, count);
    return;
  }
  for (size_t c = 0; c < count; ++c) to[c] = words[c * stride];
}

void countBits(const CountedWindow& bytes, size_t positions, uint32_t step, size_t channels, int16_t* counts) {
  const uint8_t bit = static_cast<uint8_t>(1U << step);
  uint8_t sums[countedLanes] = {};
  for (size_t i = 0; i < positions; ++i) {
    for (size_t c = 0; c < countedLanes; ++c) sums[c] = static_cast<uint8_t>(sums[c] + ((bytes[i][c] & bit) != 0));
  }
  std::copy_n(sums, channels, counts);
}

/// Pairs of weights that all steps pass over together, while they are in the caches: 32 KiB of 128 channels.
constexpr uint32_t pairsAtOnce = 64;

const int16_t* pixelAt(const Chunk& chunk, const Position& at, uint32_t frame, int32_t y, int32_t x) {
  const Shape& shape = chunk.plan->input;
  const size_t image = at.image * chunk.frames + frame;
  const size_t position = image * static_cast<size_t>(shape.positions()) + static_cast<size_t>(y * shape.width + x);
  return chunk.input + position * static_cast<size_t>(shape.channels);
}

}  // namespace

void accumulateDiagonal(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at,
                        uint32_t block, int32_t* acc) {
  const uint32_t width = layer.wordsOf(block);
  std::memset(acc, 0, sizeof(int32_t) * chunk.steps * width);
  const Layer& source = chunk.sourceOf(synapse);
  // Equal channels mean equal blocks, so the layer's block is the source's.
  const uint8_t* words = chunk.storeOf(source).words.data() + static_cast<size_t>(block) * layer.width * chunk.word.bytes;
  const size_t stride = chunk.wordStride(source);
  const int32_t* weights = synapse.diagonal.data() + static_cast<size_t>(block) * layer.width;
  synapse.geometry.forEachRun(at.y, at.x, [&](int32_t tap, int32_t, int32_t y, int32_t x, int32_t count) {
    for (int32_t k = 0; k < count; ++k) {
      const int32_t* row = weights + static_cast<size_t>(tap + k) * source.channelStride();
      chunk.word.diagonal(words + at.in(source.shape, y, x + k) * stride, row, chunk.steps, width, acc);
    }
  });
}

void accumulateGrouped(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at,
                       uint32_t block, int32_t* acc) {
  std::memset(acc, 0, sizeof(int32_t) * chunk.steps * layer.width);
  const Layer& source = chunk.sourceOf(synapse);
  const SpikeStore& store = chunk.storeOf(source);
  const size_t channels = static_cast<size_t>(source.shape.channels);
  const size_t inPerGroup = channels / static_cast<size_t>(synapse.groups);
  const size_t outPerGroup = static_cast<size_t>(layer.shape.channels / synapse.groups);
  const ChannelRange range = blockChannels(layer, block);
  const size_t firstIn = range.begin / outPerGroup * inPerGroup;
  const size_t lastIn = (range.end - 1) / outPerGroup * inPerGroup + inPerGroup;
  const auto addPosition = [&](int32_t tap, int32_t y, int32_t x) {
    const uint32_t* starts = chunk.startsOf(source, at.image, y, x);
    const size_t origin = static_cast<size_t>(x) * source.channelStride();
    for (uint32_t l = 0; l < chunk.lists.listCount; ++l, starts += source.shape.width + 1) {
      const uint32_t* end = store.indices.data() + starts[1];
      const uint32_t* i = std::lower_bound(store.indices.data() + starts[0], end, indexUnit * (origin + firstIn));
      for (; i < end && *i < indexUnit * (origin + lastIn); ++i) {
        const size_t c = *i / indexUnit - origin;
        chunk.forEachStep(l, [&](uint32_t t) {
          addGroupRow(synapse, outPerGroup, c / inPerGroup, static_cast<size_t>(tap) * channels + c, 1, range,
                      acc + static_cast<size_t>(t) * layer.width);
        });
      }
    }
  };
  synapse.geometry.forEachRun(at.y, at.x, [&](int32_t tap, int32_t, int32_t y, int32_t x, int32_t count) {
    for (int32_t k = 0; k < count; ++k) addPosition(tap + k, y, x + k);
  });
}

void countWindow(const Chunk& chunk, const Synapse& synapse, const Position& at, int16_t* counts) {
  const Layer& source = chunk.sourceOf(synapse);
  const uint8_t* const words = chunk.storeOf(source).words.data();
  const uint8_t* positions[mostCounted];
  size_t size = 0;
  synapse.geometry.forEachRun(at.y, at.x, [&](int32_t, int32_t, int32_t y, int32_t x, int32_t) {
    positions[size++] = words + at.in(source.shape, y, x) * chunk.wordStride(source);
  });
  const size_t channels = static_cast<size_t>(source.shape.channels);
  const size_t stride = size_t{2} * synapse.pairs;
  // The other half of the last pair, where the channels are odd in number.
  for (uint32_t t = 0; t < chunk.steps && channels < stride; ++t) counts[t * stride + channels] = 0;
  CountedWindow bytes;
  std::memset(bytes, 0, size * countedLanes);
  for (size_t first = 0; first < channels; first += countedLanes) {
    const size_t lanes = std::min(channels - first, countedLanes);
    for (uint32_t t = 0; t < chunk.steps; ++t) {
      if (t % 8 == 0) {
        for (size_t i = 0; i < size; ++i) copyBytes(positions[i] + first * chunk.word.bytes + t / 8, chunk.word.bytes, lanes, bytes[i]);
      }
      countBits(bytes, size, t % 8, lanes, counts + t * stride + first);
    }
  }
}

void accumulateCounted(const Chunk& chunk, const Synapse& synapse, const Layer& layer, uint32_t block, const int16_t* counts, int32_t* acc) {
  const int16_t* const weights = synapse.matrix.data() + static_cast<size_t>(block) * synapse.pairs * layer.width * 2;
  for (uint32_t first = 0; first < synapse.pairs; first += pairsAtOnce) {
    const uint32_t pairs = std::min(synapse.pairs - first, pairsAtOnce);
    for (uint32_t t = 0; t < chunk.steps; ++t) {
      alignas(64) int32_t sums[mostCountedWidth];
      int32_t* const target = acc + static_cast<size_t>(t) * layer.width;
      chunk.kernels->dense_i16(counts + 2 * (static_cast<size_t>(t) * synapse.pairs + first), pairs, weights + static_cast<size_t>(first) * layer.width * 2,
                               layer.width, first == 0 ? target : sums);
      if (first == 0) continue;
      for (uint32_t w = 0; w < layer.width; ++w) addWrapping(target[w], sums[w]);
    }
  }
}

void accumulateDense(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at, uint32_t frame,
                     uint32_t block, Buffer<int16_t>& patch, int32_t* acc) {
  const size_t channels = static_cast<size_t>(chunk.plan->input.channels);
  const size_t window = static_cast<size_t>(synapse.geometry.poolSize());
  patch.reserve(static_cast<size_t>(synapse.pairs) * 2);
  std::memset(patch.data(), 0, sizeof(int16_t) * synapse.pairs * 2);
  synapse.geometry.forEachRun(at.y, at.x, [&](int32_t tap, int32_t element, int32_t y, int32_t x, int32_t count) {
    const size_t slot = static_cast<size_t>(tap) * window + static_cast<size_t>(element);
    std::memcpy(patch.data() + slot * channels, pixelAt(chunk, at, frame, y, x),
                sizeof(int16_t) * channels * static_cast<size_t>(count));
  });
  const size_t blockSize = static_cast<size_t>(synapse.pairs) * layer.width * 2;
  chunk.kernels->dense_i16(patch.data(), synapse.pairs, synapse.matrix.data() + block * blockSize, layer.width, acc);
}

void accumulateDenseGrouped(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at,
                            uint32_t frame, uint32_t block, int32_t* acc) {
  std::memset(acc, 0, sizeof(int32_t) * layer.width);
  const size_t channels = static_cast<size_t>(chunk.plan->input.channels);
  const size_t inPerGroup = channels / static_cast<size_t>(synapse.groups);
  const size_t outPerGroup = static_cast<size_t>(layer.shape.channels / synapse.groups);
  const ChannelRange range = blockChannels(layer, block);
  synapse.geometry.forEachRun(at.y, at.x, [&](int32_t tap, int32_t, int32_t y, int32_t x, int32_t count) {
    const int16_t* pixel = pixelAt(chunk, at, frame, y, x);
    const size_t row = static_cast<size_t>(tap) * channels;
    for (size_t i = 0; i < channels * static_cast<size_t>(count); ++i) {
      addGroupRow(synapse, outPerGroup, i % channels / inPerGroup, row + i, pixel[i], range, acc);
    }
  });
}

void accumulateDenseIdentity(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at,
                             uint32_t frame, uint32_t block, int32_t* acc) {
  std::memset(acc, 0, sizeof(int32_t) * layer.width);
  const ChannelRange range = blockChannels(layer, block);
  synapse.geometry.forEachRun(at.y, at.x, [&](int32_t, int32_t, int32_t y, int32_t x, int32_t) {
    const int16_t* pixel = pixelAt(chunk, at, frame, y, x);
    for (size_t c = range.begin; c < range.end; ++c) addWrapping(acc[c - range.begin], pixel[c]);
  });
}

void countOperations(const Chunk& chunk, const Synapse& synapse, size_t row, uint64_t* operations) {
  const Shape& shape = chunk.plan->sourceShape(synapse);
  const size_t height = static_cast<size_t>(shape.height);
  const size_t width = static_cast<size_t>(shape.width);
  const size_t channels = static_cast<size_t>(shape.channels);
  if (synapse.analog()) {
    const int16_t* pixel = chunk.input + row * width * channels;
    for (size_t x = 0; x < width; ++x, pixel += channels) {
      const uint32_t* fanout = synapse.fanout.at(row % height, x);
      for (size_t c = 0; c < channels; ++c) operations[0] += pixel[c] != 0 ? fanout[c] : 0;
    }
    return;
  }
  const Layer& source = chunk.sourceOf(synapse);
  const uint32_t* indices = chunk.storeOf(source).indices.data();
  const uint32_t* starts = chunk.startsOf(source, row / height, static_cast<int32_t>(row % height), 0);
  for (uint32_t l = 0; l < chunk.lists.listCount; ++l, starts += width + 1) {
    uint64_t sum = 0;
    for (size_t x = 0; x < width; ++x) {
      const uint32_t* fanout = synapse.fanout.at(row % height, x);
      const size_t origin = x * source.channelStride();
      for (uint32_t i = starts[x]; i < starts[x + 1]; ++i) sum += fanout[indices[i] / indexUnit - origin];
    }
    chunk.forEachStep(l, [&](uint32_t t) { operations[t] += sum; });
  }
}

}  // namespace noisefloor
