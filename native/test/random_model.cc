#include "random_model.h"

namespace noisefloor::test {

ModelBuilder::ModelBuilder(uint32_t seed, Shape input) : random_(seed) {
  model.input = input;
  model.inputScale = 256;
}

const Shape& ModelBuilder::shapeOf(int32_t source) const {
  return source == inputSource ? model.input : model.layers[static_cast<size_t>(source)].shape;
}

// std::uniform_int_distribution differs between standard libraries; this does not.
int32_t ModelBuilder::uniform(int32_t low, int32_t high) {
  return low + static_cast<int32_t>(random_() % static_cast<uint32_t>(high - low + 1));
}

Weights ModelBuilder::weights(size_t count) {
  if (wide) {
    std::vector<int16_t> values(count);
    for (int16_t& value : values) value = static_cast<int16_t>(uniform(0, 7) == 0 ? 0 : uniform(-32768, 32767));
    return values;
  }
  std::vector<int8_t> values(count);
  for (int8_t& value : values) value = static_cast<int8_t>(uniform(0, 7) == 0 ? 0 : uniform(-128, 127) / (narrow ? 2 : 1));
  return values;
}

void ModelBuilder::fillMultipliers(SynapseDescription& s, int32_t channels) {
  s.multiplier.resize(static_cast<size_t>(channels));
  for (int32_t& multiplier : s.multiplier) multiplier = uniform(1, 5);
  s.shift = s.source == inputSource ? uniform(0, 9) : 0;
}

SynapseDescription ModelBuilder::conv(int32_t source, int32_t outChannels, SynapseDescription form) {
  SynapseDescription s = std::move(form);
  s.convolution = true;
  s.source = source;
  const size_t inPerGroup = static_cast<size_t>(shapeOf(source).channels / s.groups);
  s.weight = weights(static_cast<size_t>(outChannels) * inPerGroup * static_cast<size_t>(s.kernel.y * s.kernel.x));
  fillMultipliers(s, outChannels);
  return s;
}

SynapseDescription ModelBuilder::identity(int32_t source, SynapseDescription form) {
  SynapseDescription s = std::move(form);
  s.convolution = false;
  s.source = source;
  fillMultipliers(s, shapeOf(source).channels);
  for (int32_t& multiplier : s.multiplier) multiplier = source == inputSource ? 1 : uniform(20, wide ? 60000 : 500);
  return s;
}

int32_t ModelBuilder::spiking(std::vector<SynapseDescription> synapses, int32_t channels) {
  const SynapseDescription& s = synapses.front();
  const Shape& in = shapeOf(s.source);
  const int32_t height = (in.height - s.poolKernel.y) / s.poolStride.y + 1;
  const int32_t width = (in.width - s.poolKernel.x) / s.poolStride.x + 1;
  LayerDescription layer;
  layer.name = "layer" + std::to_string(model.layers.size());
  layer.shape.channels = channels;
  layer.shape.height = s.convolution
      ? (height + s.padding.top + s.padding.bottom - s.kernel.y) / s.stride.y + 1 : (height - 1) / s.stride.y + 1;
  layer.shape.width = s.convolution
      ? (width + s.padding.left + s.padding.right - s.kernel.x) / s.stride.x + 1 : (width - 1) / s.stride.x + 1;
  const int32_t scale = wide ? 100000 : 400;
  for (int32_t c = 0; c < channels; ++c) {
    layer.bias.push_back(uniform(-scale / 8, scale / 4));
    layer.threshold.push_back(uniform(scale, 4 * scale));
    layer.initialPotential.push_back(layer.threshold.back() / 2);
  }
  layer.synapses = std::move(synapses);
  model.layers.push_back(std::move(layer));
  return static_cast<int32_t>(model.layers.size()) - 1;
}

int32_t ModelBuilder::maxPool(MaxPoolDescription pool) {
  const Shape& in = shapeOf(pool.source);
  LayerDescription layer;
  layer.name = "layer" + std::to_string(model.layers.size());
  layer.spiking = false;
  layer.shape = {in.channels, (in.height + pool.padding.top + pool.padding.bottom - pool.kernel.y) / pool.stride.y + 1,
                 (in.width + pool.padding.left + pool.padding.right - pool.kernel.x) / pool.stride.x + 1};
  layer.maxPool = pool;
  model.layers.push_back(std::move(layer));
  return static_cast<int32_t>(model.layers.size()) - 1;
}

void ModelBuilder::readout(int32_t source, int32_t classes, Pair poolKernel, Pair poolStride) {
  const Shape& in = shapeOf(source);
  SynapseDescription form;
  form.poolKernel = poolKernel;
  form.poolStride = poolStride;
  form.kernel = {(in.height - poolKernel.y) / poolStride.y + 1, (in.width - poolKernel.x) / poolStride.x + 1};
  SynapseDescription s = conv(source, classes, form);
  const int32_t index = spiking({s}, classes);
  LayerDescription& layer = model.layers[static_cast<size_t>(index)];
  layer.spiking = false;
  layer.threshold.clear();
  layer.initialPotential.clear();
}

std::vector<float> ModelBuilder::images(size_t count) {
  std::vector<float> pixels(count * static_cast<size_t>(model.input.size()));
  for (float& pixel : pixels) pixel = static_cast<float>(uniform(0, 5) == 0 ? 0 : uniform(-2000, 2000)) / 1000.0F;
  return pixels;
}

SynapseDescription threeByThree() {
  SynapseDescription s;
  s.kernel = {3, 3};
  s.padding = {1, 1, 1, 1};
  return s;
}

ModelBuilder randomModel(uint32_t seed) {
  std::mt19937 random(seed);
  const auto pick = [&](std::initializer_list<int32_t> values) {
    return *(values.begin() + random() % values.size());
  };
  ModelBuilder b(seed, {pick({1, 3, 4}), pick({5, 8, 9}), pick({5, 7, 8})});
  b.wide = random() % 2 == 0;
  b.narrow = seed % 2 == 0;
  const int32_t c1 = pick({1, 3, 5, 17, 33, 65});
  const int32_t c2 = pick({1, 3, 5, 17, 33, 65, 130, 250});

  const SynapseDescription k3 = threeByThree();
  const int32_t stem = b.spiking({b.conv(inputSource, c1, k3)}, c1);

  SynapseDescription odd;
  odd.kernel = {pick({2, 3}), pick({1, 3})};
  odd.stride = {pick({1, 2}), pick({1, 2})};
  odd.padding = {pick({0, 1}), pick({0, 2}), pick({0, 1}), pick({1, 2})};
  b.spiking({b.conv(stem, c2, odd)}, c2);

  SynapseDescription depthwise = k3;
  depthwise.groups = c1;
  const int32_t third = b.spiking({b.conv(stem, c1, depthwise), b.identity(stem), b.conv(inputSource, c1, k3)}, c1);

  SynapseDescription pooled = k3;
  pooled.poolKernel = {2, pick({1, 2})};
  pooled.poolStride = {2, pick({1, 2})};
  SynapseDescription pooledIdentity;
  pooledIdentity.poolKernel = pooled.poolKernel;
  pooledIdentity.poolStride = pooled.poolStride;
  SynapseDescription pooledInput = pooled;
  const int32_t fourth =
      b.spiking({b.conv(third, c1, pooled), b.identity(stem, pooledIdentity), b.conv(inputSource, c1, pooledInput)}, c1);

  SynapseDescription pooledPoint;
  pooledPoint.poolKernel = pooled.poolKernel;
  pooledPoint.poolStride = pooled.poolStride;
  b.spiking({b.conv(third, c2, pooledPoint)}, c2);

  SynapseDescription strided;
  strided.stride = {2, 2};
  SynapseDescription k1 = strided;
  k1.kernel = {1, 1};
  const int32_t fifth = b.spiking({b.identity(fourth, strided), b.conv(fourth, c1, k1)}, c1);

  const int32_t overlapping = b.maxPool({stem, {3, 3}, {pick({1, 2}), 1}, {1, 0, pick({0, 1}), 1}});
  const int32_t nested = b.maxPool({overlapping, {2, 2}, {1, 1}, {0, 1, 0, 0}});
  SynapseDescription whole;
  const Shape& pooledShape = b.model.layers[static_cast<size_t>(nested)].shape;
  const Shape& last = b.model.layers[static_cast<size_t>(fifth)].shape;
  whole.kernel = {pooledShape.height - last.height + 1, pooledShape.width - last.width + 1};
  SynapseDescription both;
  const int32_t sixth = b.spiking({b.identity(fifth, both), b.conv(nested, c1, whole)}, c1);
  // Drawn from numbers of their own, so that the layers around keep theirs.
  ModelBuilder windows(seed + 1, b.model.input);
  windows.wide = b.wide;
  windows.narrow = b.narrow;
  windows.model = std::move(b.model);
  SynapseDescription counted;
  counted.poolKernel = {windows.model.input.height, windows.model.input.width};
  SynapseDescription all;
  const Shape& halved = windows.model.layers[static_cast<size_t>(fourth)].shape;
  all.kernel = {halved.height, halved.width};
  windows.spiking({windows.conv(stem, c2, counted), windows.conv(fourth, c2, all), windows.conv(third, c2, counted)}, c2);
  b.model = std::move(windows.model);
  b.readout(sixth, pick({2, 10, 33}));
  const bool later = random() % 3 == 0;
  for (LayerDescription& layer : b.model.layers) {
    if (later && !layer.maxPool) layer.start = pick({0, 0, 1, 2, 5});
  }
  return b;
}

}  // namespace noisefloor::test
