#pragma once
#include <napi.h>

#include "../engine/engine.h"

namespace noisefloor::bind {

/// NativeResult of src/native.ts.
Napi::Value toJavaScript(Napi::Env env, const RunResult& result, const RunOptions& options);
/// NativeEarlyExitResult of src/native.ts.
Napi::Value toJavaScript(Napi::Env env, const EarlyExitResult& result);
/// NativePushResult of src/native.ts.
Napi::Value toJavaScript(Napi::Env env, const PushResult& result);

}  // namespace noisefloor::bind
