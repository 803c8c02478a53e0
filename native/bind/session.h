#pragma once
#include <napi.h>

#include <map>
#include <memory>

#include "jobs.h"

namespace noisefloor::bind {

void settleJob(Napi::Env env, Napi::Function, class Session* session, Job* job);

/// class Session {
///   constructor(model: NativeModel, options: { threads: number; niceness?: number; isa?: Isa })
///   ready(): Promise<void>
///   run(id: number, images: Float32Array, options: NativeRunOptions): Promise<NativeResult>
///   runSync(images: Float32Array, options: NativeRunOptions): NativeResult
///   runEarlyExit(id: number, images: Float32Array, options: NativeEarlyExitOptions): Promise<NativeEarlyExitResult>
///   open(): number
///   push(id: number, stream: number, frames: Float32Array, timeSteps: number): Promise<NativePushResult>
///   reset(stream: number, readOutOnly: boolean): Promise<void>
///   close(stream: number): void
///   cancel(id: number): void
///   dispose(): Promise<void>
///   readonly isa: string
/// }
///
/// Who owns what, and when it ends:
/// - A pending job keeps the JavaScript object (Ref) and the event loop (the thread-safe function) alive; an idle
///   session keeps neither, so a process ends although nobody disposed its sessions.
/// - The thread ends by dispose(), by garbage collection of an idle session, or with the environment (a worker that
///   is terminated): the clean-up hook is added after the thread-safe function and so runs before its own, while the
///   function can still be called; once the hook has joined the thread, nobody calls it any more.
/// - The state of a stream belongs to streams_ until it is closed, and to the jobs that need it.
/// - Jobs that the environment never settled come back to settleJob with env == nullptr and are deleted there.
class Session : public Napi::ObjectWrap<Session> {
 public:
  explicit Session(const Napi::CallbackInfo& info);
  ~Session() override;

  Napi::Value ready(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value runSync(const Napi::CallbackInfo& info);
  Napi::Value runEarlyExit(const Napi::CallbackInfo& info);
  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value push(const Napi::CallbackInfo& info);
  Napi::Value reset(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  Napi::Value isa(const Napi::CallbackInfo& info);

  void settled(Napi::Env env, Job* job);

 private:
  using Done = Napi::TypedThreadSafeFunction<Session, Job, settleJob>;

  Napi::Promise start(std::unique_ptr<Job> job);
  /// The same for one that `cancel` can stop.
  Napi::Promise startRun(Napi::Value id, std::unique_ptr<Job> job);
  void throwIfDisposed() const;
  const std::shared_ptr<StreamState>& streamArgument(Napi::Value value) const;
  void shutDown();
  static void onEnvironmentEnd(void* session) { static_cast<Session*>(session)->shutDown(); }

  napi_env env_;
  Isa isa_ = Isa::scalar;
  Done done_;
  Napi::ObjectReference ready_;
  std::unique_ptr<JobThread> thread_;
  std::map<uint32_t, Job*> runs_;
  std::map<uint32_t, std::shared_ptr<StreamState>> streams_;
  uint32_t lastStream_ = 0;
  size_t pending_ = 0;
  bool disposed_ = false;
};

}  // namespace noisefloor::bind
