#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace noisefloor {

/// Threads that share the items of one loop at a time. The thread that calls parallelFor works too (as worker 0), so
/// a pool of n starts n - 1 threads; a pool of 1 starts none. Idle threads spin for a quarter of a millisecond, then sleep.
class ThreadPool {
 public:
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned size() const { return static_cast<unsigned>(threads_.size()) + 1; }

  /// Calls body(item, worker) once for every item < items, worker < size(), and returns when all are done.
  /// The first exception a body throws is thrown here, once all other items have run or been passed over.
  /// One caller at a time.
  template <typename Body>
  void parallelFor(size_t items, const Body& body) {
    run(items, [](const void* context, size_t item, unsigned worker) {
      (*static_cast<const Body*>(context))(item, worker);
    }, &body);
  }

 private:
  using Call = void (*)(const void* context, size_t item, unsigned worker);

  void run(size_t items, Call call, const void* context);
  void workerMain(unsigned worker);
  void work(unsigned worker);
  uint64_t waitForLoop(uint64_t seen);
  void waitUntilLeft();
  void stop();

  std::vector<std::thread> threads_;

  // The loop in progress. Written by the caller only while no worker is inside (active_ is 0 and open_ is 0).
  Call call_ = nullptr;
  const void* context_ = nullptr;
  size_t items_ = 0;
  std::atomic<size_t> next_{0};
  std::exception_ptr error_;

  std::atomic<uint64_t> open_{0};   ///< Number of the loop that workers may enter; 0 when none.
  std::atomic<uint64_t> round_{0};  ///< Number of the last loop opened.
  std::atomic<unsigned> active_{0};
  std::atomic<unsigned> sleepers_{0};
  std::atomic<bool> callerSleeps_{false};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable left_;
};

}  // namespace noisefloor
