#include "jobs.h"

#include <algorithm>

#include "arguments.h"
#include "result.h"

namespace noisefloor::bind {
namespace {

/// How many images the pixels are, of the model that the session has.
size_t imagesOf(const std::unique_ptr<Engine>& engine, const std::vector<float>& pixels, const char* what) {
  if (!engine) throw EngineError(ErrorCode::engine, "The session has no model.");
  const size_t size = static_cast<size_t>(engine->plan().input.size());
  if (pixels.size() % size == 0) return pixels.size() / size;
  throw EngineError(ErrorCode::invalidArgument, "Expected a multiple of " + std::to_string(size) + " pixels for " + what +
                                                    " but received " + std::to_string(pixels.size()));
}

}  // namespace

void Job::execute(std::unique_ptr<Engine>& engine) {
  try {
    work(engine);
  } catch (const EngineError& error) {
    fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::engine, "Not enough memory: use smaller batches or fewer time steps.");
  } catch (const std::exception& error) {
    fail(ErrorCode::engine, error.what());
  }
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
  engine = std::make_unique<Engine>(model_, isa_, threads_);
}

void RunJob::work(std::unique_ptr<Engine>& engine) {
  const size_t count = imagesOf(engine, images_, "images");
  result_ = engine->run(images_.data(), count, options_, cancelled);
}

Napi::Value RunJob::value(Napi::Env env) { return toJavaScript(env, result_, options_); }

void EarlyExitJob::work(std::unique_ptr<Engine>& engine) {
  const size_t count = imagesOf(engine, images_, "images");
  result_ = engine->runEarlyExit(images_.data(), count, options_, cancelled);
}

Napi::Value EarlyExitJob::value(Napi::Env env) { return toJavaScript(env, result_); }

void PushJob::work(std::unique_ptr<Engine>& engine) {
  const size_t count = imagesOf(engine, frames_, "frames");
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
  while (Job* job = next()) {
    job->execute(engine_);
    // Once handed over, the job may be deleted at any moment.
    const bool last = job->last();
    done_(context_, job);
    if (last) return;
  }
}

}  // namespace noisefloor::bind
