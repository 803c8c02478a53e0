#include <cstring>
#include <random>

#include "../engine/chunk.h"
#include "check.h"

// Every kernel of kernels.inc against plain loops over the contract in its header, with guards around the outputs.

using namespace noisefloor;
using namespace noisefloor::test;

namespace {

constexpr uint32_t widths[] = {32, 64, 128};
constexpr uint32_t blockWidths[] = {32, 64, 128, 256};
constexpr uint32_t wordCounts[] = {16, 32, 48, 64, 112, 128};
constexpr uint32_t stepCounts[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64};
constexpr int32_t guard = 0x5a5a5a5a;

std::mt19937 random_(42);
int32_t uniform(int32_t low, int32_t high) {
  return low + static_cast<int32_t>(random_() % static_cast<uint32_t>(high - low + 1));
}

/// `set` chooses between random and extreme weights.
int32_t weightValue(int set, int32_t low, int32_t high) {
  if (set == 0) return uniform(low, high);
  return set == 1 ? low : high;
}

void setRowWeight(uint8_t* row, uint32_t w, RowFormat format, int32_t value) {
  if (format == RowFormat::i16) {
    const int16_t narrow = static_cast<int16_t>(value);
    std::memcpy(row + 2 * w, &narrow, 2);
  } else if (w % 32 < 16) {
    row[w / 32 * 32 + 2 * (w % 16)] = static_cast<uint8_t>(value + (format == RowFormat::i7 ? 64 : 128));
  } else {
    row[w / 32 * 32 + 2 * (w % 16) + 1] = static_cast<uint8_t>(value);
  }
}

/// Lists of spikes as IndexFn makes them, of `longest` spikes at most, and segments over them.
struct FieldCase {
  std::vector<uint32_t> indices;
  std::vector<std::vector<uint32_t>> starts;
  std::vector<Segment> segments;
};

constexpr uint32_t rowCount = 137;

FieldCase makeFieldCase(uint32_t lists, uint32_t segmentCount, int32_t longest) {
  constexpr uint32_t positions = 5;
  constexpr uint32_t listStride = positions + 1;
  FieldCase f;
  f.starts.resize(segmentCount);
  for (auto& starts : f.starts) {
    for (uint32_t i = 0; i < lists * listStride; ++i) {
      starts.push_back(static_cast<uint32_t>(f.indices.size()));
      const bool spikes = i % listStride != positions;
      for (int n = spikes ? uniform(0, longest) : 0; n > 0; --n) {
        f.indices.push_back(indexUnit * (1000 + static_cast<uint32_t>(random_()) % (rowCount - 7)));
      }
    }
    const uint32_t first = static_cast<uint32_t>(random_()) % positions;
    const uint32_t count = 1 + static_cast<uint32_t>(random_()) % (positions - first);
    // A base below 0: the first positions of a row are seen through the last taps.
    f.segments.push_back({starts.data() + first, count, listStride, uniform(0, 7) - 1000});
  }
  f.indices.insert(f.indices.end(), listSlack, 0xffffffff);
  return f;
}

/// To the sums of every step that `steps` has a bit for.
void addRow(const int32_t* weights, uint32_t width, uint64_t steps, std::vector<int32_t>& sums) {
  for (size_t t = 0; t * width < sums.size(); ++t) {
    for (uint32_t w = 0; w < width && ((steps >> t) & 1) != 0; ++w) {
      int32_t& sum = sums[t * width + w];
      sum = static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(weights[w]));  // modulo 2^32
    }
  }
}

