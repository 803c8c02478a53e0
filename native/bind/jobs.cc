#include "jobs.h"

#include <algorithm>

#include "arguments.h"
#include "niceness.h"
#include "result.h"

namespace noisefloor::bind {
namespace {

/// How many images the pixels are, of the model that the session has.
size_t imagesOf(const Engine* engine, size_t pixels, const char* what) {
  if (engine == nullptr) throw EngineError(ErrorCode::engine, "The session has no model.");
  const size_t size = static_cast<size_t>(engine->plan().input.size());
  if (pixels % size == 0) return pixels / size;
  throw EngineError(ErrorCode::invalidArgument, "Expected a multiple of " + std::to_string(size) + " pixels for " + what +
                                                    " but received " + std::to_string(pixels));
}

}  // namespace

void guarded(const std::function<void()>& work, const std::function<void(ErrorCode, const std::string&)>& fail) {
  try {
    work();
  } catch (const EngineError& error) {
    fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::engine, "Not enough memory: use smaller batches or fewer time steps.");
  } catch (const std::exception& error) {
    fail(ErrorCode::engine, error.what());
  }
}

void Job::execute(std::unique_ptr<Engine>& engine) {
  guarded([&] { work(engine); }, [this](ErrorCode code, const std::string& message) { fail(code, message); });
}

void Job::fail(ErrorCode code, const std::string& message) {
  failed_ = true;
  code_ = code;
  message_ = message;
}

void Job::settle(Napi::Env env) {
  if (failed_) {
    deferred_.Reject(coded(env, errorCodeName(code_), message_).Value());
  } else {
    deferred_.Resolve(value(env));
  }
}

void BuildJob::work(std::unique_ptr<Engine>& engine) {
  engine = std::make_unique<Engine>(std::move(model_), isa_, threads_);
}

void Run::execute(Engine* engine, const float* images, size_t length, const std::atomic<bool>& cancelled) {
  const size_t count = imagesOf(engine, length, "images");
  result = engine->run(images, count, options, cancelled);
}

void RunJob::work(std::unique_ptr<Engine>& engine) { run_.execute(engine.get(), images_.data(), images_.size(), cancelled); }

Napi::Value RunJob::value(Napi::Env env) { return toJavaScript(env, run_.result, run_.options); }

void EarlyExitJob::work(std::unique_ptr<Engine>& engine) {
  const size_t count = imagesOf(engine.get(), images_.size(), "images");
  result_ = engine->runEarlyExit(images_.data(), count, options_, cancelled);
}

Napi::Value EarlyExitJob::value(Napi::Env env) { return toJavaScript(env, result_); }

void PushJob::work(std::unique_ptr<Engine>& engine) {
  const size_t count = imagesOf(engine.get(), frames_.size(), "frames");
  result_ = engine->push(*stream_, {frames_.data(), count, steps_}, cancelled);
}

Napi::Value PushJob::value(Napi::Env env) { return toJavaScript(env, result_); }

void ResetJob::work(std::unique_ptr<Engine>& engine) {
  if (!engine) throw EngineError(ErrorCode::engine, "The session has no model.");
  if (readOutOnly_) return engine->clearReadOut(*stream_);
  stream_->reset();
}

void JobThread::push(Job* job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(job);
  }
  wake_.notify_one();
}

bool JobThread::remove(Job* job) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = std::find(queue_.begin(), queue_.end(), job);
  if (found == queue_.end()) return false;
  queue_.erase(found);
  return true;
}

void JobThread::runHere(Run& run, const float* images, size_t length) {
  const std::atomic<bool> never{false};
  std::lock_guard<std::mutex> lock(engineUse_);
  run.execute(engine_.get(), images, length, never);
}

void JobThread::join() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  for (Job* job : queue_) delete job;
  queue_.clear();
}

Job* JobThread::next() {
  std::unique_lock<std::mutex> lock(mutex_);
  wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
  if (stopping_) return nullptr;
  Job* job = queue_.front();
  queue_.pop_front();
  return job;
}

void JobThread::main() {
  setThreadNiceness(niceness_);
  while (Job* job = next()) {
    {
      std::lock_guard<std::mutex> lock(engineUse_);
      job->execute(engine_);
    }
    // Once handed over, the job may be deleted at any moment.
    const bool last = job->last();
    done_(context_, job);
    if (last) return;
  }
}

}  // namespace noisefloor::bind
