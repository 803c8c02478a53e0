#include "plan.h"

#include <algorithm>
#include <limits>

#include "pack.h"
#include "validate.h"

namespace noisefloor {
namespace {

/// Weights of a unit. Half of the second-level cache of common processors, with room for the next unit, fetched ahead.
constexpr size_t unitBytes = 96 << 10;

/// A wide block walks each list for more channels at once, which counts where lists are short; a narrow one keeps more of its
/// weights in the caches. Bytes of weights of one kernel column, at most, for kernels of one tap and of more.
constexpr size_t wideTap = 128 << 10;
constexpr size_t wideColumn = 64 << 10;

Geometry makeGeometry(const SynapseDescription& s, const Shape& source) {
  Geometry g;
  g.source = source;
  g.poolKernel = s.poolKernel;
  g.poolStride = s.poolStride;
  g.stride = s.stride;
  if (s.convolution) {
    g.kernel = s.kernel;
    g.padding = s.padding;
  }
  g.pooledHeight = (source.height - s.poolKernel.y) / s.poolStride.y + 1;
  g.pooledWidth = (source.width - s.poolKernel.x) / s.poolStride.x + 1;
  return g;
}

bool isCounted(const SynapseDescription& s, const Geometry& g) {
  const int32_t window = g.poolSize();
  return s.source != inputSource && s.convolution && s.groups == 1 && g.pointwise() && window >= leastCounted && window <= mostCounted;
}

bool fitsWide(const SynapseDescription& s, const Plan& plan, uint32_t width) {
  if (s.source == inputSource) return false;
  if (!s.convolution || s.groups > 1) return true;
  const Layer& source = plan.layers[static_cast<size_t>(s.source)];
  if (isCounted(s, makeGeometry(s, source.shape))) return width <= mostCountedWidth;
  if (!std::holds_alternative<std::vector<int8_t>>(s.weight)) return false;
  const size_t inputs = source.channelStride();
  const bool tap = s.kernel.y * s.kernel.x == 1;
  if (!tap && width > 128) return false;
  return inputs * static_cast<size_t>(s.kernel.y) * width <= (tap ? wideTap : wideColumn);
}

/// The widest block that fits and leaves few channels unused.
uint32_t blockWidth(const LayerDescription& layer, const Plan& plan) {
  const uint32_t channels = static_cast<uint32_t>(layer.shape.channels);
  if (channels <= 32) return 32;
  const auto padded = [&](uint32_t width) { return (channels + width - 1) / width * width; };
  for (uint32_t width = 256; width > 64; width /= 2) {
    const auto fits = [&](const SynapseDescription& s) { return fitsWide(s, plan, width); };
    if (padded(width) > padded(64) + padded(64) / 8) continue;
    if (std::all_of(layer.synapses.begin(), layer.synapses.end(), fits)) return width;
  }
  return 64;
}

Method methodOf(const SynapseDescription& s, const Geometry& g, const Shape& target) {
  const bool analog = s.source == inputSource;
  if (!s.convolution) return analog ? Method::denseIdentity : Method::identity;
  const bool depthwise = s.groups > 1 && s.groups == g.source.channels && s.groups == target.channels;
  if (depthwise && !analog) return Method::depthwise;
  if (s.groups > 1) return analog ? Method::denseGrouped : Method::grouped;
  if (isCounted(s, g)) return Method::counted;
  return analog ? Method::dense : Method::gather;
}

std::vector<int32_t> padded(const std::vector<int32_t>& values, const Layer& layer, int32_t filler) {
  std::vector<int32_t> result = values;
  result.resize(layer.paddedChannels(), filler);
  return result;
}

Synapse makeSynapse(const SynapseDescription& s, const Shape& source, const Layer& layer) {
  Synapse synapse;
  synapse.geometry = makeGeometry(s, source);
  synapse.method = methodOf(s, synapse.geometry, layer.shape);
  synapse.source = s.source;
  synapse.groups = s.convolution ? s.groups : 1;
  synapse.multiplier = padded(s.multiplier, layer, 1);
  synapse.shift = s.shift;
  synapse.half = s.shift > 0 ? 1 << (s.shift - 1) : 0;
  synapse.merged = synapse.method == Method::gather && (!synapse.geometry.pools() || synapse.geometry.pointwise());
  packWeights(s, layer, synapse);
  return synapse;
}

void makeMaxPool(const MaxPoolDescription& pool, const Shape& source, Layer& layer) {
  layer.maxPool = true;
  layer.stateShape = source;
  layer.poolSource = pool.source;
  Geometry& g = layer.poolWindows;
  g.source = source;
  g.kernel = pool.kernel;
  g.stride = pool.stride;
  g.padding = pool.padding;
  g.pooledHeight = source.height;
  g.pooledWidth = source.width;
}

/// Cuts the gathering synapses of a layer into units.
void makeUnits(Layer& layer) {
  size_t bytes = 0;
  for (size_t i = 0; i < layer.synapses.size(); ++i) {
    const Synapse& s = layer.synapses[i];
    if (s.method != Method::gather) continue;
    const Pair& kernel = s.geometry.kernel;
    const size_t columnBytes = s.tapBytes * static_cast<size_t>(kernel.y);
    const int32_t fit = std::max(1, static_cast<int32_t>(unitBytes / columnBytes));
    const int32_t columns = s.merged ? std::min(kernel.x, fit) : kernel.x;
    bytes += s.blockBytes;
    for (int32_t first = 0; first < kernel.x; first += columns) {
      layer.units.push_back({i, first, std::min(first + columns, kernel.x)});
    }
  }
  layer.heavy = layer.units.size() > 1 && bytes > unitBytes;
}

Layer makeLayer(const LayerDescription& description, const Plan& plan) {
  Layer layer;
  layer.name = description.name;
  layer.spiking = description.spiking;
  layer.given = description.given;
  layer.shape = layer.stateShape = description.shape;
  layer.width = blockWidth(description, plan);
  layer.blocks = (static_cast<uint32_t>(description.shape.channels) + layer.width - 1) / layer.width;
  layer.bias = padded(description.bias, layer, 0);
  layer.start = static_cast<uint32_t>(description.start);
  if (layer.spiking) {
    layer.threshold = padded(description.threshold, layer, std::numeric_limits<int32_t>::max());
    layer.initialPotential = padded(description.initialPotential, layer, 0);
  }
  for (const SynapseDescription& s : description.synapses) {
    const Shape& source = s.source == inputSource ? plan.input : plan.layers[static_cast<size_t>(s.source)].shape;
    layer.synapses.push_back(makeSynapse(s, source, layer));
  }
  if (description.maxPool) {
    const MaxPoolDescription& pool = *description.maxPool;
    makeMaxPool(pool, plan.layers[static_cast<size_t>(pool.source)].shape, layer);
  }
  makeUnits(layer);
  layer.currents = currentRanges(description);
  return layer;
}

/// Spike stores are reused once the last reader of a layer has run.
void assignSlots(Plan& plan) {
  std::vector<size_t> lastReader(plan.layers.size());
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    lastReader[i] = std::max(lastReader[i], i);
    if (plan.layers[i].maxPool) lastReader[static_cast<size_t>(plan.layers[i].poolSource)] = i;
    for (const Synapse& s : plan.layers[i].synapses) {
      if (s.analog()) continue;
      lastReader[static_cast<size_t>(s.source)] = i;
      if (s.method == Method::identity || s.method == Method::depthwise || s.method == Method::counted) continue;
      Layer& source = plan.layers[static_cast<size_t>(s.source)];
      (s.merged ? source.merged : source.listed) = true;
    }
  }
  std::vector<size_t> freeAfter;  // by slot: the layer after which it is free
  for (size_t i = 0; i + 1 < plan.layers.size(); ++i) {
    size_t slot = 0;
    while (slot < freeAfter.size() && freeAfter[slot] >= i) ++slot;
    if (slot == freeAfter.size()) freeAfter.push_back(0);
    freeAfter[slot] = lastReader[i];
    plan.layers[i].slot = slot;
  }
  plan.slots = freeAfter.size();
}

}  // namespace

Plan makePlan(ModelDescription model) {
  validate(model);
  Plan plan;
  plan.input = model.input;
  plan.inputScale = model.inputScale;
  plan.layers.reserve(model.layers.size());
  for (LayerDescription& layer : model.layers) {
    plan.layers.push_back(makeLayer(layer, plan));
    plan.synapses += layer.synapses.size();
    plan.given += layer.given ? 1 : 0;
    layer = {};
  }
  assignSlots(plan);
  return plan;
}

}  // namespace noisefloor
