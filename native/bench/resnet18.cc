// A developer's tool: ResNet-18 (CIFAR stem) with random weights, its thresholds set so that a given share of the
// neurons spikes in each step. For the time of trained networks on real images see benchmarks/.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>

#include "../engine/engine.h"

using namespace noisefloor;

namespace {

std::mt19937 random_(1);
const std::atomic<bool> never{false};

SynapseDescription conv(const ModelDescription& m, int32_t source, int32_t out, int32_t kernel, int32_t stride, bool wide) {
  SynapseDescription s;
  s.source = source;
  s.kernel = {kernel, kernel};
  s.stride = {stride, stride};
  const int32_t pad = kernel / 2;
  s.padding = {pad, pad, pad, pad};
  const Shape& in = source == inputSource ? m.input : m.layers[static_cast<size_t>(source)].shape;
  const size_t count = static_cast<size_t>(out * in.channels * kernel * kernel);
  if (wide) {
    std::vector<int16_t> weights(count);
    for (int16_t& w : weights) w = static_cast<int16_t>(random_() % 4001) - 2000;
    s.weight = weights;
  } else {
    std::vector<int8_t> weights(count);
    for (int8_t& w : weights) w = static_cast<int8_t>(random_() % 201 - 100);
    s.weight = weights;
  }
  s.multiplier.assign(static_cast<size_t>(out), 1);
  s.shift = source == inputSource ? 8 : 0;
  return s;
}

int32_t addLayer(ModelDescription& m, std::vector<SynapseDescription> synapses, Shape shape) {
  LayerDescription layer;
  layer.name = "layer" + std::to_string(m.layers.size());
  layer.shape = shape;
  const size_t channels = static_cast<size_t>(shape.channels);
  layer.bias.assign(channels, 0);
  layer.threshold.assign(channels, 1000);
  layer.initialPotential.assign(channels, 500);
  layer.synapses = std::move(synapses);
  m.layers.push_back(std::move(layer));
  return static_cast<int32_t>(m.layers.size()) - 1;
}

ModelDescription resnet18(bool wide) {
  ModelDescription m;
  m.input = {3, 32, 32};
  m.inputScale = 4096;
  int32_t x = addLayer(m, {conv(m, inputSource, 64, 3, 1, wide)}, {64, 32, 32});
  for (int32_t stage = 0, channels = 64, size = 32; stage < 4; ++stage, channels *= 2, size /= 2) {
    for (int32_t block = 0; block < 2; ++block) {
      const int32_t stride = stage > 0 && block == 0 ? 2 : 1;
      const Shape shape = {channels, size, size};
      const int32_t first = addLayer(m, {conv(m, x, channels, 3, stride, wide)}, shape);
      SynapseDescription shortcut;
      shortcut.convolution = false;
      shortcut.source = x;
      shortcut.multiplier.assign(static_cast<size_t>(channels), wide ? 4000 : 200);
      if (stride == 2) shortcut = conv(m, x, channels, 1, 2, wide);
      x = addLayer(m, {conv(m, first, channels, 3, 1, wide), shortcut}, shape);
    }
  }
  SynapseDescription linear = conv(m, x, 10, 1, 1, wide);
  linear.poolKernel = linear.poolStride = {4, 4};
  addLayer(m, {linear}, {10, 1, 1});
  LayerDescription& readout = m.layers.back();
  readout.spiking = false;
  readout.threshold.clear();
  readout.initialPotential.clear();
  return m;
}

/// Sets each layer's threshold, front to back, so that about `activity` of its neurons spike in a step.
void calibrate(ModelDescription& m, const std::vector<float>& images, double activity) {
  for (size_t l = 0; l + 1 < m.layers.size(); ++l) {
    double low = 1;
    double high = 1e8;
    for (int i = 0; i < 18; ++i) {
      const int32_t threshold = static_cast<int32_t>(std::sqrt(low * high));
      std::fill(m.layers[l].threshold.begin(), m.layers[l].threshold.end(), threshold);
      std::fill(m.layers[l].initialPotential.begin(), m.layers[l].initialPotential.end(), threshold / 2);
      ModelDescription head = m;
      head.layers.resize(l + 1);
      SynapseDescription end = conv(head, static_cast<int32_t>(l), 1, 1, 1, false);
      end.poolKernel = {m.layers[l].shape.height, m.layers[l].shape.width};
      LayerDescription last = m.layers.back();
      last.shape = {1, 1, 1};
      last.bias.assign(1, 0);
      last.synapses = {end};
      head.layers.push_back(last);
      Engine engine(head, supportedIsas().back(), 2);
      const RunResult r = engine.run(images.data(), 1, {4, true, false}, never);
      double spikes = 0;
      for (double s : r.spikes.back()) spikes += s;
      const double share = spikes / (4.0 * static_cast<double>(m.layers[l].shape.size()));
      (share > activity ? low : high) = threshold;
    }
  }
}

/// Of one run, over all threads: on a machine shared with others the processor time is the steadier number.
struct Times {
  double wall;
  double processor;
};

/// Each the least of all repeats: others on the machine only ever add.
Times leastMs(Engine& engine, const std::vector<float>& images, size_t batch, int32_t steps, int repeats) {
  Times least = {1e9, 1e9};
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t used = std::clock();
    engine.run(images.data(), batch, {steps, false, false}, never);
    const double processor = 1e3 * static_cast<double>(std::clock() - used) / CLOCKS_PER_SEC;
    const double wall = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    least = {std::min(least.wall, wall), std::min(least.processor, processor)};
  }
  return least;
}

void printTimes(const char* what, const Times& times, double images, double operations) {
  std::printf("  %s: %.2f ms/image, %.1f G ops/s (processor time %.2f ms/image, %.1f G ops/s a core)\n", what,
              times.wall / images, operations / times.wall * images / 1e6, times.processor / images,
              operations / times.processor * images / 1e6);
}

}  // namespace

/// bench_resnet18 [activity = 0.13] [threads = 2] [time steps = 4]
int main(int argc, char** argv) {
  const double activity = argc > 1 ? std::atof(argv[1]) : 0.13;
  const unsigned threads = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 2;
  const int32_t steps = argc > 3 ? std::atoi(argv[3]) : 4;
  std::vector<float> images(32 * 3 * 32 * 32);
  for (float& pixel : images) pixel = static_cast<float>(random_() % 4001) / 1000.0F - 2.0F;
  for (bool wide : {false, true}) {
    ModelDescription model = resnet18(wide);
    calibrate(model, images, activity);
    for (Isa isa : supportedIsas()) {
      if (isa == Isa::scalar) continue;
      Engine engine(model, isa, threads);
      const RunResult r = engine.run(images.data(), 1, {steps, true, false}, never);
      double operations = 0;
      for (const auto& synapse : r.operations) {
        if (synapse.size() == static_cast<size_t>(steps)) for (double n : synapse) operations += n;
      }
      double spikes = 0;
      double neurons = 0;
      for (const auto& layer : r.spikes) for (double n : layer) spikes += n;
      for (const Layer& layer : engine.plan().layers) neurons += layer.spiking ? static_cast<double>(layer.shape.size()) : 0;
      std::printf("%s int%d T=%d threads=%u: %.3f of the neurons spike in a step, %.0f M synaptic operations an image\n",
                  isaName(isa), wide ? 16 : 8, steps, threads, spikes / neurons / steps, operations / 1e6);
      printTimes("batch 1", leastMs(engine, images, 1, steps, 60), 1, operations);
      printTimes("batch 32", leastMs(engine, images, 32, steps, 10), 32, operations);
    }
  }
  return 0;
}
