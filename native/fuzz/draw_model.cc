#include "draw_model.h"

#include <algorithm>
#include <limits>
#include <random>

namespace noisefloor::fuzz {
namespace {

constexpr int32_t channelNumbers[] = {1, 2, 3, 4, 6, 8, 17, 31, 32, 33, 64, 65, 96, 129};
constexpr int32_t longExtents[] = {100, 257, 1024, 32767, 32768};
constexpr int32_t wildValues[] = {-32768, -2, -1, 0, 1, 2, 3, 64, 255, 32767, 32768, 32769, 65535, 65536, (1 << 24) - 1,
                                  1 << 24, 1 << 25, 1 << 30, std::numeric_limits<int32_t>::max(),
                                  std::numeric_limits<int32_t>::min()};

class Drawing {
 public:
  explicit Drawing(FuzzedDataProvider& data) : data_(data), bulk_(data.ConsumeIntegral<uint32_t>()) {}

  ModelDescription model() {
    drawInput();
    const int32_t layers = range(0, 5);
    for (int32_t i = 0; i < layers; ++i) {
      if (oneIn(4)) addMaxPool();
      else addLayer(pick(channelNumbers), {});
    }
    addReadout();
    for (int32_t n = range(0, 3); n > 1; --n) spoil();
    return std::move(model_);
  }

 private:
  int32_t range(int32_t low, int32_t high) { return data_.ConsumeIntegralInRange(low, high); }
  bool oneIn(int32_t n) { return range(1, n) == n; }
  template <size_t size>
  int32_t pick(const int32_t (&values)[size]) { return values[range(0, static_cast<int32_t>(size) - 1)]; }

  const Shape& shapeOf(int32_t source) const {
    return source == inputSource ? model_.input : model_.layers[static_cast<size_t>(source)].shape;
  }

  void drawInput() {
    model_.input = {range(1, 4), range(1, 10), range(1, 10)};
    if (oneIn(32)) model_.input = {1, 1, pick(longExtents)};
    model_.inputScale = oneIn(16) ? data_.ConsumeFloatingPoint<float>() : static_cast<float>(1 << range(0, 14));
  }

  int32_t drawSource() { return range(inputSource, static_cast<int32_t>(model_.layers.size()) - 1); }

  Pair drawPair(int32_t most) {
    const int32_t y = range(1, most);
    return {y, range(1, most)};
  }

  /// Everything but kernel, groups and arrays; the pool fits its source.
  SynapseDescription drawForm(int32_t source, int32_t mostStride) {
    SynapseDescription s;
    s.source = source;
    s.stride = drawPair(mostStride);
    if (oneIn(3)) {
      const Shape& in = shapeOf(source);
      s.poolKernel = {range(1, std::min(in.height, 4)), range(1, std::min(in.width, 4))};
      if (oneIn(8)) s.poolKernel = {in.height, in.width};
      s.poolStride = drawPair(3);
    }
    s.shift = source == inputSource ? range(0, 30) : 0;
    return s;
  }

  static Pair pooled(const SynapseDescription& s, const Shape& in) {
    return {(in.height - s.poolKernel.y) / s.poolStride.y + 1, (in.width - s.poolKernel.x) / s.poolStride.x + 1};
  }

  Padding drawPadding() {
    const int32_t top = range(0, 2);
    const int32_t left = range(0, 2);
    const int32_t bottom = range(0, 2);
    return {top, left, bottom, range(0, 3)};
  }

  /// A synapse whose windows decide the size of the layer; channels are those of the source for an identity.
  SynapseDescription drawFirst(int32_t source, Shape& out) {
    SynapseDescription s = drawForm(source, 3);
    const Shape& in = shapeOf(source);
    const Pair map = pooled(s, in);
    s.convolution = !oneIn(4);
    if (s.convolution && !oneIn(4)) {
      s.padding = drawPadding();
      s.kernel = {range(1, std::min(4, map.y + s.padding.top + s.padding.bottom)),
                  range(1, std::min(5, map.x + s.padding.left + s.padding.right))};
    }
    if (!s.convolution) out.channels = in.channels;
    out.height = (map.y + s.padding.top + s.padding.bottom - s.kernel.y) / s.stride.y + 1;
    out.width = (map.x + s.padding.left + s.padding.right - s.kernel.x) / s.stride.x + 1;
    return s;
  }

