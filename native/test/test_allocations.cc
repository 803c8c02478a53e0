#include <atomic>
#include <cstdlib>
#include <new>

#include "check.h"
#include "random_model.h"
#include "../engine/engine.h"

// Every allocation of this program goes through here and is counted.

namespace {
std::atomic<size_t> allocations{0};

void* counted(size_t size, size_t alignment) {
  ++allocations;
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) { return counted(size, static_cast<size_t>(alignment)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

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

int main() { return runTests(); }
