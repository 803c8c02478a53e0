#include "arguments.h"

#include <cmath>
#include <limits>

namespace noisefloor::bind {
namespace {

void require(bool condition, Napi::Value value, const std::string& expected, const std::string& path) {
  if (!condition) throw coded(value.Env(), "INVALID_ARGUMENT", "Expected " + expected + " for " + path);
}

}  // namespace

Napi::Error coded(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

Napi::Object objectArgument(Napi::Value value, const std::string& path) {
  require(value.IsObject(), value, "object", path);
  return value.As<Napi::Object>();
}

double numberArgument(Napi::Value value, const std::string& path) {
  require(value.IsNumber(), value, "number", path);
  return value.As<Napi::Number>().DoubleValue();
}

int32_t int32Argument(Napi::Value value, const std::string& path) {
  const double number = numberArgument(value, path);
  constexpr double low = std::numeric_limits<int32_t>::min();
  constexpr double high = std::numeric_limits<int32_t>::max();
  require(number >= low && number <= high && number == std::trunc(number), value, "32-bit integer", path);
  return static_cast<int32_t>(number);
}

bool booleanArgument(Napi::Value value, const std::string& path) {
  require(value.IsBoolean(), value, "boolean", path);
  return value.As<Napi::Boolean>().Value();
}

std::string stringArgument(Napi::Value value, const std::string& path) {
  require(value.IsString(), value, "string", path);
  return value.As<Napi::String>().Utf8Value();
}

Napi::Array arrayArgument(Napi::Value value, const std::string& path) {
  require(value.IsArray(), value, "array", path);
  return value.As<Napi::Array>();
}

Napi::TypedArray typedArrayArgument(Napi::Value value, napi_typedarray_type type, const char* name,
                                    const std::string& path) {
  const bool right = value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type;
  require(right, value, name, path);
  return value.As<Napi::TypedArray>();
}

std::vector<float> float32sArgument(Napi::Value value, const std::string& path) {
  const auto array = typedArrayArgument(value, napi_float32_array, "Float32Array", path).As<Napi::Float32Array>();
  return std::vector<float>(array.Data(), array.Data() + array.ElementLength());
}

std::vector<int32_t> int32sArgument(Napi::Value value, const std::string& path) {
  const auto array = typedArrayArgument(value, napi_int32_array, "Int32Array", path).As<Napi::Int32Array>();
  return std::vector<int32_t>(array.Data(), array.Data() + array.ElementLength());
}

}  // namespace noisefloor::bind
