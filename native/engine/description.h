#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace noisefloor {

constexpr int maxTimeSteps = 1024;
/// Bits of the widest word of spikes: more steps run in passes of so many, which carry the membranes.
constexpr int wordSteps = 64;

struct Shape {
  int32_t channels = 0;
  int32_t height = 0;
  int32_t width = 0;

  int64_t positions() const { return static_cast<int64_t>(height) * width; }
  int64_t size() const { return channels * positions(); }
};

struct Pair {
  int32_t y = 1;
  int32_t x = 1;
};

struct Padding {
  int32_t top = 0;
  int32_t left = 0;
  int32_t bottom = 0;
  int32_t right = 0;
};

/// Rounded once and for all; the width decides how the engine stores the rows.
using Weights = std::variant<std::vector<int8_t>, std::vector<int16_t>>;

constexpr int32_t inputSource = -1;

/// See src/snn/model.ts for the meaning of every field. A synapse without pooling has a pool of 1x1, stride 1.
struct SynapseDescription {
  bool convolution = true;  ///< false: identity
  int32_t source = inputSource;
  Pair poolKernel;
  Pair poolStride;
  Pair stride;
  Pair kernel;
  Padding padding;
  int32_t groups = 1;
  Weights weight;  ///< [out][in / groups][y][x]
  std::vector<int32_t> multiplier;
  int32_t shift = 0;
};

/// Windows over the spikes of an earlier layer; see MaxPoolLayer of src/snn/model.ts.
struct MaxPoolDescription {
  int32_t source = 0;
  Pair kernel;
  Pair stride;
  Padding padding;
};

struct LayerDescription {
  std::string name;
  bool spiking = true;  ///< false: read-out, max-pooling or given
  bool given = false;   ///< its spikes come with each run: a layer of another model, without neurons and synapses
  std::optional<MaxPoolDescription> maxPool;  ///< of a layer without neurons and synapses
  Shape shape;
  std::vector<SynapseDescription> synapses;
  std::vector<int32_t> bias;              ///< empty for max-pooling
  std::vector<int32_t> threshold;         ///< of a spiking layer, else empty
  std::vector<int32_t> initialPotential;  ///< of a spiking layer, else empty
  int32_t start = 0;  ///< steps before it takes part: it neither sums nor spikes in them

  bool readout() const { return !spiking && !maxPool && !given; }
};

struct ModelDescription {
  Shape input;
  float inputScale = 1;
  std::vector<LayerDescription> layers;
};

}  // namespace noisefloor