void checkGather(GatherFn* kernel, RowFormat format) {
  const bool wide = format == RowFormat::i16;
  const int32_t highest = wide ? 32767 : format == RowFormat::i8 ? 127 : 63;
  for (uint32_t width : blockWidths) {
    if (wide && width > 64) continue;
    for (int set : {0, 1, 2}) {
      const uint32_t rowBytes = width * (wide ? 2 : 1);
      Buffer<uint8_t> rows(rowCount * rowBytes);
      std::vector<int32_t> weights(rowCount * width);
      for (uint32_t i = 0; i < weights.size(); ++i) {
        weights[i] = weightValue(set, -highest - 1, highest);
        setRowWeight(rows.data() + i / width * rowBytes, i % width, format, weights[i]);
      }
      for (uint32_t steps : {1U, 3U, 10U}) {
        for (uint32_t segmentCount : {0U, 1U, 3U, 20U}) {
          for (int32_t longest : {1, 9, 252, 510, 1100}) {
            const StepLists lists = stepLists(steps);
            const FieldCase f = makeFieldCase(lists.listCount, segmentCount, longest);
            for (bool add : {false, true}) {
              // Two positions: some of the segments from the second one on, and the others.
              const uint32_t first = segmentCount < 2 ? 0 : 1;
              const uint32_t ends[] = {(first + segmentCount) / 2, segmentCount};
              const size_t stride = steps * width + 8;
              std::vector<int32_t> out(2 * stride, guard);
              kernel(rows.data(), {f.indices.data(), f.segments.data(), ends, first, 2, stride}, lists.pairs, lists.pairCount, width, add, out.data());
              for (uint32_t p = 0; p < 2; ++p) {
                std::vector<int32_t> expected(steps * width, add ? guard : 0);
                for (uint32_t l = 0; l < lists.listCount; ++l) {
                  for (uint32_t k = p == 0 ? first : ends[0]; k < ends[p]; ++k) {
                    const Segment& s = f.segments[k];
                    const uint32_t* starts = s.starts + l * s.listStride;
                    for (uint32_t i = starts[0]; i < starts[s.positions]; ++i) {
                      const size_t row = static_cast<size_t>(s.base + f.indices[i] / indexUnit);
                      addRow(weights.data() + row * width, width, lists.rules[l].value, expected);
                    }
                  }
                }
                const auto begin = out.begin() + static_cast<std::ptrdiff_t>(p * stride);
                CHECK(std::equal(expected.begin(), expected.end(), begin));
                CHECK(std::count(begin + steps * width, begin + static_cast<std::ptrdiff_t>(stride), guard) == 8);
              }
            }
          }
        }
      }
    }
  }
}

template <typename Word>
std::vector<Word> randomWords(uint32_t count, uint32_t steps, int kind) {
  std::vector<Word> words(count);
  const uint64_t mask = steps == 64 ? ~uint64_t{0} : (uint64_t{1} << steps) - 1;
  for (Word& word : words) {
    const uint64_t bits = (static_cast<uint64_t>(random_()) << 32) | random_();
    const uint64_t thinned = kind == 0 ? 0 : kind == 1 ? ~uint64_t{0} : bits & ((static_cast<uint64_t>(random_()) << 32) | random_());
    word = static_cast<Word>(thinned & mask);
  }
  return words;
}

template <typename Word>
bool holds(uint32_t steps) {
  const uint32_t bits = 8 * sizeof(Word);
  return steps <= bits && (bits == 8 || steps > bits / 2);
}

template <typename Word>
void checkIndexRow(IndexFn* kernel, uint32_t positions, uint32_t stride, uint32_t steps, int kind) {
  const std::vector<Word> words = randomWords<Word>(positions * stride, steps, kind);
  std::vector<uint32_t> expected(5, 0xabcd);
  std::vector<uint32_t> expectedStarts;
  const StepLists lists = stepLists(steps);
  for (uint32_t l = 0; l < lists.listCount; ++l) {
    const ListRule& rule = lists.rules[l];
    for (uint32_t i = 0; i < positions * stride; ++i) {
      if (i % stride == 0) expectedStarts.push_back(static_cast<uint32_t>(expected.size()));
      if ((words[i] & rule.mask) == rule.value) expected.push_back(indexUnit * i);
    }
    expectedStarts.push_back(static_cast<uint32_t>(expected.size()));
  }
  std::vector<uint32_t> indices(expected.size() + 16 + 4, 0xabcd);
  std::vector<uint32_t> starts(lists.listCount * (positions + 1) + 1, 0xabcd);
  starts[0] = 5;
  kernel(words.data(), positions, stride, lists.rules, lists.listCount, indices.data(), starts.data());
  CHECK(std::equal(expected.begin(), expected.end(), indices.begin()));
  CHECK(std::equal(expectedStarts.begin(), expectedStarts.end(), starts.begin()));
  CHECK(std::count(indices.end() - 4, indices.end(), 0xabcd) == 4 && starts.back() == 0xabcd);
}

template <typename Word>
void checkIndex(IndexFn* kernel) {
  for (uint32_t steps : stepCounts) {
    if (!holds<Word>(steps)) continue;
    for (int kind : {0, 1, 2}) {
      checkIndexRow<Word>(kernel, 1, 16, steps, kind);
      checkIndexRow<Word>(kernel, 1, 1024, steps, kind);
      checkIndexRow<Word>(kernel, 3, 48, steps, kind);
      checkIndexRow<Word>(kernel, 14, 32, steps, kind);
    }
  }
}

