#include "../kernels/dispatch.h"
#include "arguments.h"
#include "exports.h"

namespace noisefloor::bind {

Napi::Value activeIsa(const Napi::CallbackInfo& info) {
  return rethrown(info.Env(), [&] { return Napi::String::New(info.Env(), isaName(defaultIsa())); });
}

Napi::Value supportedIsas(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (Isa isa : noisefloor::supportedIsas()) names.Set(names.Length(), Napi::String::New(info.Env(), isaName(isa)));
  return names;
}

}  // namespace noisefloor::bind
