#include "bind/exports.h"

namespace {

// One call per thread that loads the addon: all state hangs on the environment, none is global.
Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("activeIsa", Napi::Function::New(env, noisefloor::bind::activeIsa, "activeIsa"));
  exports.Set("supportedIsas", Napi::Function::New(env, noisefloor::bind::supportedIsas, "supportedIsas"));
  exports.Set("resample", Napi::Function::New(env, noisefloor::bind::resamplePicture, "resample"));
  exports.Set("Session", noisefloor::bind::sessionClass(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(noisefloor, init)