template <typename Word>
void checkDiagonal(DiagonalFn* kernel) {
  for (uint32_t steps : stepCounts) {
    if (!holds<Word>(steps)) continue;
    for (uint32_t width : wordCounts) {
      const std::vector<Word> words = randomWords<Word>(width, steps, 2);
      std::vector<int32_t> weights;
      for (uint32_t w = 0; w < width; ++w) weights.push_back(static_cast<int32_t>(w * 7919 % 65536) - 32768);
      std::vector<int32_t> acc(steps * width + 8, guard);
      kernel(words.data(), weights.data(), steps, width, acc.data());
      bool same = true;
      for (uint32_t t = 0; t < steps; ++t) {
        for (uint32_t w = 0; w < width; ++w) {
          same = same && acc[t * width + w] == guard + ((words[w] >> t) & 1 ? weights[w] : 0);
        }
      }
      CHECK(same);
      CHECK(std::count(acc.end() - 8, acc.end(), guard) == 8);
    }
  }
}

constexpr uint32_t firePositions = 3;

/// Of three positions, with a gap between them.
template <typename Word>
struct FireCase {
  uint32_t stride;  ///< of words and potentials
  std::vector<int32_t> acc[3], multiplier[3];
  std::vector<Word> words;  ///< of the source of term 2, an identity
  std::vector<int32_t> bias, threshold, initial;
  std::vector<Term> terms;
};

template <typename Word>
FireCase<Word> makeFireCase(uint32_t steps, uint32_t width, uint32_t termCount) {
  FireCase<Word> f;
  f.stride = width + 5;
  f.words = randomWords<Word>(firePositions * f.stride, steps, 2);
  for (uint32_t w = 0; w < width; ++w) {
    f.bias.push_back(uniform(-200, 400));
    f.threshold.push_back(uniform(1, 2000));
  }
  for (uint32_t i = 0; i < firePositions * f.stride; ++i) f.initial.push_back(uniform(-500, 1000));
  for (uint32_t i = 0; i < termCount; ++i) {
    const bool analog = i == 1;
    const uint32_t accStride = (analog ? width : steps * width) + 3;
    for (uint32_t k = 0; k < firePositions * accStride; ++k) f.acc[i].push_back(uniform(-1000, 1400));
    for (uint32_t w = 0; w < width; ++w) f.multiplier[i].push_back(i == 2 ? uniform(1, 900) : uniform(1, 4));
    const bool identity = i == 2;
    f.terms.push_back({identity ? f.words.data() : nullptr, f.acc[i].data(), analog ? 0 : width, f.multiplier[i].data(), analog ? 4 : 0, analog ? 3 : 0,
                       accStride, f.stride * sizeof(Word)});
  }
  return f;
}

struct Fired {
  uint64_t word;
  int64_t last;
};

template <typename Word>
Fired expectedFire(const FireCase<Word>& f, uint32_t steps, uint32_t position, uint32_t w, int32_t initial) {
  int64_t v = initial;
  uint64_t word = 0;
  for (uint32_t t = 0; t < steps; ++t) {
    v += f.bias[w];
    for (size_t i = 0; i < f.terms.size(); ++i) {
      const Term& term = f.terms[i];
      if (term.words != nullptr) {
        v += ((f.words[position * f.stride + w] >> t) & 1) != 0 ? term.multiplier[w] : 0;
        continue;
      }
      const int64_t acc = f.acc[i][position * term.accStride + t * term.stepStride + w];
      v += (acc * term.multiplier[w] + term.half) >> term.shift;
    }
    if (v < f.threshold[w]) continue;
    v -= f.threshold[w];
    word |= uint64_t{1} << t;
  }
  return {word, v};
}