  /// A further synapse, made to fit the layer where it can be.
  SynapseDescription drawFurther(int32_t source, const Shape& out) {
    SynapseDescription s = drawForm(source, 2);
    const Shape& in = shapeOf(source);
    const Pair map = pooled(s, in);
    s.convolution = in.channels != out.channels || !oneIn(2);
    s.padding = s.convolution ? drawPadding() : Padding{};
    s.kernel = {map.y + s.padding.top + s.padding.bottom - (out.height - 1) * s.stride.y,
                map.x + s.padding.left + s.padding.right - (out.width - 1) * s.stride.x};
    return s;
  }

  void fillArrays(SynapseDescription& s, int32_t channels) {
    s.multiplier = values(channels, 1, oneIn(4) ? 1 << range(0, 30) : 4);
    if (!s.convolution) return;
    const int32_t sourceChannels = shapeOf(s.source).channels;
    if (oneIn(3)) s.groups = oneIn(2) ? sourceChannels : 2;
    if (sourceChannels % s.groups != 0 || channels % s.groups != 0) s.groups = 1;
    const int64_t count = int64_t{channels} * (sourceChannels / s.groups) * s.kernel.y * s.kernel.x;
    // What is larger has a kernel that does not fit, or is not worth its time.
    const int32_t used = count < 0 || count > 200000 ? 0 : static_cast<int32_t>(count);
    if (oneIn(2)) {
      s.weight = narrow<int8_t>(used);
    } else {
      s.weight = narrow<int16_t>(used);
    }
  }

  std::vector<int32_t> values(int32_t count, int32_t low, int32_t high) {
    std::vector<int32_t> result(static_cast<size_t>(count));
    const int64_t span = int64_t{high} - low + 1;
    for (int32_t& value : result) value = static_cast<int32_t>(low + bulk_() % span);
    return result;
  }

  /// All of one extreme, or of a range; some are 0.
  template <typename T>
  std::vector<T> narrow(int32_t count) {
    const bool extreme = oneIn(6);
    const T end = data_.ConsumeBool() ? std::numeric_limits<T>::max() : std::numeric_limits<T>::min();
    const int32_t halvings = range(0, 8 * static_cast<int32_t>(sizeof(T)) - 1);
    std::vector<T> result(static_cast<size_t>(count));
    for (T& value : result) {
      value = extreme ? end : bulk_() % 4 == 0 ? T{0} : static_cast<T>(static_cast<T>(bulk_()) / (1 << halvings));
    }
    return result;
  }

  void addLayer(int32_t channels, const Shape& only) {
    LayerDescription layer;
    layer.name = "layer" + std::to_string(model_.layers.size());
    layer.shape = only.channels > 0 ? only : Shape{channels, 1, 1};
    SynapseDescription first = only.channels > 0 ? drawFurther(drawSource(), only) : drawFirst(drawSource(), layer.shape);
    fillArrays(first, layer.shape.channels);
    layer.synapses.push_back(std::move(first));
    for (int32_t n = range(0, 2); n > 0; --n) {
      SynapseDescription further = drawFurther(drawSource(), layer.shape);
      if (further.convolution && (further.kernel.y < 1 || further.kernel.x < 1)) continue;
      fillArrays(further, layer.shape.channels);
      layer.synapses.push_back(std::move(further));
    }
    const int32_t scale = 1 << range(1, 24);
    layer.bias = values(layer.shape.channels, -scale / 2, scale);
    layer.threshold = values(layer.shape.channels, 1, scale);
    layer.initialPotential = values(layer.shape.channels, -scale, scale);
    if (oneIn(4)) layer.start = range(0, 80);
    model_.layers.push_back(std::move(layer));
  }

