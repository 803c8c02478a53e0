#include "max_pool.h"

#include <algorithm>
#include <cstring>

namespace noisefloor {
namespace {

/// Channels at a time.
constexpr size_t lanes = 16;
using Bytes = uint8_t __attribute__((vector_size(lanes)));
/// The words of all lanes.
template <typename Word>
struct WordVector;
template <>
struct WordVector<uint8_t> { using type = Bytes; };
template <>
struct WordVector<uint16_t> { using type = uint16_t __attribute__((vector_size(2 * lanes))); };
template <>
struct WordVector<uint32_t> { using type = uint32_t __attribute__((vector_size(4 * lanes))); };
template <>
struct WordVector<uint64_t> { using type = uint64_t __attribute__((vector_size(8 * lanes))); };
template <typename Word>
using Words = typename WordVector<Word>::type;
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

Bytes load(const uint8_t* from) {
  Bytes bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return bytes;
}

/// The inputs that spike within the 8 steps from `8 * byte` on. The others cannot become the largest.
template <typename Word>
void findActive(WindowScratch& window, size_t lane, uint32_t byte) {
  window.activeInputs.clear();
  for (size_t i = 0; i < window.words.size(); ++i) {
    Words<Word> words;
    std::memcpy(&words, window.words[i] + lane * sizeof(Word), sizeof words);
    const auto spikes = __builtin_convertvector(words >> (8 * byte), Bytes);
    uint64_t halves[2];
    std::memcpy(halves, &spikes, sizeof spikes);
    if ((halves[0] | halves[1]) == 0) continue;
    std::memcpy(window.active.data() + window.activeInputs.size() * lanes, &spikes, lanes);
    window.activeInputs.push_back(static_cast<uint32_t>(i));
  }
}

/// Up to 8 steps: counts on; the spikes of the largest count.
Bytes countOn(WindowScratch& window, uint32_t steps, uint8_t* most) {
  Bytes largest[9];  // before the first step, and after each
  std::fill_n(largest, 9, load(most));
  for (size_t k = 0; k < window.activeInputs.size(); ++k) {
    const Bytes source = load(window.active.data() + k * lanes);
    uint8_t* kept = window.counts.data() + window.activeInputs[k] * lanes;
    Bytes count = load(kept);
    for (uint32_t t = 0; t < steps; ++t) {
      count -= reinterpret_cast<Bytes>((source & static_cast<uint8_t>(1U << t)) != 0);
      largest[t + 1] = count > largest[t + 1] ? count : largest[t + 1];
    }
    std::memcpy(kept, &count, sizeof count);
  }
  Bytes found = {};
  for (uint32_t t = 0; t < steps; ++t) {
    found |= reinterpret_cast<Bytes>(largest[t + 1] != largest[t]) & static_cast<uint8_t>(1U << t);
  }
  std::memcpy(most, &largest[steps], lanes);
  return found;
}

template <typename Word>
void pool(WindowScratch& window, uint32_t channels, uint32_t steps, uint8_t* out) {
  for (size_t lane = 0; lane < channels; lane += lanes) {
    startCounts(window, lane, window.counts.data());
    uint8_t most[lanes];
    std::memset(most, origin, lanes);
    Words<Word> result = {};
    for (uint32_t byte = 0; 8 * byte < steps; ++byte) {
      findActive<Word>(window, lane, byte);
      const Bytes spikes = countOn(window, std::min(8U, steps - 8 * byte), most);
      result |= __builtin_convertvector(spikes, Words<Word>) << (8 * byte);
    }
    std::memcpy(out + lane * sizeof(Word), &result, sizeof result);
  }
}

template <typename Word>
void addSpikes(const uint8_t* bytes, const int32_t* before, int32_t* after, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, bytes + i * sizeof word, sizeof word);
    after[i] = (before != nullptr ? before[i] : 0) + __builtin_popcountll(word);
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
