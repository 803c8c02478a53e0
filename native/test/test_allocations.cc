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

int main() { return runTests(); }