  void addMaxPool() {
    if (model_.layers.empty()) return;
    MaxPoolDescription pool;
    pool.source = range(0, static_cast<int32_t>(model_.layers.size()) - 1);
    const Shape& in = shapeOf(pool.source);
    pool.stride = drawPair(3);
    pool.padding = drawPadding();
    pool.kernel = {range(1, std::min(3, in.height + pool.padding.top + pool.padding.bottom)),
                   range(1, std::min(3, in.width + pool.padding.left + pool.padding.right))};
    LayerDescription layer;
    layer.name = "layer" + std::to_string(model_.layers.size());
    layer.spiking = false;
    layer.shape = {in.channels, (in.height + pool.padding.top + pool.padding.bottom - pool.kernel.y) / pool.stride.y + 1,
                   (in.width + pool.padding.left + pool.padding.right - pool.kernel.x) / pool.stride.x + 1};
    layer.maxPool = pool;
    model_.layers.push_back(std::move(layer));
  }

  void addReadout() {
    addLayer(0, {pick(channelNumbers), 1, 1});
    LayerDescription& layer = model_.layers.back();
    layer.spiking = false;
    layer.threshold.clear();
    layer.initialPotential.clear();
  }

  /// Makes one thing as no valid file has it, most likely.
  void spoil() {
    LayerDescription& layer = model_.layers[static_cast<size_t>(range(0, static_cast<int32_t>(model_.layers.size()) - 1))];
    if (layer.maxPool) return spoilMaxPool(layer);
    SynapseDescription& s = layer.synapses[static_cast<size_t>(range(0, static_cast<int32_t>(layer.synapses.size()) - 1))];
    int32_t* const fields[] = {
        &model_.input.channels, &model_.input.height, &model_.input.width, &layer.shape.channels, &layer.shape.height,
        &layer.shape.width, &s.source, &s.poolKernel.y, &s.poolKernel.x, &s.poolStride.y, &s.poolStride.x, &s.stride.y,
        &s.stride.x, &s.kernel.y, &s.kernel.x, &s.padding.top, &s.padding.left, &s.padding.bottom, &s.padding.right,
        &s.groups, &s.shift, &s.multiplier.front(), &layer.bias.front(), &layer.start};
    std::vector<int32_t>* const arrays[] = {&s.multiplier, &layer.bias, &layer.threshold, &layer.initialPotential};
    switch (range(0, 5)) {
      case 0: layer.spiking = !layer.spiking; break;
      case 1: s.convolution = !s.convolution; break;
      case 2: arrays[range(0, 3)]->resize(static_cast<size_t>(range(0, 200))); break;
      case 3: std::visit([this](auto& weights) { weights.resize(static_cast<size_t>(range(0, 2000))); }, s.weight); break;
      default:
        *fields[range(0, static_cast<int32_t>(std::size(fields)) - 1)] =
            oneIn(4) ? data_.ConsumeIntegral<int32_t>() : pick(wildValues);
    }
  }

  void spoilMaxPool(LayerDescription& layer) {
    MaxPoolDescription& pool = *layer.maxPool;
    int32_t* const fields[] = {&pool.source, &pool.kernel.y, &pool.kernel.x, &pool.stride.y, &pool.stride.x, &pool.padding.top,
                               &pool.padding.left, &pool.padding.bottom, &pool.padding.right, &layer.shape.channels,
                               &layer.shape.height, &layer.shape.width};
    *fields[range(0, static_cast<int32_t>(std::size(fields)) - 1)] =
        oneIn(4) ? data_.ConsumeIntegral<int32_t>() : pick(wildValues);
  }

  FuzzedDataProvider& data_;
  std::mt19937 bulk_;
  ModelDescription model_;
};

}  // namespace

ModelDescription drawModel(FuzzedDataProvider& data) { return Drawing(data).model(); }

}  // namespace noisefloor::fuzz
