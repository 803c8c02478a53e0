#include "validate.h"

#include <cmath>

#include "error.h"
#include "geometry.h"

namespace noisefloor {
namespace {

/// Channel numbers are stored in 16 bits.
constexpr int64_t maxChannels = 65535;
/// Times the 64 steps of a pass, the spikes of one image still have 32-bit indices.
constexpr int64_t maxNeurons = int64_t{1} << 25;
/// Keeps every product of two geometry fields in 64 bits and every coordinate in 32.
constexpr int32_t maxExtent = 1 << 15;
constexpr int64_t maxInputs = (int64_t{1} << 24) - 1;
/// Weights on the analog input are stored once per element of the pool window.
constexpr int64_t maxMatrix = int64_t{1} << 30;
/// Windows of max-pooling: some bytes for each place of one.
constexpr int64_t maxPoolArea = 32767;
/// A kernel of 512 at each of 32,768 places.
constexpr int64_t maxWindows = int64_t{1} << 24;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw EngineError(ErrorCode::invalidArgument, "The spiking model is invalid: " + where + ": " + what);
}

void require(bool condition, const std::string& where, const std::string& what) {
  if (!condition) fail(where, what);
}

std::string text(int64_t value) { return std::to_string(value); }

void checkShape(const Shape& shape, const std::string& where) {
  require(shape.channels > 0 && shape.channels <= maxChannels, where,
          "channels must be 1 to " + text(maxChannels) + ", not " + text(shape.channels));
  require(shape.height > 0 && shape.height <= maxExtent && shape.width > 0 && shape.width <= maxExtent, where,
          "height and width must be 1 to " + text(maxExtent) + ", not " + text(shape.height) + " x " + text(shape.width));
  require(shape.size() <= maxNeurons, where, "at most " + text(maxNeurons) + " values, not " + text(shape.size()));
}

void checkPair(const Pair& pair, const std::string& where) {
  require(pair.y > 0 && pair.y <= maxExtent && pair.x > 0 && pair.x <= maxExtent, where,
          "must be 1 to " + text(maxExtent) + ", not " + text(pair.y) + " x " + text(pair.x));
}

void checkPadding(const Padding& p, const std::string& where) {
  for (int32_t side : {p.top, p.left, p.bottom, p.right}) {
    require(side >= 0 && side <= maxExtent, where, "must be 0 to " + text(maxExtent) + ", not " + text(side));
  }
}

int32_t pooledExtent(int32_t size, int32_t kernel, int32_t stride, const std::string& where) {
  require(kernel <= size, where, "the pool window does not fit into its source");
  return (size - kernel) / stride + 1;
}

int64_t weightCount(const Weights& weights) {
  return std::visit([](const auto& values) { return static_cast<int64_t>(values.size()); }, weights);
}

void checkExtent(int32_t pooled, int32_t before, int32_t after, int32_t kernel, int32_t stride, int32_t out,
                 const std::string& where) {
  const int32_t padded = pooled + before + after;
  require(kernel <= padded, where, "the kernel does not fit into its padded source");
  const int32_t expected = (padded - kernel) / stride + 1;
  require(expected == out, where, "its output is " + text(expected) + " wide or high, the layer's " + text(out));
}

void checkConvolution(const SynapseDescription& s, int32_t inChannels, int32_t pooledHeight, int32_t pooledWidth,
                      const Shape& out, const std::string& where) {
  checkPair(s.kernel, where + " kernel");
  checkPadding(s.padding, where + " padding");
  require(s.groups > 0 && inChannels % s.groups == 0 && out.channels % s.groups == 0, where,
          "groups must divide " + text(inChannels) + " and " + text(out.channels) + ", " + text(s.groups) + " does not");
  checkExtent(pooledHeight, s.padding.top, s.padding.bottom, s.kernel.y, s.stride.y, out.height, where);
  checkExtent(pooledWidth, s.padding.left, s.padding.right, s.kernel.x, s.stride.x, out.width, where);
  const int64_t taps = static_cast<int64_t>(s.kernel.y) * s.kernel.x;
  const int64_t inputs = taps * (inChannels / s.groups);
  const int64_t window = static_cast<int64_t>(s.poolKernel.y) * s.poolKernel.x;
  // Rows of at most 128 channels, two bytes each, are addressed by 32-bit byte offsets; one more is the zero row.
  const int64_t rows = taps * roundedChannels(inChannels);
  require(taps <= maxInputs && rows < maxInputs && taps * inChannels * window < maxInputs, where,
          "an output channel has more than " + text(maxInputs) + " inputs");
  require(s.source != inputSource || inputs * window * out.channels <= maxMatrix, where,
          "the pool windows on the analog input are too large");
  require(inputs * out.channels == weightCount(s.weight), where,
          "expected " + text(inputs * out.channels) + " weights, received " + text(weightCount(s.weight)));
}

/// Of one direction: how often the windows of all outputs together see the source. Bounds what the plan is made from.
void checkWindows(int32_t target, int32_t kernel, int32_t poolKernel, const std::string& where) {
  require(int64_t{target} * kernel * poolKernel <= maxWindows, where, "its windows overlap more than " + text(maxWindows) + " times");
}

void checkIdentity(const SynapseDescription& s, int32_t inChannels, int32_t pooledHeight, int32_t pooledWidth,
                   const Shape& out, const std::string& where) {
  require(inChannels == out.channels, where, "an identity keeps the channels");
  require((pooledHeight - 1) / s.stride.y + 1 == out.height && (pooledWidth - 1) / s.stride.x + 1 == out.width, where,
          "the strided source is not as large as the layer");
}

void checkSynapse(const ModelDescription& model, size_t layerIndex, const SynapseDescription& s,
                  const std::string& where) {
  const Shape& out = model.layers[layerIndex].shape;
  require(s.source >= inputSource && s.source < static_cast<int64_t>(layerIndex), where,
          "its source must be the input or an earlier layer");
  const Shape& source = s.source == inputSource ? model.input : model.layers[static_cast<size_t>(s.source)].shape;
  checkPair(s.poolKernel, where + " pool kernel");
  checkPair(s.poolStride, where + " pool stride");
  checkPair(s.stride, where + " stride");
  const int32_t height = pooledExtent(source.height, s.poolKernel.y, s.poolStride.y, where);
  const int32_t width = pooledExtent(source.width, s.poolKernel.x, s.poolStride.x, where);
  if (s.convolution) {
    checkConvolution(s, source.channels, height, width, out, where);
  } else {
    checkIdentity(s, source.channels, height, width, out, where);
  }
  checkWindows(out.height, s.convolution ? s.kernel.y : 1, s.poolKernel.y, where);
  checkWindows(out.width, s.convolution ? s.kernel.x : 1, s.poolKernel.x, where);
  require(static_cast<int64_t>(s.multiplier.size()) == out.channels, where, "one multiplier per output channel");
  for (int32_t m : s.multiplier) require(m > 0, where, "multipliers must be positive, not " + text(m));
  require(s.shift >= 0 && s.shift <= 30, where, "the shift must be 0 to 30, not " + text(s.shift));
}

void checkNeurons(const LayerDescription& layer, const std::string& where) {
  const size_t channels = static_cast<size_t>(layer.shape.channels);
  require(layer.bias.size() == channels, where, "one bias per channel");
  require(layer.start >= 0 && layer.start < maxTimeSteps, where, "it must start at a step from 0 to " + text(maxTimeSteps - 1) + ", not " + text(layer.start));
  if (!layer.spiking) {
    require(layer.shape.positions() == 1, where, "the read-out must be [classes, 1, 1]");
    return;
  }
  require(layer.threshold.size() == channels, where, "one threshold per channel");
  require(layer.initialPotential.size() == channels, where, "one initial potential per channel");
  for (int32_t threshold : layer.threshold) {
    require(threshold > 0, where, "thresholds must be positive, not " + text(threshold));
  }
}

void checkMaxPool(const ModelDescription& model, size_t layerIndex, const std::string& where) {
  const LayerDescription& layer = model.layers[layerIndex];
  const MaxPoolDescription& pool = *layer.maxPool;
  require(!layer.spiking && layer.synapses.empty() && layer.bias.empty(), where, "max-pooling has neither neurons nor synapses");
  require(pool.source >= 0 && pool.source < static_cast<int64_t>(layerIndex), where, "its source must be an earlier layer");
  const Shape& source = model.layers[static_cast<size_t>(pool.source)].shape;
  require(source.channels == layer.shape.channels, where, "max-pooling keeps the channels");
  checkPair(pool.kernel, where + " kernel");
  checkPair(pool.stride, where + " stride");
  checkPadding(pool.padding, where + " padding");
  const Padding& p = pool.padding;
  require(p.top < pool.kernel.y && p.bottom < pool.kernel.y && p.left < pool.kernel.x && p.right < pool.kernel.x, where,
          "the padding must be smaller than the kernel");
  checkExtent(source.height, p.top, p.bottom, pool.kernel.y, pool.stride.y, layer.shape.height, where);
  checkExtent(source.width, p.left, p.right, pool.kernel.x, pool.stride.x, layer.shape.width, where);
  require(int64_t{pool.kernel.y} * pool.kernel.x <= maxPoolArea, where, "its windows must be at most " + text(maxPoolArea) + " large");
}

}  // namespace

void validate(const ModelDescription& model) {
  checkShape(model.input, "input");
  require(std::isfinite(model.inputScale) && model.inputScale > 0, "input", "the scale must be positive");
  require(!model.layers.empty(), "layers", "there are none");
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const LayerDescription& layer = model.layers[i];
    const std::string where = "layer " + layer.name;
    const bool last = i + 1 == model.layers.size();
    require(layer.readout() == last, where, last ? "the last layer must be the read-out" : "only the last layer is a read-out");
    checkShape(layer.shape, where);
    if (layer.maxPool) {
      checkMaxPool(model, i, where);
      continue;
    }
    if (layer.given) {
      require(!layer.spiking && layer.synapses.empty() && layer.bias.empty(), where, "a given layer has neither neurons nor synapses");
      continue;
    }
    checkNeurons(layer, where);
    require(!layer.synapses.empty(), where, "a layer needs a synapse");
    for (size_t s = 0; s < layer.synapses.size(); ++s) {
      checkSynapse(model, i, layer.synapses[s], where + " synapse " + text(static_cast<int64_t>(s)));
    }
  }
}

}  // namespace noisefloor
