#include "session.h"

#include "arguments.h"
#include "description.h"
#include "exports.h"
#include "niceness.h"
#include "result.h"

namespace noisefloor::bind {

namespace {

Confidence confidenceArgument(Napi::Value value, const std::string& path) {
  const std::string name = stringArgument(value, path);
  if (name == "margin") return Confidence::margin;
  if (name == "softmax") return Confidence::softmax;
  throw coded(value.Env(), "INVALID_ARGUMENT", "Expected margin or softmax for " + path);
}

int32_t nicenessArgument(Napi::Value value) {
  if (value.IsUndefined()) return 0;
  const int32_t niceness = int32Argument(value, "options.niceness");
  if (niceness < 0 || niceness > 19) {
    throw coded(value.Env(), "INVALID_ARGUMENT", "Expected 0 to 19 for niceness but received " + std::to_string(niceness));
  }
  if (niceness == 0 || threadsHaveNiceness()) return niceness;
  throw coded(value.Env(), "INVALID_ARGUMENT", "Threads have no niceness of their own on this system: leave the option out.");
}

}  // namespace

Napi::Function sessionClass(Napi::Env env) {
  return Session::DefineClass(env, "Session",
                              {Session::InstanceMethod<&Session::ready>("ready"),
                               Session::InstanceMethod<&Session::run>("run"),
                               Session::InstanceMethod<&Session::runSync>("runSync"),
                               Session::InstanceMethod<&Session::runEarlyExit>("runEarlyExit"),
                               Session::InstanceMethod<&Session::open>("open"),
                               Session::InstanceMethod<&Session::push>("push"),
                               Session::InstanceMethod<&Session::reset>("reset"),
                               Session::InstanceMethod<&Session::close>("close"),
                               Session::InstanceMethod<&Session::cancel>("cancel"),
                               Session::InstanceMethod<&Session::dispose>("dispose"),
                               Session::InstanceAccessor<&Session::isa>("isa")});
}

namespace {

Run runArgument(const Napi::Value& value) {
  const Napi::Object options = objectArgument(value, "options");
  Run run;
  run.options.timeSteps = int32Argument(options.Get("timeSteps"), "timeSteps");
  run.options.statistics = booleanArgument(options.Get("statistics"), "statistics");
  run.options.counts = booleanArgument(options.Get("counts"), "counts");
  if (options.Has("trains")) run.options.trains = booleanArgument(options.Get("trains"), "trains");
  if (!options.Has("given")) return run;
  const Napi::Array given = arrayArgument(options.Get("given"), "given");
  for (uint32_t i = 0; i < given.Length(); ++i) {
    const auto bytes = typedArrayArgument(given.Get(i), napi_uint8_array, "Uint8Array", "given").As<Napi::Uint8Array>();
    run.options.given.push_back({bytes.Data(), bytes.ElementLength()});
    run.given.push_back(Napi::Persistent(bytes));
  }
  return run;
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
  const int32_t niceness = nicenessArgument(options.Get("niceness"));
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
      this, niceness);
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

Napi::Promise Session::startRun(Napi::Value id, std::unique_ptr<Job> job) {
  const uint32_t number = static_cast<uint32_t>(int32Argument(id, "id"));
  if (runs_.count(number) != 0) throw coded(Env(), "INVALID_ARGUMENT", "Expected a new number for id");
  runs_[number] = job.get();
  return start(std::move(job));
}

void Session::throwIfDisposed() const {
  if (disposed_) throw coded(Env(), "DISPOSED", "The session is disposed.");
}

const std::shared_ptr<StreamState>& Session::streamArgument(Napi::Value value) const {
  const auto stream = streams_.find(static_cast<uint32_t>(int32Argument(value, "stream")));
  if (stream == streams_.end()) throw coded(Env(), "DISPOSED", "The stream is closed.");
  return stream->second;
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
  throwIfDisposed();
  Run run = runArgument(info[2]);
  return startRun(info[0], std::make_unique<RunJob>(info.Env(), float32sArgument(info[1], "images"), std::move(run)));
}

Napi::Value Session::runEarlyExit(const Napi::CallbackInfo& info) {
  throwIfDisposed();
  const Napi::Object given = objectArgument(info[2], "options");
  EarlyExitOptions options;
  options.chunks = int32sArgument(given.Get("chunks"), "chunks");
  options.measure = confidenceArgument(given.Get("measure"), "measure");
  options.threshold = numberArgument(given.Get("threshold"), "threshold");
  options.unit = numberArgument(given.Get("unit"), "unit");
  return startRun(info[0], std::make_unique<EarlyExitJob>(info.Env(), float32sArgument(info[1], "images"), std::move(options)));
}

Napi::Value Session::open(const Napi::CallbackInfo& info) {
  throwIfDisposed();
  streams_[++lastStream_] = std::make_shared<StreamState>();
  return Napi::Number::New(info.Env(), lastStream_);
}

Napi::Value Session::push(const Napi::CallbackInfo& info) {
  throwIfDisposed();
  const int32_t steps = int32Argument(info[3], "timeSteps");
  return startRun(info[0], std::make_unique<PushJob>(info.Env(), streamArgument(info[1]), float32sArgument(info[2], "frames"), steps));
}

Napi::Value Session::reset(const Napi::CallbackInfo& info) {
  throwIfDisposed();
  return start(std::make_unique<ResetJob>(info.Env(), streamArgument(info[0]), booleanArgument(info[1], "readOutOnly")));
}

Napi::Value Session::close(const Napi::CallbackInfo& info) {
  streams_.erase(static_cast<uint32_t>(int32Argument(info[0], "stream")));
  return info.Env().Undefined();
}

Napi::Value Session::runSync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  throwIfDisposed();
  const auto images = typedArrayArgument(info[0], napi_float32_array, "Float32Array", "images").As<Napi::Float32Array>();
  Run run = runArgument(info[1]);
  guarded([&] { thread_->runHere(run, images.Data(), images.ElementLength()); },
          [&](ErrorCode code, const std::string& message) { throw coded(env, errorCodeName(code), message); });
  return toJavaScript(env, run.result, run.options);
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
  throwIfDisposed();
  disposed_ = true;
  streams_.clear();
  for (auto& run : runs_) run.second->cancelled = true;
  return start(std::make_unique<DisposeJob>(info.Env()));
}

}  // namespace noisefloor::bind
