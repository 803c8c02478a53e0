#include <cstring>
#include <random>

#include "../engine/buffer.h"
#include "check.h"

// Every kernel of kernels.inc against plain loops over the contract in its header, with guards around the outputs.

using namespace noisefloor;
using namespace noisefloor::test;

namespace {

constexpr uint32_t widths[] = {32, 64, 128};
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

void setRowWeight(uint8_t* row, uint32_t w, bool wide, int32_t value) {
  if (wide) {
    const int16_t narrow = static_cast<int16_t>(value);
    std::memcpy(row + 2 * w, &narrow, 2);
  } else if (w % 32 < 16) {
    row[w / 32 * 32 + 2 * (w % 16)] = static_cast<uint8_t>(value + 128);
  } else {
    row[w / 32 * 32 + 2 * (w % 16) + 1] = static_cast<uint8_t>(value);
  }
}

void checkGather(GatherFn* kernel, bool wide) {
  constexpr uint32_t rowCount = 37;
  for (uint32_t width : widths) {
    for (int set : {0, 1, 2}) {
      const uint32_t rowBytes = width * (wide ? 2 : 1);
      Buffer<uint8_t> rows(rowCount * rowBytes);
      std::vector<int32_t> weights(rowCount * width);
      for (uint32_t i = 0; i < weights.size(); ++i) {
        weights[i] = wide ? weightValue(set, -32768, 32767) : weightValue(set, -128, 127);
        setRowWeight(rows.data() + i / width * rowBytes, i % width, wide, weights[i]);
      }
      for (uint32_t steps : {1U, 3U, 10U}) {
        constexpr uint32_t lengths[] = {252, 4, 0, 8, 248, 256, 260, 504, 508, 2000};
        std::vector<uint32_t> offsets;
        std::vector<int32_t> expected(steps * width, 0);
        for (uint32_t t = 0; t < steps; ++t) {
          for (uint32_t i = 0; i < lengths[t]; ++i) {
            const uint32_t row = random_() % rowCount;
            offsets.push_back(row * rowBytes);
            for (uint32_t w = 0; w < width; ++w) expected[t * width + w] += weights[row * width + w];
          }
        }
        std::vector<int32_t> out(steps * width + 8, guard);
        kernel(rows.data(), offsets.data(), lengths, steps, width, out.data());
        CHECK(std::equal(expected.begin(), expected.end(), out.begin()));
        CHECK(std::count(out.end() - 8, out.end(), guard) == 8);
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
  for (uint32_t t = 0; t < steps; ++t) {
    for (uint32_t i = 0; i < positions * stride; ++i) {
      if (i % stride == 0) expectedStarts.push_back(static_cast<uint32_t>(expected.size()));
      if ((words[i] >> t) & 1) expected.push_back(i);
    }
    expectedStarts.push_back(static_cast<uint32_t>(expected.size()));
  }
  std::vector<uint32_t> indices(expected.size() + 16 + 4, 0xabcd);
  std::vector<uint32_t> starts(steps * (positions + 1) + 1, 0xabcd);
  starts[0] = 5;
  kernel(words.data(), positions, stride, steps, indices.data(), starts.data());
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
void checkIdentity(IdentityFn* kernel) {
  for (uint32_t steps : stepCounts) {
    if (!holds<Word>(steps)) continue;
    for (uint32_t width : wordCounts) {
      const std::vector<Word> words = randomWords<Word>(width, steps, 2);
      std::vector<int32_t> acc(steps * width + 8, guard);
      kernel(words.data(), steps, width, acc.data());
      bool same = true;
      for (uint32_t t = 0; t < steps; ++t) {
        for (uint32_t w = 0; w < width; ++w) same = same && acc[t * width + w] == guard + static_cast<int32_t>((words[w] >> t) & 1);
      }
      CHECK(same);
      CHECK(std::count(acc.end() - 8, acc.end(), guard) == 8);
    }
  }
}

struct FireCase {
  std::vector<int32_t> acc[3], multiplier[3];
  std::vector<int32_t> bias, threshold, initial;
  std::vector<Term> terms;
};

FireCase makeFireCase(uint32_t steps, uint32_t width, uint32_t termCount) {
  FireCase f;
  for (uint32_t w = 0; w < width; ++w) {
    f.bias.push_back(uniform(-200, 400));
    f.threshold.push_back(uniform(1, 2000));
    f.initial.push_back(f.threshold.back() / 2);
  }
  for (uint32_t i = 0; i < termCount; ++i) {
    const bool analog = i == 1;
    for (uint32_t k = 0; k < (analog ? width : steps * width); ++k) f.acc[i].push_back(uniform(-1000, 1400));
    for (uint32_t w = 0; w < width; ++w) f.multiplier[i].push_back(uniform(1, 4));
    f.terms.push_back({f.acc[i].data(), analog ? 0 : width, f.multiplier[i].data(), analog ? 4 : 0, analog ? 3 : 0});
  }
  return f;
}

uint64_t expectedWord(const FireCase& f, uint32_t steps, uint32_t w) {
  int64_t v = f.initial[w];
  uint64_t word = 0;
  for (uint32_t t = 0; t < steps; ++t) {
    v += f.bias[w];
    for (size_t i = 0; i < f.terms.size(); ++i) {
      const Term& term = f.terms[i];
      v += (int64_t{term.acc[t * term.stepStride + w]} * term.multiplier[w] + term.half) >> term.shift;
    }
    if (v < f.threshold[w]) continue;
    v -= f.threshold[w];
    word |= uint64_t{1} << t;
  }
  return word;
}

template <typename Word>
void checkFire(FireFn* kernel) {
  for (uint32_t steps : stepCounts) {
    if (!holds<Word>(steps)) continue;
    for (uint32_t width : wordCounts) {
      for (uint32_t termCount : {0U, 1U, 2U, 3U}) {
        const FireCase f = makeFireCase(steps, width, termCount);
        std::vector<Word> words(width + 8, static_cast<Word>(0x5a));
        kernel(f.terms.data(), termCount, {f.bias.data(), f.threshold.data(), f.initial.data()}, steps, width, words.data());
        bool same = true;
        for (uint32_t w = 0; w < width; ++w) same = same && words[w] == expectedWord(f, steps, w);
        CHECK(same);
        CHECK(std::count(words.end() - 8, words.end(), static_cast<Word>(0x5a)) == 8);
      }
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

void checkRowLists(RowsFn* kernel, uint32_t steps, uint32_t segmentCount, uint32_t longest) {
  constexpr uint32_t zeroRow = 0xfff000;
  constexpr uint32_t positions = 5;
  constexpr uint32_t stepStride = positions + 1;
  std::vector<uint32_t> indices;
  std::vector<std::vector<uint32_t>> starts(segmentCount);
  std::vector<Segment> segments;
  for (uint32_t s = 0; s < segmentCount; ++s) {
    for (uint32_t i = 0; i < steps * stepStride; ++i) {
      starts[s].push_back(static_cast<uint32_t>(indices.size()));
      const bool spikes = i % stepStride != positions;
      for (int n = spikes ? uniform(0, static_cast<int32_t>(longest)) : 0; n > 0; --n) indices.push_back(100 + random_() % 5000);
    }
    const uint32_t first = static_cast<uint32_t>(random_()) % positions;
    // A base below 0, modulo 2^32: the first positions of a row are seen through the last taps.
    const uint32_t count = 1 + static_cast<uint32_t>(random_()) % (positions - first);
    segments.push_back({starts[s].data() + first, count, stepStride, 1000 * s - 100});
  }
  indices.resize(indices.size() + listSlack);
  std::vector<uint32_t> expected;
  std::vector<uint32_t> expectedCounts;
  for (uint32_t t = 0; t < steps; ++t) {
    const size_t before = expected.size();
    for (const Segment& s : segments) {
      const uint32_t* begin = s.starts + t * stepStride;
      for (uint32_t i = begin[0]; i < begin[s.positions]; ++i) expected.push_back((s.base + indices[i]) << 6);
    }
    while ((expected.size() - before) % 4 != 0) expected.push_back(zeroRow);
    expectedCounts.push_back(static_cast<uint32_t>(expected.size() - before));
  }
  std::vector<uint32_t> offsets(expected.size() + listSlack + 2, guard);
  std::vector<uint32_t> counts(steps, 0);
  kernel(indices.data(), segments.data(), segmentCount, steps, 6, zeroRow, offsets.data(), counts.data());
  CHECK(std::equal(expected.begin(), expected.end(), offsets.begin()));
  CHECK(counts == expectedCounts);
  CHECK(offsets[offsets.size() - 1] == guard && offsets[offsets.size() - 2] == guard);
}

void checkRows(RowsFn* kernel) {
  for (uint32_t steps : {1U, 4U, 9U}) {
    for (uint32_t segmentCount : {0U, 1U, 3U, 20U}) {
      for (uint32_t longest : {1U, 9U, 40U}) checkRowLists(kernel, steps, segmentCount, longest);
    }
  }
}

// One function per name of the list: a kernel without one does not compile.
void check_gather_i8(GatherFn* kernel) { checkGather(kernel, false); }
void check_gather_i16(GatherFn* kernel) { checkGather(kernel, true); }
void check_dense_i16(DenseFn* kernel) { checkDense(kernel); }
void check_fire_u8(FireFn* kernel) { checkFire<uint8_t>(kernel); }
void check_fire_u16(FireFn* kernel) { checkFire<uint16_t>(kernel); }
void check_fire_u32(FireFn* kernel) { checkFire<uint32_t>(kernel); }
void check_fire_u64(FireFn* kernel) { checkFire<uint64_t>(kernel); }
void check_index_u8(IndexFn* kernel) { checkIndex<uint8_t>(kernel); }
void check_index_u16(IndexFn* kernel) { checkIndex<uint16_t>(kernel); }
void check_index_u32(IndexFn* kernel) { checkIndex<uint32_t>(kernel); }
void check_index_u64(IndexFn* kernel) { checkIndex<uint64_t>(kernel); }
void check_identity_u8(IdentityFn* kernel) { checkIdentity<uint8_t>(kernel); }
void check_identity_u16(IdentityFn* kernel) { checkIdentity<uint16_t>(kernel); }
void check_identity_u32(IdentityFn* kernel) { checkIdentity<uint32_t>(kernel); }
void check_identity_u64(IdentityFn* kernel) { checkIdentity<uint64_t>(kernel); }
void check_rows(RowsFn* kernel) { checkRows(kernel); }

}  // namespace

#define NF_KERNEL(name, type, scalar, avx2, avx512) \
  TEST_ISA(kernel_##name) { check_##name(kernelsOf(isa).name); }
#include "../kernels/kernels.inc"
#undef NF_KERNEL

int main() { return runTests(); }
