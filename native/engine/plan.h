#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "../kernels/gather.h"
#include "bounds.h"
#include "buffer.h"
#include "description.h"
#include "fanout.h"
#include "geometry.h"

namespace noisefloor {

/// How a synapse is computed.
enum class Method {
  gather,          ///< spiking source, convolution: adds the weight rows of the spiking inputs
  counted,         ///< spiking source behind a large window, convolution of one tap: counts the window's spikes, then multiplies
  grouped,         ///< spiking source, convolution with groups: adds each spike to its group's channels
  depthwise,       ///< spiking source, convolution of each channel with itself
  identity,        ///< spiking source, channel by channel
  dense,           ///< analog input, convolution, once for all steps
  denseGrouped,    ///< analog input, convolution with groups
  denseIdentity,   ///< analog input, channel by channel
};

/// Of the counted method: inputs of a window, from which on it pays and up to which a count fits a byte, and channels of a block.
constexpr int32_t leastCounted = 32;
constexpr int32_t mostCounted = 255;
constexpr uint32_t mostCountedWidth = 128;

struct Synapse {
  Method method = Method::gather;
  int32_t source = inputSource;
  Geometry geometry;
  int32_t groups = 1;

  // gather: [block][kernel x][kernel y][channelStride of the source][row of `width` channels], see kernels/gather.h:
  // as the merged lists go through what a kernel sees, column by column.
  RowFormat format = RowFormat::i8;
  Buffer<uint8_t> rows;
  size_t rowBytes = 0;
  size_t tapBytes = 0;
  size_t blockBytes = 0;
  bool merged = false;  ///< gathers through merged lists: no pool, or one tap that sees its window

  // dense, counted: [block][pairs][width][2], inputs ordered [tap][window][channel], of counted by channel; see kernels/dense.h.
  Buffer<int16_t> matrix;
  uint32_t pairs = 0;

  // grouped, denseGrouped: [tap][channel][outChannels / groups].
  std::vector<int16_t> groupRows;

  // depthwise, identity: [tap][channelStride], zero beyond the channels.
  std::vector<int32_t> diagonal;

  Fanout fanout;

  std::vector<int32_t> multiplier;  ///< [paddedChannels]
  int32_t half = 0;
  int32_t shift = 0;

  bool analog() const { return source == inputSource; }
};

/// A part of a gathering synapse: some columns of its kernel, few enough that their weights stay in the second-level cache
/// while all positions of a tile pass over them.
struct Unit {
  size_t synapse = 0;
  int32_t firstColumn = 0;
  int32_t endColumn = 0;
};

struct Layer {
  std::string name;
  bool spiking = true;
  bool maxPool = false;
  bool given = false;
  Shape shape;
  Shape stateShape;        ///< of what passes carry: potentials, or spike counts of the source of max-pooling
  int32_t poolSource = 0;  ///< of max-pooling
  Geometry poolWindows;    ///< of max-pooling
  uint32_t width = 32;  ///< channels of a block
  uint32_t blocks = 1;
  std::vector<Synapse> synapses;
  std::vector<Unit> units;
  bool heavy = false;  ///< the weights of a block do not fit together: a unit is for all positions of a tile, then the next one
  // [paddedChannels]; padding neurons get no input and a threshold that 0 never reaches.
  std::vector<int32_t> bias;
  std::vector<int32_t> threshold;
  std::vector<int32_t> initialPotential;
  uint32_t start = 0;  ///< steps before it takes part
  std::vector<CurrentRange> currents;  ///< [channels]: of a step, see bounds.h

  bool listed = false;  ///< some later synapse reads the lists of its spikes
  bool merged = false;  ///< some later synapse reads merged lists of its spikes
  size_t slot = 0;      ///< which of the plan's spike stores holds it

  bool readout() const { return !spiking && !maxPool && !given; }
  uint32_t paddedChannels() const { return width * blocks; }
  uint32_t channelStride() const { return roundedChannels(shape.channels); }
  /// Channels of a block that have words: the last block may be narrower.
  uint32_t wordsOf(uint32_t block) const {
    const uint32_t left = channelStride() - block * width;
    return left < width ? left : width;
  }
};

/// Of `steps` steps behind `done` ones, those in which the layer does not take part yet.
inline uint64_t stepsBeforeStart(const Layer& layer, uint64_t done, uint64_t steps) {
  return layer.start <= done ? 0 : std::min(layer.start - done, steps);
}

/// A model laid out for the kernels. Immutable: a run only reads it.
struct Plan {
  Shape input;
  float inputScale = 1;
  std::vector<Layer> layers;
  size_t slots = 0;
  size_t synapses = 0;
  size_t given = 0;  ///< layers

  const Shape& sourceShape(const Synapse& synapse) const {
    return synapse.analog() ? input : layers[static_cast<size_t>(synapse.source)].shape;
  }
};

/// Validates and lays out. Throws EngineError.
/// A description that is moved in is freed layer by layer, so that no second copy of all weights ever lives beside the plan.
Plan makePlan(ModelDescription model);

}  // namespace noisefloor
