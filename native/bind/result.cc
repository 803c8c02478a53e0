#include "result.h"

#include <algorithm>

namespace noisefloor::bind {
namespace {

template <typename T>
Napi::Value typedArray(Napi::Env env, const std::vector<T>& values) {
  auto array = Napi::TypedArrayOf<T>::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

template <typename T>
Napi::Value typedArrays(Napi::Env env, const std::vector<std::vector<T>>& lists) {
  Napi::Array array = Napi::Array::New(env, lists.size());
  for (uint32_t i = 0; i < lists.size(); ++i) array.Set(i, typedArray(env, lists[i]));
  return array;
}

}  // namespace

Napi::Value toJavaScript(Napi::Env env, const RunResult& result, const RunOptions& options) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("potentials", typedArray(env, result.potentials));
  if (options.statistics) {
    object.Set("spikes", typedArrays(env, result.spikes));
    object.Set("synapticOperations", typedArrays(env, result.operations));
  }
  if (options.counts) object.Set("counts", typedArrays(env, result.counts));
  if (options.trains) object.Set("trains", typedArrays(env, result.trains));
  return object;
}

Napi::Value toJavaScript(Napi::Env env, const EarlyExitResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("steps", typedArray(env, result.steps));
  object.Set("potentials", typedArray(env, result.potentials));
  return object;
}

Napi::Value toJavaScript(Napi::Env env, const PushResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("waits", Napi::Number::New(env, static_cast<double>(result.waits)));
  object.Set("stepsBefore", Napi::Number::New(env, static_cast<double>(result.stepsBefore)));
  object.Set("potentials", typedArray(env, result.potentials));
  return object;
}

}  // namespace noisefloor::bind
