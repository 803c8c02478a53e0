#include <chrono>
#include <stdexcept>

#include "../pool/thread_pool.h"
#include "check.h"

using namespace noisefloor;
using namespace noisefloor::test;

TEST(everyItemRunsOnce) {
  for (unsigned threads : {1U, 2U, 3U, 8U}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (size_t items : {0U, 1U, 2U, 7U, 1000U}) {
      std::vector<std::atomic<int>> ran(items);
      pool.parallelFor(items, [&](size_t item, unsigned worker) {
        if (worker < threads) ++ran[item];
      });
      bool once = true;
      for (const auto& times : ran) once = once && times == 1;
      CHECK(once);
    }
  }
}

TEST(manyShortLoopsSeeEachOthersWrites) {
  ThreadPool pool(4);
  std::vector<int> values(64, 0);
  for (int round = 0; round < 3000; ++round) {
    pool.parallelFor(values.size(), [&](size_t i, unsigned) { values[i] += 1; });
  }
  bool all = true;
  for (int value : values) all = all && value == 3000;
  CHECK(all);
}

TEST(sleepingWorkersWake) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<unsigned> seen{0};
    pool.parallelFor(3, [&](size_t, unsigned worker) {
      seen |= 1U << worker;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    });
    CHECK_WHAT((seen & (seen - 1)) != 0, "only one thread worked");
  }
}

TEST(anExceptionReachesTheCallerAndThePoolGoesOn) {
  ThreadPool pool(2);
  std::string message;
  try {
    pool.parallelFor(100, [](size_t item, unsigned) {
      if (item == 3) throw std::runtime_error("item 3");
    });
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  CHECK(message == "item 3");
  std::atomic<int> ran{0};
  pool.parallelFor(100, [&](size_t, unsigned) { ++ran; });
  CHECK(ran == 100);
}

TEST(poolsComeAndGo) {
  for (int i = 0; i < 200; ++i) {
    ThreadPool pool(2);
    std::atomic<int> ran{0};
    if (i % 2 == 0) pool.parallelFor(4, [&](size_t, unsigned) { ++ran; });
    CHECK(ran == (i % 2 == 0 ? 4 : 0));
  }
}

int main() { return runTests(); }
