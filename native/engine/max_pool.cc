#include "max_pool.h"

#include <algorithm>
#include <bitset>
#include <cstring>

namespace noisefloor {
namespace {

/// Channels at a time: loops over lanes have this fixed length, so that compilers make vectors of them.
constexpr size_t lanes = 16;
/// Counts are kept relative to the largest before the pass, which stands at `origin`. An input that is further behind
/// than a pass has steps cannot catch up, so that 8 bits are enough.
constexpr int32_t origin = 128;

/// Of the inputs of a window, for `lanes` channels from `lane` on: where they start.
void startCounts(const WindowScratch& window, size_t lane, uint8_t* counts) {
  const size_t inputs = window.words.size();
  if (window.before.empty()) return static_cast<void>(std::memset(counts, origin, inputs * lanes));
  int32_t most[lanes];
  std::copy_n(window.before[0] + lane, lanes, most);
  for (size_t i = 1; i < inputs; ++i) {
    for (size_t l = 0; l < lanes; ++l) most[l] = std::max(most[l], window.before[i][lane + l]);
  }
  for (size_t i = 0; i < inputs; ++i) {
    for (size_t l = 0; l < lanes; ++l) {
      counts[i * lanes + l] = static_cast<uint8_t>(origin - std::min(most[l] - window.before[i][lane + l], wordSteps + 1));
    }
  }
}

/// The inputs that spike within the 8 steps from `8 * byte` on. The others cannot become the largest.
template <typename Word>
void findActive(WindowScratch& window, size_t lane, uint32_t byte) {
  window.activeInputs.clear();
  for (size_t i = 0; i < window.words.size(); ++i) {
    Word words[lanes];
    std::memcpy(words, window.words[i] + lane * sizeof(Word), sizeof words);
    uint8_t spikes[lanes];
    for (size_t l = 0; l < lanes; ++l) spikes[l] = static_cast<uint8_t>(words[l] >> (8 * byte));
    uint64_t halves[2];
    std::memcpy(halves, spikes, sizeof spikes);
    if ((halves[0] | halves[1]) == 0) continue;
    std::memcpy(window.active.data() + window.activeInputs.size() * lanes, spikes, lanes);
    window.activeInputs.push_back(static_cast<uint32_t>(i));
  }
}

struct Bits {
  uint8_t ofStep[8][lanes];
};

constexpr Bits makeBits() {
  Bits bits{};
  for (size_t t = 0; t < 8; ++t) {
    for (size_t l = 0; l < lanes; ++l) bits.ofStep[t][l] = static_cast<uint8_t>(1U << t);
  }
  return bits;
}

constexpr Bits bits = makeBits();

/// Up to 8 steps: counts on, and writes the spikes of the largest count. Tests for bits and no shifts: those there are for
/// vectors of bytes.
template <uint32_t steps>
void countOn(WindowScratch& window, uint8_t* most, uint8_t* spikes) {
  uint8_t largest[steps + 1][lanes];  // before the first step, and after each
  for (auto& one : largest) std::memcpy(one, most, lanes);
  for (size_t k = 0; k < window.activeInputs.size(); ++k) {
    uint8_t source[lanes], count[lanes];
    uint8_t* kept = window.counts.data() + window.activeInputs[k] * lanes;
    std::memcpy(source, window.active.data() + k * lanes, lanes);
    std::memcpy(count, kept, lanes);
    for (uint32_t t = 0; t < steps; ++t) {
      for (size_t l = 0; l < lanes; ++l) {
        count[l] = static_cast<uint8_t>(count[l] + ((source[l] & bits.ofStep[t][l]) != 0 ? 1 : 0));
        largest[t + 1][l] = std::max(largest[t + 1][l], count[l]);
      }
    }
    std::memcpy(kept, count, lanes);
  }
  std::memset(spikes, 0, lanes);
  for (uint32_t t = 0; t < steps; ++t) {
    for (size_t l = 0; l < lanes; ++l) {
      spikes[l] = static_cast<uint8_t>(spikes[l] | (largest[t + 1][l] != largest[t][l] ? bits.ofStep[t][l] : 0));
    }
  }
  std::memcpy(most, largest[steps], lanes);
}

using CountFn = void(WindowScratch&, uint8_t*, uint8_t*);
constexpr CountFn* countSteps[] = {countOn<1>, countOn<2>, countOn<3>, countOn<4>, countOn<5>, countOn<6>, countOn<7>, countOn<8>};

template <typename Word>
void pool(WindowScratch& window, uint32_t channels, uint32_t steps, uint8_t* out) {
  for (size_t lane = 0; lane < channels; lane += lanes) {
    startCounts(window, lane, window.counts.data());
    uint8_t most[lanes];
    std::memset(most, origin, lanes);
    Word result[lanes] = {};
    for (uint32_t byte = 0; 8 * byte < steps; ++byte) {
      findActive<Word>(window, lane, byte);
      uint8_t spikes[lanes];
      countSteps[std::min(8U, steps - 8 * byte) - 1](window, most, spikes);
      for (size_t l = 0; l < lanes; ++l) result[l] = static_cast<Word>(result[l] | static_cast<Word>(spikes[l]) << (8 * byte));
    }
    std::memcpy(out + lane * sizeof(Word), result, sizeof result);
  }
}

template <typename Word>
void addSpikes(const uint8_t* bytes, const int32_t* before, int32_t* after, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, bytes + i * sizeof word, sizeof word);
    after[i] = (before != nullptr ? before[i] : 0) + static_cast<int32_t>(std::bitset<64>(word).count());
  }
}

}  // namespace

