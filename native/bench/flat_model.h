#pragma once
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../engine/description.h"

namespace noisefloor::bench {

/// What benchmarks/flatten.mjs writes: a trained network and real images, so that a tool sees real spikes.
struct FlatModel {
  ModelDescription model;
  std::vector<float> images;
  size_t count = 0;
};

class FlatReader {
 public:
  explicit FlatReader(const char* path) : file_(std::fopen(path, "rb")) {
    if (file_ == nullptr) fail(path);
  }
  ~FlatReader() { std::fclose(file_); }
  FlatReader(const FlatReader&) = delete;
  FlatReader& operator=(const FlatReader&) = delete;

  FlatModel read() {
    FlatModel flat;
    flat.model.input = shape();
    flat.model.inputScale = vector<float>(1)[0];
    flat.model.layers.resize(static_cast<size_t>(int32()));
    for (LayerDescription& layer : flat.model.layers) readLayer(layer);
    flat.count = static_cast<size_t>(int32());
    flat.images = vector<float>(flat.count * static_cast<size_t>(flat.model.input.size()));
    return flat;
  }

 private:
  [[noreturn]] static void fail(const char* what) {
    std::fprintf(stderr, "cannot read %s\n", what);
    std::exit(1);
  }

  template <typename T>
  std::vector<T> vector(size_t count) {
    std::vector<T> values(count);
    if (std::fread(values.data(), sizeof(T), count, file_) != count) fail("the flat model: it is too short");
    return values;
  }
  int32_t int32() { return vector<int32_t>(1)[0]; }
  Pair pair() {
    const std::vector<int32_t> v = vector<int32_t>(2);
    return {v[0], v[1]};
  }
  Shape shape() {
    const std::vector<int32_t> v = vector<int32_t>(3);
    return {v[0], v[1], v[2]};
  }

  void readLayer(LayerDescription& layer) {
    const std::vector<char> name = vector<char>(static_cast<size_t>(int32()));
    layer.name.assign(name.begin(), name.end());
    const int32_t kind = int32();  // 0 read-out, 1 spiking, 2 max-pooling
    layer.spiking = kind == 1;
    layer.shape = shape();
    if (kind == 2) {
      const std::vector<int32_t> v = vector<int32_t>(9);
      layer.maxPool = MaxPoolDescription{v[0], {v[1], v[2]}, {v[3], v[4]}, {v[5], v[6], v[7], v[8]}};
      return;
    }
    layer.synapses.resize(static_cast<size_t>(int32()));
    const size_t channels = static_cast<size_t>(layer.shape.channels);
    for (SynapseDescription& s : layer.synapses) readSynapse(s, channels);
    layer.bias = vector<int32_t>(channels);
    if (!layer.spiking) return;
    layer.threshold = vector<int32_t>(channels);
    layer.initialPotential = vector<int32_t>(channels);
  }

  void readSynapse(SynapseDescription& s, size_t channels) {
    s.convolution = int32() != 0;
    s.source = int32();
    s.poolKernel = pair();
    s.poolStride = pair();
    s.stride = pair();
    s.shift = int32();
    s.kernel = pair();
    const std::vector<int32_t> p = vector<int32_t>(4);
    s.padding = {p[0], p[1], p[2], p[3]};
    s.groups = int32();
    s.multiplier = vector<int32_t>(channels);
    if (!s.convolution) return;
    const int32_t width = int32();
    const size_t count = static_cast<size_t>(int32());
    if (width == 1) s.weight = vector<int8_t>(count);
    else s.weight = vector<int16_t>(count);
  }

  std::FILE* file_;
};

}  // namespace noisefloor::bench
