#include "simulate.h"

#include <algorithm>
#include <cmath>

namespace noisefloor::test {
namespace {

/// Values [C][H][W]: pixels, or the spikes of one step.
using Map = std::vector<int32_t>;

size_t at(const Shape& shape, int32_t c, int32_t y, int32_t x) {
  return (static_cast<size_t>(c) * static_cast<size_t>(shape.height) + static_cast<size_t>(y)) *
             static_cast<size_t>(shape.width) + static_cast<size_t>(x);
}

int64_t weightAt(const SynapseDescription& s, size_t i) {
  return std::visit([i](const auto& values) { return static_cast<int64_t>(values[i]); }, s.weight);
}

struct Sum {
  int64_t acc = 0;
  double operations = 0;
};

/// Visits the pool window of pooled position (py, px): adds weight * value of channel c.
void addWindow(const SynapseDescription& s, const Shape& shape, const Map& map, int32_t c, int32_t py, int32_t px,
               int64_t weight, Sum& sum) {
  for (int32_t wy = 0; wy < s.poolKernel.y; ++wy) {
    for (int32_t wx = 0; wx < s.poolKernel.x; ++wx) {
      const int32_t value = map[at(shape, c, py * s.poolStride.y + wy, px * s.poolStride.x + wx)];
      sum.acc += weight * value;
      if (weight != 0 && value != 0) sum.operations += 1;
    }
  }
}

Sum accumulate(const SynapseDescription& s, const Shape& in, const Map& map, const Shape& out, int32_t c, int32_t y,
               int32_t x) {
  Sum sum;
  if (!s.convolution) {
    addWindow(s, in, map, c, y * s.stride.y, x * s.stride.x, 1, sum);
    return sum;
  }
  const int32_t pooledHeight = (in.height - s.poolKernel.y) / s.poolStride.y + 1;
  const int32_t pooledWidth = (in.width - s.poolKernel.x) / s.poolStride.x + 1;
  const int32_t inPerGroup = in.channels / s.groups;
  const int32_t group = c / (out.channels / s.groups);
  for (int32_t i = 0; i < inPerGroup; ++i) {
    for (int32_t ky = 0; ky < s.kernel.y; ++ky) {
      for (int32_t kx = 0; kx < s.kernel.x; ++kx) {
        const int32_t py = y * s.stride.y - s.padding.top + ky;
        const int32_t px = x * s.stride.x - s.padding.left + kx;
        if (py < 0 || py >= pooledHeight || px < 0 || px >= pooledWidth) continue;
        const size_t w = static_cast<size_t>(((c * inPerGroup + i) * s.kernel.y + ky) * s.kernel.x + kx);
        addWindow(s, in, map, group * inPerGroup + i, py, px, weightAt(s, w), sum);
      }
    }
  }
  return sum;
}

int32_t currentOf(const SynapseDescription& s, int64_t acc, int32_t c) {
  const int64_t half = s.shift > 0 ? int64_t{1} << (s.shift - 1) : 0;
  return static_cast<int32_t>((acc * s.multiplier[static_cast<size_t>(c)] + half) >> s.shift);
}

Map quantized(const ModelDescription& model, const float* image) {
  Map map(static_cast<size_t>(model.input.size()));
  for (size_t i = 0; i < map.size(); ++i) {
    const double scaled = static_cast<double>(image[i]) * static_cast<double>(model.inputScale);
    map[i] = static_cast<int32_t>(std::clamp(std::nearbyint(scaled), -32768.0, 32767.0));
  }
  return map;
}

struct State {
  std::vector<std::vector<int64_t>> potential;  // by layer
  std::vector<Map> spikes;                      // by layer, of the present step
  std::vector<Map> counts;                      // by layer, up to the present step
};

/// The largest count of a window; its growth since the last step is the spike.
void poolStep(const ModelDescription& model, size_t l, State& state) {
  const LayerDescription& layer = model.layers[l];
  const MaxPoolDescription& pool = *layer.maxPool;
  const size_t source = static_cast<size_t>(pool.source);
  const Shape& in = model.layers[source].shape;
  for (int32_t c = 0; c < layer.shape.channels; ++c) {
    for (int32_t y = 0; y < layer.shape.height; ++y) {
      for (int32_t x = 0; x < layer.shape.width; ++x) {
        int32_t most = 0;
        for (int32_t ky = 0; ky < pool.kernel.y; ++ky) {
          for (int32_t kx = 0; kx < pool.kernel.x; ++kx) {
            const int32_t sy = y * pool.stride.y - pool.padding.top + ky;
            const int32_t sx = x * pool.stride.x - pool.padding.left + kx;
            if (sy < 0 || sy >= in.height || sx < 0 || sx >= in.width) continue;
            most = std::max(most, state.counts[source][at(in, c, sy, sx)]);
          }
        }
        int32_t& count = state.counts[l][at(layer.shape, c, y, x)];
        state.spikes[l][at(layer.shape, c, y, x)] = most - count;
        count = most;
      }
    }
  }
}

void step(const ModelDescription& model, const Map& input, size_t image, size_t count, int32_t t, State& state,
          RunResult& result) {
  size_t synapse = 0;
  size_t spiking = 0;
  for (size_t l = 0; l < model.layers.size(); ++l) {
    const LayerDescription& layer = model.layers[l];
    if (layer.maxPool) {
      poolStep(model, l, state);
      continue;
    }
    const bool waits = t < layer.start;
    const Shape& shape = layer.shape;
    for (int32_t c = 0; c < shape.channels; ++c) {
      for (int32_t y = 0; y < shape.height; ++y) {
        for (int32_t x = 0; x < shape.width; ++x) {
          int64_t& v = state.potential[l][at(shape, c, y, x)];
          if (!waits) v += layer.bias[static_cast<size_t>(c)];
          for (size_t i = 0; i < layer.synapses.size(); ++i) {
            const SynapseDescription& s = layer.synapses[i];
            const bool analog = s.source == inputSource;
            const size_t source = static_cast<size_t>(std::max(s.source, 0));
            const Shape& in = analog ? model.input : model.layers[source].shape;
            const Sum sum = accumulate(s, in, analog ? input : state.spikes[source], shape, c, y, x);
            if (!waits) v += currentOf(s, sum.acc, c);
            if (!analog && !waits) result.operations[synapse + i][static_cast<size_t>(t)] += sum.operations;
            if (analog && t == 0) result.operations[synapse + i][0] += sum.operations;
          }
          if (!layer.spiking) {
            const size_t classes = static_cast<size_t>(shape.channels);
            result.potentials[(static_cast<size_t>(t) * count + image) * classes + static_cast<size_t>(c)] =
                static_cast<int32_t>(v);
            continue;
          }
          const bool fires = !waits && v >= layer.threshold[static_cast<size_t>(c)];
          if (fires) v -= layer.threshold[static_cast<size_t>(c)];
          state.spikes[l][at(shape, c, y, x)] = fires ? 1 : 0;
          state.counts[l][at(shape, c, y, x)] += fires ? 1 : 0;
          result.spikes[spiking][static_cast<size_t>(t)] += fires ? 1 : 0;
          uint16_t& count = result.counts[spiking][image * static_cast<size_t>(shape.size()) + at(shape, c, y, x)];
          count = static_cast<uint16_t>(count + (fires ? 1 : 0));
        }
      }
    }
    synapse += layer.synapses.size();
    spiking += layer.spiking ? 1 : 0;
  }
}

State initialState(const ModelDescription& model) {
  State state;
  for (const LayerDescription& layer : model.layers) {
    std::vector<int64_t> potential(static_cast<size_t>(layer.shape.size()), 0);
    for (size_t i = 0; layer.spiking && i < potential.size(); ++i) {
      potential[i] = layer.initialPotential[i / static_cast<size_t>(layer.shape.positions())];
    }
    state.potential.push_back(potential);
    state.spikes.emplace_back(potential.size(), 0);
    state.counts.emplace_back(potential.size(), 0);
  }
  return state;
}

RunResult emptyResult(const ModelDescription& model, size_t count, int32_t timeSteps) {
  const size_t steps = static_cast<size_t>(timeSteps);
  RunResult result;
  result.potentials.resize(steps * count * static_cast<size_t>(model.layers.back().shape.channels));
  for (const LayerDescription& layer : model.layers) {
    for (const SynapseDescription& s : layer.synapses) {
      result.operations.emplace_back(s.source == inputSource ? 1 : steps);
    }
    if (!layer.spiking) continue;
    result.spikes.emplace_back(steps);
    result.counts.emplace_back(count * static_cast<size_t>(layer.shape.size()));
  }
  return result;
}

}  // namespace

RunResult simulate(const ModelDescription& model, const std::vector<float>& images, size_t count, int32_t timeSteps) {
  RunResult result = emptyResult(model, count, timeSteps);
  for (size_t image = 0; image < count; ++image) {
    const Map input = quantized(model, images.data() + image * static_cast<size_t>(model.input.size()));
    State state = initialState(model);
    for (int32_t t = 0; t < timeSteps; ++t) step(model, input, image, count, t, state, result);
  }
  return result;
}

std::vector<int32_t> simulateFrames(const ModelDescription& model, const std::vector<float>& frames, int32_t frameSteps) {
  const size_t size = static_cast<size_t>(model.input.size());
  const int32_t steps = static_cast<int32_t>(frames.size() / size) * frameSteps;
  RunResult result = emptyResult(model, 1, steps);
  State state = initialState(model);
  for (int32_t t = 0; t < steps; ++t) {
    step(model, quantized(model, frames.data() + static_cast<size_t>(t / frameSteps) * size), 0, 1, t, state, result);
  }
  return result.potentials;
}

}  // namespace noisefloor::test
