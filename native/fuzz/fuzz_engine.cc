#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../engine/engine.h"
#include "../engine/error.h"
#include "../engine/validate.h"
#include "../test/simulate.h"
#include "draw_model.h"

// Any description is refused with an EngineError or runs, to the numbers of the simulator; where sums may leave 32 bits, to
// those of the scalar kernels. Sizes are bounded so that a case takes milliseconds.

using namespace noisefloor;

namespace {

// Multiplications: of one image and step, and of a run.
constexpr int64_t mostPlanned = int64_t{1} << 20;
constexpr int64_t mostRun = int64_t{1} << 22;
constexpr int64_t mostSimulated = int64_t{1} << 19;

/// Multiplications of one image and step; also counts what a plan holds.
int64_t workOf(const ModelDescription& model) {
  int64_t work = model.input.size();
  for (const LayerDescription& layer : model.layers) {
    work += layer.shape.size();
    if (layer.maxPool) work += int64_t{layer.maxPool->kernel.y} * layer.maxPool->kernel.x * layer.shape.size();
    if (work > mostPlanned) return work;
    for (const SynapseDescription& s : layer.synapses) {
      const Shape& source = s.source == inputSource ? model.input : model.layers[static_cast<size_t>(s.source)].shape;
      const int64_t window = int64_t{s.poolKernel.y} * s.poolKernel.x;
      const int64_t inputs = s.convolution ? int64_t{s.kernel.y} * s.kernel.x * (source.channels / s.groups) : 1;
      work += inputs * window * layer.shape.size();
      if (work > mostPlanned) return work;
    }
  }
  return work;
}

double magnitudeOf(const SynapseDescription& s, size_t channel) {
  if (!s.convolution) return 1;
  return std::visit([&](const auto& weights) {
    const size_t fanIn = weights.size() / s.multiplier.size();
    double sum = 0;
    for (size_t i = channel * fanIn; i < (channel + 1) * fanIn; ++i) sum += std::abs(static_cast<double>(weights[i]));
    return sum;
  }, s.weight);
}

/// Coarser than src/snn/bounds.ts: true only where nothing can leave 32 bits.
bool fitsInt32(const ModelDescription& model, int32_t timeSteps) {
  for (const LayerDescription& layer : model.layers) {
    if (layer.maxPool) continue;
    for (size_t c = 0; c < static_cast<size_t>(layer.shape.channels); ++c) {
      double step = std::abs(static_cast<double>(layer.bias[c]));
      for (const SynapseDescription& s : layer.synapses) {
        const double value = (s.source == inputSource ? 32768.0 : 1.0) * s.poolKernel.y * s.poolKernel.x;
        const double product = magnitudeOf(s, c) * value * s.multiplier[c] + (s.shift > 0 ? std::ldexp(1, s.shift - 1) : 0);
        if (product > 2147483647.0) return false;
        step += std::ceil(std::ldexp(product, -s.shift));
      }
      const double start = layer.spiking ? std::abs(static_cast<double>(layer.initialPotential[c])) + layer.threshold[c] : 0;
      if (start + timeSteps * step > 2147483647.0) return false;
    }
  }
  return true;
}

bool sameResult(const RunResult& a, const RunResult& b) {
  return a.potentials == b.potentials && a.spikes == b.spikes && a.operations == b.operations && a.counts == b.counts;
}

std::vector<float> drawImages(FuzzedDataProvider& data, size_t values) {
  std::vector<float> images(values);
  uint32_t state = data.ConsumeIntegral<uint32_t>() | 1;
  for (float& pixel : images) {
    state = state * 1664525U + 1013904223U;
    pixel = state % 5 == 0 ? 0.0F : static_cast<float>(static_cast<int32_t>(state)) * 0x1p-30F;
  }
  if (!images.empty() && data.ConsumeBool()) {
    images[data.ConsumeIntegralInRange<size_t>(0, values - 1)] = data.ConsumeFloatingPoint<float>();
  }
  if (!images.empty() && data.ConsumeIntegralInRange(0, 15) == 0) images.back() = std::nanf("");
  return images;
}

int32_t drawTimeSteps(FuzzedDataProvider& data) {
  switch (data.ConsumeIntegralInRange(0, 15)) {
    case 0: return data.ConsumeIntegral<int32_t>();
    case 1: return data.ConsumeIntegralInRange(1, maxTimeSteps);
    case 2: return maxTimeSteps;
    default: return data.ConsumeIntegralInRange(1, 9);
  }
}

RunResult run(const ModelDescription& model, Isa isa, unsigned threads, const std::vector<float>& images, size_t count,
              int32_t timeSteps) {
  Engine engine(model, isa, threads);
  const std::atomic<bool> never{false};
  return engine.run(images.data(), count, {timeSteps, true, true, nullptr}, never);
}

/// The simulator where it is quick and its 64-bit sums are those of the engine; else the scalar kernels.
RunResult expected(const ModelDescription& model, const std::vector<float>& images, size_t count, int32_t timeSteps,
                   int64_t cost) {
  if (cost > mostSimulated || !fitsInt32(model, timeSteps)) return run(model, Isa::scalar, 1, images, count, timeSteps);
  return test::simulate(model, images, count, timeSteps);
}

void runCase(FuzzedDataProvider& data) {
  const auto& isas = supportedIsas();
  const Isa isa = isas[data.ConsumeIntegralInRange<size_t>(0, isas.size() - 1)];
  const unsigned threads = data.ConsumeIntegralInRange(0, 15) == 0 ? 2 : 1;
  const int32_t timeSteps = drawTimeSteps(data);
  const size_t count = data.ConsumeIntegralInRange<size_t>(0, 3);
  const ModelDescription model = fuzz::drawModel(data);
  validate(model);
  const int64_t work = workOf(model);
  if (work > mostPlanned) return;
  const int64_t cost = work * static_cast<int64_t>(count) * timeSteps;
  if (cost > mostRun) {
    makePlan(model);
    return;
  }
  const std::vector<float> images = drawImages(data, count * static_cast<size_t>(model.input.size()));
  const RunResult result = run(model, isa, threads, images, count, timeSteps);
  if (sameResult(result, expected(model, images, count, timeSteps, cost))) return;
  std::fprintf(stderr, "%s differs from what is expected, T=%d, %zu images\n", isaName(isa), timeSteps, count);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  try {
    runCase(data);
  } catch (const EngineError&) {
    // Refused, with a code.
  }
  return 0;
}