/// Potentials of each position of its own, stored elsewhere or in place, or the same for all.
template <typename Word>
void checkFire(FireFn* kernel, uint32_t steps, uint32_t width, uint32_t termCount) {
  const FireCase<Word> f = makeFireCase<Word>(steps, width, termCount);
  const uint32_t size = firePositions * f.stride;
  const Span span = {firePositions, f.stride * sizeof(Word)};
  for (int kind : {0, 1, 2}) {
    std::vector<int32_t> potentials = f.initial;
    std::vector<int32_t> last(size, guard);
    int32_t* const after = kind == 0 ? nullptr : kind == 1 ? last.data() : potentials.data();
    const uint64_t initialStride = kind == 1 ? 0 : f.stride;
    std::vector<Word> words(size, static_cast<Word>(0x5a));
    kernel(f.terms.data(), termCount, {f.bias.data(), f.threshold.data(), potentials.data(), after, initialStride, f.stride}, steps, width, span, words.data());
    bool same = true;
    for (uint32_t i = 0; i < size; ++i) {
      const uint32_t w = i % f.stride;
      if (w >= width) {
        same = same && words[i] == static_cast<Word>(0x5a) && last[i] == guard && potentials[i] == f.initial[i];
        continue;
      }
      const Fired expected = expectedFire(f, steps, i / f.stride, w, f.initial[kind == 1 ? w : i]);
      same = same && words[i] == expected.word && (after == nullptr || after[i] == expected.last);
    }
    CHECK(same);
  }
}

template <typename Word>
void checkFire(FireFn* kernel) {
  for (uint32_t steps : stepCounts) {
    if (!holds<Word>(steps)) continue;
    for (uint32_t width : wordCounts) {
      for (uint32_t termCount : {0U, 1U, 2U, 3U}) checkFire<Word>(kernel, steps, width, termCount);
    }
  }
}

void checkDense(DenseFn* kernel) {
  for (uint32_t width : widths) {
    for (uint32_t pairs : {1U, 2U, 14U, 75U}) {
      std::vector<int16_t> patch(2 * pairs);
      for (int16_t& x : patch) x = static_cast<int16_t>(uniform(-32768, 32767));
      Buffer<int16_t> weights(pairs * width * 2);
      for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<int16_t>(uniform(-32768, 32767));
      std::vector<int32_t> out(width + 8, guard);
      kernel(patch.data(), pairs, weights.data(), width, out.data());
      bool same = true;
      for (uint32_t w = 0; w < width; ++w) {
        int64_t sum = 0;
        for (uint32_t k = 0; k < 2 * pairs; ++k) sum += int64_t{patch[k]} * weights[(k / 2 * width + w) * 2 + k % 2];
        same = same && out[w] == static_cast<int32_t>(sum);  // modulo 2^32
      }
      CHECK(same);
      CHECK(std::count(out.end() - 8, out.end(), guard) == 8);
    }
  }
}

void checkMerge(MergeFn* kernel) {
  for (uint32_t steps : {1U, 4U, 9U}) {
    for (uint32_t rowCount : {0U, 1U, 3U}) {
      for (int32_t longest : {1, 9, 40}) {
        constexpr uint32_t positions = 6;
        std::vector<uint32_t> indices;
        std::vector<std::vector<uint32_t>> starts(rowCount);
        std::vector<ListedRow> rows;
        for (auto& of : starts) {
          for (uint32_t i = 0; i < steps * (positions + 1); ++i) {
            of.push_back(static_cast<uint32_t>(indices.size()));
            for (int n = i % (positions + 1) == positions ? 0 : uniform(0, longest); n > 0; --n) indices.push_back(random_() % 5000);
          }
          rows.push_back({nullptr, of.data(), static_cast<uint32_t>(uniform(0, 900))});
        }
        indices.resize(indices.size() + listSlack);
        std::vector<uint32_t> expected(3, 0xabcd);
        std::vector<uint32_t> expectedStarts;
        for (uint32_t t = 0; t < steps; ++t) {
          for (uint32_t x = 0; x < positions; ++x) {
            expectedStarts.push_back(static_cast<uint32_t>(expected.size()));
            for (const ListedRow& row : rows) {
              const uint32_t* bounds = row.starts + t * (positions + 1) + x;
              for (uint32_t i = bounds[0]; i < bounds[1]; ++i) expected.push_back(indices[i] + 24 * x + row.offset);
            }
          }
          expectedStarts.push_back(static_cast<uint32_t>(expected.size()));
        }
        std::vector<uint32_t> merged(expected.size() + listSlack + 2, 0xabcd);
        std::vector<uint32_t> mergedStarts(expectedStarts.size() + 1, 0xabcd);
        mergedStarts[0] = 3;
        kernel(indices.data(), rows.data(), rowCount, positions, steps, 24, merged.data(), mergedStarts.data());
        CHECK(std::equal(expected.begin(), expected.end(), merged.begin()));
        CHECK(std::equal(expectedStarts.begin(), expectedStarts.end(), mergedStarts.begin()) && mergedStarts.back() == 0xabcd);
        CHECK(merged[merged.size() - 1] == 0xabcd && merged[merged.size() - 2] == 0xabcd);
      }
    }
  }
}

