#pragma once
#include <napi.h>

#include <string>
#include <vector>

#include "../engine/error.h"

namespace noisefloor::bind {

/// An Error with a `code` of src/errors.ts.
Napi::Error coded(Napi::Env env, const std::string& code, const std::string& message);

/// Runs `body`; an EngineError becomes a JavaScript error with its code.
template <typename Body>
auto rethrown(Napi::Env env, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const EngineError& error) {
    throw coded(env, errorCodeName(error.code()), error.what());
  }
}

// Checked reads. Each throws INVALID_ARGUMENT "Expected X for PATH" instead of trusting the caller.

Napi::Object objectArgument(Napi::Value value, const std::string& path);
int32_t int32Argument(Napi::Value value, const std::string& path);
double numberArgument(Napi::Value value, const std::string& path);
bool booleanArgument(Napi::Value value, const std::string& path);
std::string stringArgument(Napi::Value value, const std::string& path);
Napi::Array arrayArgument(Napi::Value value, const std::string& path);
/// A copy: the caller may write to the array as soon as the call returns.
std::vector<float> float32sArgument(Napi::Value value, const std::string& path);
std::vector<int32_t> int32sArgument(Napi::Value value, const std::string& path);
/// A typed array of exactly this kind.
Napi::TypedArray typedArrayArgument(Napi::Value value, napi_typedarray_type type, const char* name,
                                    const std::string& path);

}  // namespace noisefloor::bind
