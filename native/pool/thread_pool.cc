#include "thread_pool.h"

#include <chrono>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace noisefloor {
namespace {

/// Longer than the gap between two layers, and than that between a result and the next call of a busy event loop: a thread
/// that sleeps takes as long to wake as several layers take to compute. Short enough to leave an idle core alone.
constexpr std::chrono::microseconds spinTime{250};
constexpr int pausesPerLook = 32;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

/// Waits for `done` without sleeping, but not for ever.
template <typename Done>
bool spinUntil(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + spinTime;
  do {
    for (int i = 0; i < pausesPerLook; ++i) {
      if (done()) return true;
      pause();
    }
    // Where there are more threads than cores, the one waited for may need this core.
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(unsigned threads) {
  try {
    for (unsigned worker = 1; worker < threads; ++worker) {
      threads_.emplace_back([this, worker] { workerMain(worker); });
    }
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

// A worker counts itself in (active_) and then looks whether the loop is still open; the caller closes the loop and
// then looks whether somebody is in. Both orders are sequentially consistent, so one of the two sees the other: the
// caller never returns while a worker runs, and it need not wait for one that sleeps.
void ThreadPool::run(size_t items, Call call, const void* context) {
  call_ = call;
  context_ = context;
  items_ = items;
  next_ = 0;
  error_ = nullptr;
  const bool shared = !threads_.empty() && items > 1;
  if (shared) {
    const uint64_t round = round_.load() + 1;
    open_ = round;
    round_ = round;
    if (sleepers_.load() > 0) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_.notify_all();
    }
  }
  work(0);
  if (shared) {
    open_ = 0;
    waitUntilLeft();
  }
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::work(unsigned worker) {
  try {
    for (size_t item = next_++; item < items_; item = next_++) call_(context_, item, worker);
  } catch (...) {
    next_ = items_;
    std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

void ThreadPool::waitUntilLeft() {
  if (spinUntil([this] { return active_.load() == 0; })) return;
  std::unique_lock<std::mutex> lock(mutex_);
  callerSleeps_ = true;
  left_.wait(lock, [this] { return active_.load() == 0; });
  callerSleeps_ = false;
}

void ThreadPool::workerMain(unsigned worker) {
  uint64_t seen = 0;
  while ((seen = waitForLoop(seen)) != 0) {
    ++active_;
    if (open_.load() == seen) work(worker);
    if (--active_ == 0 && callerSleeps_.load()) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      left_.notify_one();
    }
  }
}

/// The number of a loop later than `seen`, or 0 when the pool stops.
uint64_t ThreadPool::waitForLoop(uint64_t seen) {
  if (spinUntil([this, seen] { return stopping_.load() || round_.load() != seen; })) {
    return stopping_.load() ? 0 : round_.load();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  ++sleepers_;
  wake_.wait(lock, [this, seen] { return stopping_.load() || round_.load() != seen; });
  --sleepers_;
  return stopping_.load() ? 0 : round_.load();
}

}  // namespace noisefloor