void checkMergeWords(MergeWordsFn* kernel) {
  for (uint32_t steps : {1U, 4U, 8U}) {
    const StepLists lists = stepLists(steps);
    for (uint32_t rowCount : {0U, 1U, 3U}) {
      for (uint32_t stride : {16U, 48U, 64U, 112U, 512U}) {
        for (int kind : {0, 1, 2}) {
          constexpr uint32_t positions = 5;
          const std::vector<uint8_t> words = randomWords<uint8_t>(3 * positions * stride, steps, kind);
          std::vector<ListedCell> cells;
          for (uint32_t r = 0; r < rowCount; ++r) {
            for (uint32_t c = 0; c < stride; c += cellWords) {
              cells.push_back({words.data() + r * positions * stride + c, 7000 * r + indexUnit * c, std::min(cellWords, stride - c)});
            }
          }
          std::vector<uint32_t> expected(3, 0xabcd);
          std::vector<uint32_t> expectedStarts;
          for (uint32_t l = 0; l < lists.listCount; ++l) {
            for (uint32_t x = 0; x < positions; ++x) {
              expectedStarts.push_back(static_cast<uint32_t>(expected.size()));
              for (uint32_t i = 0; i < rowCount * stride; ++i) {
                const uint8_t word = words[i / stride * positions * stride + x * stride + i % stride];
                if ((word & lists.rules[l].mask) != lists.rules[l].value) continue;
                expected.push_back(indexUnit * (x * stride + i % stride) + 24 * x + 7000 * (i / stride));
              }
            }
            expectedStarts.push_back(static_cast<uint32_t>(expected.size()));
          }
          std::vector<uint32_t> merged(expected.size() + listSlack + 2, 0xabcd);
          std::vector<uint32_t> starts(expectedStarts.size() + 1, 0xabcd);
          starts[0] = 3;
          kernel(cells.data(), static_cast<uint32_t>(cells.size()), positions, stride, lists.rules, lists.listCount, 24, merged.data(), starts.data());
          CHECK(std::equal(expected.begin(), expected.end(), merged.begin()));
          CHECK(std::equal(expectedStarts.begin(), expectedStarts.end(), starts.begin()) && starts.back() == 0xabcd);
          CHECK(merged[merged.size() - 1] == 0xabcd && merged[merged.size() - 2] == 0xabcd);
        }
      }
    }
  }
}

// One function per name of the list: a kernel without one does not compile.
void check_gather_i7(GatherFn* kernel) { checkGather(kernel, RowFormat::i7); }
void check_gather_i8(GatherFn* kernel) { checkGather(kernel, RowFormat::i8); }
void check_gather_i16(GatherFn* kernel) { checkGather(kernel, RowFormat::i16); }
void check_dense_i16(DenseFn* kernel) { checkDense(kernel); }
void check_fire_u8(FireFn* kernel) { checkFire<uint8_t>(kernel); }
void check_fire_u16(FireFn* kernel) { checkFire<uint16_t>(kernel); }
void check_fire_u32(FireFn* kernel) { checkFire<uint32_t>(kernel); }
void check_fire_u64(FireFn* kernel) { checkFire<uint64_t>(kernel); }
void check_index_u8(IndexFn* kernel) { checkIndex<uint8_t>(kernel); }
void check_index_u16(IndexFn* kernel) { checkIndex<uint16_t>(kernel); }
void check_index_u32(IndexFn* kernel) { checkIndex<uint32_t>(kernel); }
void check_index_u64(IndexFn* kernel) { checkIndex<uint64_t>(kernel); }
void check_diagonal_u8(DiagonalFn* kernel) { checkDiagonal<uint8_t>(kernel); }
void check_diagonal_u16(DiagonalFn* kernel) { checkDiagonal<uint16_t>(kernel); }
void check_diagonal_u32(DiagonalFn* kernel) { checkDiagonal<uint32_t>(kernel); }
void check_mergeWords_u8(MergeWordsFn* kernel) { checkMergeWords(kernel); }
void check_merge(MergeFn* kernel) { checkMerge(kernel); }
void check_diagonal_u64(DiagonalFn* kernel) { checkDiagonal<uint64_t>(kernel); }

}  // namespace

#define NF_KERNEL(name, type, scalar, avx2, avx512, neon) \
  TEST_ISA(kernel_##name) { check_##name(kernelsOf(isa).name); }
#include "../kernels/kernels.inc"
#undef NF_KERNEL

int main() { return runTests(); }
