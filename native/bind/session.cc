#include "session.h"

#include "arguments.h"
#include "description.h"
#include "exports.h"
#include "result.h"

namespace noisefloor::bind {

Napi::Function sessionClass(Napi::Env env) {
  return Session::DefineClass(env, "Session",
                              {Session::InstanceMethod<&Session::ready>("ready"),
                               Session::InstanceMethod<&Session::run>("run"),
                               Session::InstanceMethod<&Session::runSync>("runSync"),
                               Session::InstanceMethod<&Session::cancel>("cancel"),
                               Session::InstanceMethod<&Session::dispose>("dispose"),
                               Session::InstanceAccessor<&Session::isa>("isa")});
}

namespace {

Napi::Float32Array imagesArgument(const Napi::Value& value) {
  return typedArrayArgument(value, napi_float32_array, "Float32Array", "images").As<Napi::Float32Array>();
}

RunOptions optionsArgument(const Napi::Value& value) {
  const Napi::Object given = objectArgument(value, "options");
  RunOptions options;
  options.timeSteps = int32Argument(given.Get("timeSteps"), "timeSteps");
  options.statistics = booleanArgument(given.Get("statistics"), "statistics");
  options.counts = booleanArgument(given.Get("counts"), "counts");
  return options;
}

}  // namespace

void settleJob(Napi::Env env, Napi::Function, Session* session, Job* job) {
  const std::unique_ptr<Job> owned(job);
  if (static_cast<napi_env>(env) != nullptr) session->settled(env, job);
}

Session::Session(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Session>(info), env_(info.Env()) {
  const Napi::Env env = info.Env();
  const Napi::Object options = objectArgument(info[1], "options");
  const int32_t threads = int32Argument(options.Get("threads"), "options.threads");
  if (threads < 1 || threads > 1024) {
    throw coded(env, "INVALID_ARGUMENT", "Expected 1 to 1024 for threads but received " + std::to_string(threads));
  }
  const Napi::Value isa = options.Get("isa");
  isa_ = rethrown(env, [&] {
    return isa.IsUndefined() ? defaultIsa() : parseIsa(stringArgument(isa, "options.isa"), "option isa");
  });
  auto build = std::make_unique<BuildJob>(env, readDescription(info[0]), isa_, static_cast<unsigned>(threads));
  done_ = Done::New(env, "noisefloor.Session", 0, 1, this);
  done_.Unref(env);
  thread_ = std::make_unique<JobThread>(
      [](void* session, Job* job) {
        // Closing: the environment is about to end, nobody waits for the job any more.
        if (static_cast<Session*>(session)->done_.NonBlockingCall(job) != napi_ok) delete job;
      },
      this);
  napi_add_env_cleanup_hook(env, onEnvironmentEnd, this);
  ready_ = Napi::Persistent(start(std::move(build)).As<Napi::Object>());
}

Session::~Session() { shutDown(); }

void Session::shutDown() {
  if (!thread_) return;
  for (auto& run : runs_) run.second->cancelled = true;
  thread_->join();
  thread_.reset();
  napi_remove_env_cleanup_hook(env_, onEnvironmentEnd, this);
  done_.Release();
}

Napi::Promise Session::start(std::unique_ptr<Job> job) {
  const Napi::Promise promise = job->promise();
  Ref();
  if (pending_++ == 0) done_.Ref(Env());
  thread_->push(job.release());
  return promise;
}

void Session::settled(Napi::Env env, Job* job) {
  const Napi::HandleScope scope(env);
  for (auto run = runs_.begin(); run != runs_.end(); ++run) {
    if (run->second != job) continue;
    runs_.erase(run);
    break;
  }
  if (disposed_ && job->cancelled) job->fail(ErrorCode::disposed, "The session was disposed before the run was done.");
  job->settle(env);
  if (--pending_ == 0) done_.Unref(env);
  if (job->last()) shutDown();
  Unref();
}

Napi::Value Session::ready(const Napi::CallbackInfo&) { return ready_.Value(); }

Napi::Value Session::isa(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), isaName(isa_)); }

Napi::Value Session::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  throwIfDisposed(env);
  const uint32_t id = static_cast<uint32_t>(int32Argument(info[0], "id"));
  const Napi::Float32Array images = imagesArgument(info[1]);
  const RunOptions options = optionsArgument(info[2]);
  if (runs_.count(id) != 0) throw coded(env, "INVALID_ARGUMENT", "Expected a new number for id");
  // Copied: the caller may write to the array as soon as this returns.
  std::vector<float> copy(images.Data(), images.Data() + images.ElementLength());
  auto job = std::make_unique<RunJob>(env, std::move(copy), options);
  runs_[id] = job.get();
  return start(std::move(job));
}

Napi::Value Session::runSync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  throwIfDisposed(env);
  const Napi::Float32Array images = imagesArgument(info[0]);
  Run run{optionsArgument(info[1]), {}};
  guarded([&] { thread_->runHere(run, images.Data(), images.ElementLength()); },
          [&](ErrorCode code, const std::string& message) { throw coded(env, errorCodeName(code), message); });
  return toJavaScript(env, run.result, run.options);
}

void Session::throwIfDisposed(Napi::Env env) const {
  if (disposed_) throw coded(env, "DISPOSED", "The session is disposed.");
}

Napi::Value Session::cancel(const Napi::CallbackInfo& info) {
  const auto run = runs_.find(static_cast<uint32_t>(int32Argument(info[0], "id")));
  if (run == runs_.end()) return info.Env().Undefined();
  Job* job = run->second;
  job->cancelled = true;
  if (thread_ && thread_->remove(job)) {
    job->fail(ErrorCode::aborted, "The run was aborted.");
    settleJob(info.Env(), Napi::Function(), this, job);
  }
  return info.Env().Undefined();
}

Napi::Value Session::dispose(const Napi::CallbackInfo& info) {
  if (disposed_) throw coded(info.Env(), "DISPOSED", "The session is disposed.");
  disposed_ = true;
  for (auto& run : runs_) run.second->cancelled = true;
  return start(std::make_unique<DisposeJob>(info.Env()));
}

}  // namespace noisefloor::bind
