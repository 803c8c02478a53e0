#pragma once
#include <random>
#include <vector>

#include "../engine/description.h"

namespace noisefloor::test {

/// Builds small models layer by layer; the same seed gives the same model.
class ModelBuilder {
 public:
  ModelBuilder(uint32_t seed, Shape input);

  bool wide = false;    ///< int16 weights
  bool narrow = false;  ///< int8 weights from -64 to 63

  /// A convolution of `source` (inputSource or a layer's index); pool and groups by the fields of `form`, whose sizes
  /// of weights and multipliers are filled in.
  SynapseDescription conv(int32_t source, int32_t outChannels, SynapseDescription form = {});
  SynapseDescription identity(int32_t source, SynapseDescription form = {});

  /// Adds a spiking layer whose shape follows from its first synapse; returns its index.
  int32_t spiking(std::vector<SynapseDescription> synapses, int32_t channels);
  /// Adds max-pooling; returns its index.
  int32_t maxPool(MaxPoolDescription pool);
  /// Adds the read-out, a linear layer over the whole (pooled) map of `source`.
  void readout(int32_t source, int32_t classes, Pair poolKernel = {}, Pair poolStride = {});

  std::vector<float> images(size_t count);

  ModelDescription model;

 private:
  const Shape& shapeOf(int32_t source) const;
  int32_t uniform(int32_t low, int32_t high);
  void fillMultipliers(SynapseDescription& s, int32_t channels);
  Weights weights(size_t count);

  std::mt19937 random_;
};

/// The form of a convolution of 3 x 3 that keeps the size of its map.
SynapseDescription threeByThree();

/// A model with every kind of synapse, drawn from `seed`: strides, pools, paddings, groups, residual connections.
ModelBuilder randomModel(uint32_t seed);

}  // namespace noisefloor::test
