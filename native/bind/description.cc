#include "description.h"

#include "arguments.h"

namespace noisefloor::bind {
namespace {

/// `count` integers of a list.
std::vector<int32_t> integers(Napi::Value value, uint32_t count, const std::string& path) {
  const Napi::Array array = arrayArgument(value, path);
  if (array.Length() != count) {
    throw coded(value.Env(), "INVALID_ARGUMENT", "Expected " + std::to_string(count) + " integers for " + path);
  }
  std::vector<int32_t> result;
  for (uint32_t i = 0; i < count; ++i) result.push_back(int32Argument(array.Get(i), path));
  return result;
}

Padding readPadding(Napi::Value value, const std::string& path) {
  const std::vector<int32_t> v = integers(value, 4, path);
  return {v[0], v[1], v[2], v[3]};
}

Pair readPair(Napi::Value value, const std::string& path) {
  const std::vector<int32_t> v = integers(value, 2, path);
  return {v[0], v[1]};
}

Shape readShape(Napi::Value value, const std::string& path) {
  const std::vector<int32_t> v = integers(value, 3, path);
  return {v[0], v[1], v[2]};
}

template <typename T>
std::vector<T> copied(Napi::TypedArray array) {
  const auto typed = array.As<Napi::TypedArrayOf<T>>();
  return std::vector<T>(typed.Data(), typed.Data() + typed.ElementLength());
}

Weights readWeights(Napi::Value value, const std::string& path) {
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_int16_array) {
    return copied<int16_t>(value.As<Napi::TypedArray>());
  }
  return copied<int8_t>(typedArrayArgument(value, napi_int8_array, "Int8Array or Int16Array", path));
}

SynapseDescription readSynapse(Napi::Value value, const std::string& path) {
  const Napi::Object object = objectArgument(value, path);
  SynapseDescription s;
  const std::string kind = stringArgument(object.Get("kind"), path + ".kind");
  if (kind != "conv2d" && kind != "identity") {
    throw coded(value.Env(), "INVALID_ARGUMENT", "Expected conv2d or identity for " + path + ".kind");
  }
  s.convolution = kind == "conv2d";
  s.source = int32Argument(object.Get("source"), path + ".source");
  s.poolKernel = readPair(object.Get("poolKernel"), path + ".poolKernel");
  s.poolStride = readPair(object.Get("poolStride"), path + ".poolStride");
  s.stride = readPair(object.Get("stride"), path + ".stride");
  s.multiplier = int32sArgument(object.Get("multiplier"), path + ".multiplier");
  s.shift = int32Argument(object.Get("shift"), path + ".shift");
  if (!s.convolution) return s;
  s.kernel = readPair(object.Get("kernel"), path + ".kernel");
  s.padding = readPadding(object.Get("padding"), path + ".padding");
  s.groups = int32Argument(object.Get("groups"), path + ".groups");
  s.weight = readWeights(object.Get("weight"), path + ".weight");
  return s;
}

MaxPoolDescription readMaxPool(const Napi::Object& layer, const std::string& path) {
  MaxPoolDescription pool;
  pool.source = int32Argument(layer.Get("source"), path + ".source");
  pool.kernel = readPair(layer.Get("kernel"), path + ".kernel");
  pool.stride = readPair(layer.Get("stride"), path + ".stride");
  pool.padding = readPadding(layer.Get("padding"), path + ".padding");
  return pool;
}

LayerDescription readLayer(Napi::Value value, const std::string& path) {
  const Napi::Object object = objectArgument(value, path);
  LayerDescription layer;
  layer.name = stringArgument(object.Get("name"), path + ".name");
  const std::string kind = stringArgument(object.Get("kind"), path + ".kind");
  if (kind != "spiking" && kind != "readout" && kind != "maxPool" && kind != "given") {
    throw coded(value.Env(), "INVALID_ARGUMENT", "Expected spiking, maxPool, given or readout for " + path + ".kind");
  }
  layer.spiking = kind == "spiking";
  layer.given = kind == "given";
  layer.shape = readShape(object.Get("shape"), path + ".shape");
  if (kind == "maxPool") {
    layer.maxPool = readMaxPool(object, path);
    return layer;
  }
  if (layer.given) return layer;
  layer.bias = int32sArgument(object.Get("bias"), path + ".bias");
  if (!object.Get("start").IsUndefined()) layer.start = int32Argument(object.Get("start"), path + ".start");
  if (layer.spiking) {
    layer.threshold = int32sArgument(object.Get("threshold"), path + ".threshold");
    layer.initialPotential = int32sArgument(object.Get("initialPotential"), path + ".initialPotential");
  }
  const Napi::Array synapses = arrayArgument(object.Get("synapses"), path + ".synapses");
  for (uint32_t i = 0; i < synapses.Length(); ++i) {
    layer.synapses.push_back(readSynapse(synapses.Get(i), path + ".synapses[" + std::to_string(i) + "]"));
  }
  return layer;
}

}  // namespace

ModelDescription readDescription(Napi::Value value) {
  const Napi::Object object = objectArgument(value, "model");
  ModelDescription model;
  model.input = readShape(object.Get("inputShape"), "model.inputShape");
  model.inputScale = static_cast<float>(numberArgument(object.Get("inputScale"), "model.inputScale"));
  const Napi::Array layers = arrayArgument(object.Get("layers"), "model.layers");
  for (uint32_t i = 0; i < layers.Length(); ++i) {
    model.layers.push_back(readLayer(layers.Get(i), "model.layers[" + std::to_string(i) + "]"));
  }
  return model;
}

}  // namespace noisefloor::bind