void WindowScratch::reserve(const Layer& layer) {
  const size_t inputs = static_cast<size_t>(layer.poolWindows.taps());
  words.reserve(inputs);
  before.reserve(inputs);
  activeInputs.reserve(inputs);
  counts.reserve(inputs * lanes);
  active.reserve((inputs + 1) * lanes);
}

void poolSpikes(const Chunk& chunk, const Layer& layer, size_t index, const Position& at, uint32_t block, const int32_t* before,
                WindowScratch& scratch) {
  const Layer& source = chunk.plan->layers[static_cast<size_t>(layer.poolSource)];
  const size_t first = static_cast<size_t>(block) * layer.width;
  const uint8_t* words = chunk.storeOf(source).words.data() + first * chunk.word.bytes;
  scratch.words.clear();
  scratch.before.clear();
  layer.poolWindows.forEachRun(at.y, at.x, [&](int32_t, int32_t, int32_t y, int32_t x, int32_t count) {
    for (int32_t k = 0; k < count; ++k) {
      const size_t position = at.in(source.shape, y, x + k);
      scratch.words.push_back(words + position * chunk.wordStride(source));
      if (before != nullptr) scratch.before.push_back(before + position * source.channelStride() + first);
    }
  });
  uint8_t* out = chunk.storeOf(layer).words.data() + index * chunk.wordStride(layer) + first * chunk.word.bytes;
  const uint32_t channels = layer.wordsOf(block);
  switch (chunk.word.bytes) {
    case 1: return pool<uint8_t>(scratch, channels, chunk.steps, out);
    case 2: return pool<uint16_t>(scratch, channels, chunk.steps, out);
    case 4: return pool<uint32_t>(scratch, channels, chunk.steps, out);
    default: return pool<uint64_t>(scratch, channels, chunk.steps, out);
  }
}

void countSourceSpikes(const Chunk& chunk, const Layer& layer, size_t row, const int32_t* before, int32_t* after) {
  const Layer& source = chunk.plan->layers[static_cast<size_t>(layer.poolSource)];
  const size_t size = static_cast<size_t>(source.shape.width) * source.channelStride();
  const size_t start = row * size;
  const uint8_t* words = chunk.storeOf(source).words.data() + start * chunk.word.bytes;
  const int32_t* rowBefore = before != nullptr ? before + start : nullptr;
  switch (chunk.word.bytes) {
    case 1: return addSpikes<uint8_t>(words, rowBefore, after + start, size);
    case 2: return addSpikes<uint16_t>(words, rowBefore, after + start, size);
    case 4: return addSpikes<uint32_t>(words, rowBefore, after + start, size);
    default: return addSpikes<uint64_t>(words, rowBefore, after + start, size);
  }
}

}  // namespace noisefloor
