#pragma once
#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../engine/engine.h"
#include "../engine/error.h"

namespace noisefloor::bind {

/// Does `work` and calls `fail` with what it threw.
void guarded(const std::function<void()>& work, const std::function<void(ErrorCode, const std::string&)>& fail);

/// Something the session's own thread does for a promise. Made and settled on the JavaScript thread, executed on the
/// session's thread in between.
class Job {
 public:
  explicit Job(Napi::Env env) : deferred_(Napi::Promise::Deferred::New(env)) {}
  virtual ~Job() = default;

  Napi::Promise promise() const { return deferred_.Promise(); }
  virtual bool last() const { return false; }

  /// Session's thread: does the work and keeps what it threw.
  void execute(std::unique_ptr<Engine>& engine);
  void fail(ErrorCode code, const std::string& message);
  /// JavaScript thread.
  void settle(Napi::Env env);

  std::atomic<bool> cancelled{false};

 protected:
  virtual void work(std::unique_ptr<Engine>& engine) = 0;
  virtual Napi::Value value(Napi::Env env) { return env.Undefined(); }

 private:
  Napi::Promise::Deferred deferred_;
  bool failed_ = false;
  ErrorCode code_ = ErrorCode::engine;
  std::string message_;
};

class BuildJob : public Job {
 public:
  BuildJob(Napi::Env env, ModelDescription model, Isa isa, unsigned threads)
      : Job(env), model_(std::move(model)), isa_(isa), threads_(threads) {}

 protected:
  void work(std::unique_ptr<Engine>& engine) override;

 private:
  ModelDescription model_;
  Isa isa_;
  unsigned threads_;
};

/// What one run asks for and gets, on whatever thread.
struct Run {
  RunOptions options;
  RunResult result;
  std::vector<Napi::Reference<Napi::Uint8Array>> given = {};  ///< keeps the arrays that the options point into

  void execute(Engine* engine, const float* images, size_t length, const std::atomic<bool>& cancelled);
};

class RunJob : public Job {
 public:
  RunJob(Napi::Env env, std::vector<float> images, Run run) : Job(env), images_(std::move(images)), run_(std::move(run)) {}

 protected:
  void work(std::unique_ptr<Engine>& engine) override;
  Napi::Value value(Napi::Env env) override;

 private:
  std::vector<float> images_;
  Run run_;
};

class EarlyExitJob : public Job {
 public:
  EarlyExitJob(Napi::Env env, std::vector<float> images, EarlyExitOptions options)
      : Job(env), images_(std::move(images)), options_(std::move(options)) {}

 protected:
  void work(std::unique_ptr<Engine>& engine) override;
  Napi::Value value(Napi::Env env) override;

 private:
  std::vector<float> images_;
  EarlyExitOptions options_;
  EarlyExitResult result_;
};

class PushJob : public Job {
 public:
  PushJob(Napi::Env env, std::shared_ptr<StreamState> stream, std::vector<float> frames, int32_t steps)
      : Job(env), stream_(std::move(stream)), frames_(std::move(frames)), steps_(steps) {}

 protected:
  void work(std::unique_ptr<Engine>& engine) override;
  Napi::Value value(Napi::Env env) override;

 private:
  std::shared_ptr<StreamState> stream_;
  std::vector<float> frames_;
  int32_t steps_;
  PushResult result_{};
};

/// In order with the pushes.
class ResetJob : public Job {
 public:
  ResetJob(Napi::Env env, std::shared_ptr<StreamState> stream, bool readOutOnly)
      : Job(env), stream_(std::move(stream)), readOutOnly_(readOutOnly) {}

 protected:
  void work(std::unique_ptr<Engine>& engine) override;

 private:
  std::shared_ptr<StreamState> stream_;
  bool readOutOnly_;
};

/// Frees the engine and ends the session's thread.
class DisposeJob : public Job {
 public:
  using Job::Job;
  bool last() const override { return true; }

 protected:
  void work(std::unique_ptr<Engine>& engine) override { engine.reset(); }
};

/// The session's thread: executes jobs in order and hands each to `done`. Compute never runs on libuv's pool.
class JobThread {
 public:
  using Done = void (*)(void* context, Job* job);

  /// niceness: 0 to 19, of this thread and of those that the engine starts on it.
  JobThread(Done done, void* context, int niceness)
      : done_(done), context_(context), niceness_(niceness), thread_([this] { main(); }) {}
  ~JobThread() { join(); }

  void push(Job* job);
  /// True if the job had not begun: it never will.
  bool remove(Job* job);
  /// Runs on the calling thread, once the job in progress is done.
  void runHere(Run& run, const float* images, size_t length);
  /// Ends the thread after the job in progress; jobs still queued are deleted. Callers cancel them first.
  void join();

 private:
  void main();
  Job* next();

  Done done_;
  void* context_;
  int niceness_;
  std::unique_ptr<Engine> engine_;
  std::mutex engineUse_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job*> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace noisefloor::bind
