#include <atomic>
#include <cstdlib>
#include <new>

#include "check.h"
#include "random_model.h"
#include "../engine/engine.h"

// Every allocation of this program goes through here and is counted.

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace {
std::atomic<size_t> allocations{0};
std::atomic<size_t> live{0};  ///< bytes, where the library says how large a block is
std::atomic<size_t> peak{0};

size_t sizeOf(void* memory) {
#ifdef __GLIBC__
  return malloc_usable_size(memory);
#else
  static_cast<void>(memory);
  return 0;
#endif
}

void freed(void* memory) {
  live -= sizeOf(memory);
  std::free(memory);
}

void* counted(size_t size, size_t alignment) {
  ++allocations;
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  const size_t now = live += sizeOf(memory);
  for (size_t before = peak; now > before && !peak.compare_exchange_weak(before, now);) {
  }
  return memory;
}
}  // namespace

void* operator new(size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) { return counted(size, static_cast<size_t>(alignment)); }
void operator delete(void* memory) noexcept { freed(memory); }
void operator delete(void* memory, size_t) noexcept { freed(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { freed(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { freed(memory); }

using namespace noisefloor;
using namespace noisefloor::test;

TEST_ISA(aRunAllocatesItsResultAndNothingElse) {
  const std::atomic<bool> never{false};
  for (uint32_t seed : {7U, 8U, 9U}) {
    ModelBuilder b = randomModel(seed);
    const std::vector<float> images = b.images(5);
    Engine engine(b.model, isa, 2);
    engine.run(images.data(), 5, {4, false, false, nullptr}, never);
    const size_t before = allocations;
    size_t potentials = 0;
    for (size_t count : {5U, 1U, 4U}) {
      potentials += engine.run(images.data(), count, {4, false, false, nullptr}, never).potentials.size();
    }
    const size_t made = allocations - before;
    CHECK_WHAT(made == 3, std::to_string(made) + " allocations in 3 runs");
    CHECK(potentials == 10 * 4 * static_cast<size_t>(b.model.layers.back().shape.channels));
  }
}

TEST_ISA(streamsAndEarlyExitAllocateTheirResultsAndNothingElse) {
  const std::atomic<bool> never{false};
  ModelBuilder b = randomModel(7);
  const std::vector<float> images = b.images(5);
  Engine engine(b.model, isa, 2);
  StreamState stream;
  for (int32_t steps : {1, 2}) engine.push(stream, {images.data(), 5, steps}, never);
  const EarlyExitOptions exit = {{1, 1, 2}, Confidence::margin, 0.5, 1e-3};
  engine.runEarlyExit(images.data(), 5, exit, never);
  const size_t before = allocations;
  engine.push(stream, {images.data(), 5, 1}, never);
  engine.push(stream, {images.data(), 5, 2}, never);
  const size_t pushed = allocations - before;
  engine.runEarlyExit(images.data(), 4, exit, never);
  const size_t ran = allocations - before - pushed;
  CHECK_WHAT(pushed == 2, std::to_string(pushed) + " allocations in 2 pushes");
  CHECK_WHAT(ran == 2, std::to_string(ran) + " allocations in a run with early exit");
}

TEST(noSecondCopyOfAllWeightsIsMadeToBuildThePlan) {
  ModelBuilder b(1, {3, 6, 6});
  b.wide = false;
  const SynapseDescription k3 = threeByThree();
  int32_t last = b.spiking({b.conv(inputSource, 256, k3)}, 256);
  for (int i = 0; i < 6; ++i) last = b.spiking({b.conv(last, 256, k3)}, 256);
  b.readout(last, 10);
  const size_t weights = 6 * 256 * 256 * 9;
  const size_t before = live;
  peak = before;
  Engine engine(std::move(b.model), Isa::scalar, 1);
  const size_t more = peak - before;
  CHECK_WHAT(more < weights / 2, std::to_string(more) + " bytes more than the description's, of weights " + std::to_string(weights));
}

int main() { return runTests(); }
