#include "engine.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "error.h"
#include "quantize.h"

namespace noisefloor {
namespace {

constexpr size_t maxChunk = 32;
/// Address space, not memory, of the spike stores of a chunk: untouched pages cost nothing.
constexpr size_t storeBudget = size_t{192} << 20;

}  // namespace

struct Engine::Progress {
  const float* images;
  size_t total;
  size_t first;   ///< of the chunk
  size_t count;   ///< in the chunk
  const RunOptions& options;
  const std::atomic<bool>& cancelled;
  RunResult& result;

  uint32_t steps() const { return static_cast<uint32_t>(options.timeSteps); }
  void throwIfCancelled() const {
    if (cancelled) throw EngineError(ErrorCode::aborted, "The run was aborted.");
  }
};

Engine::Engine(const ModelDescription& model, Isa isa, unsigned threads)
    : plan_(makePlan(model)), isa_(isa), pool_(threads), stores_(plan_.slots), scratch_(pool_.size()) {}

/// As many images at a time as the spike stores allow, in chunks of nearly equal size.
size_t Engine::chunkSize(uint32_t steps, size_t count) {
  slotBytes_.assign(plan_.slots, 0);
  for (const Layer& layer : plan_.layers) {
    if (layer.spiking) slotBytes_[layer.slot] = std::max(slotBytes_[layer.slot], LayerPass::storeBytes(layer, steps, 1));
  }
  size_t perImage = 1;
  for (size_t bytes : slotBytes_) perImage += bytes;
  const size_t largest = std::clamp<size_t>(storeBudget / perImage, 1, maxChunk);
  const size_t chunks = (count + largest - 1) / largest;
  return (count + chunks - 1) / chunks;
}

void Engine::reserve(uint32_t steps, size_t images) {
  for (const Layer& layer : plan_.layers) {
    if (layer.spiking) LayerPass::reserveStore(layer, steps, images, stores_[layer.slot]);
  }
  input_.reserve(images * static_cast<size_t>(plan_.input.size()));
}

RunResult Engine::run(const float* images, size_t count, const RunOptions& options,
                      const std::atomic<bool>& cancelled) {
  if (options.timeSteps < 1 || options.timeSteps > maxTimeSteps) {
    throw EngineError(ErrorCode::invalidArgument, "Expected 1 to " + std::to_string(maxTimeSteps) +
                                                      " for timeSteps but received " + std::to_string(options.timeSteps));
  }
  RunResult result;
  const uint32_t steps = static_cast<uint32_t>(options.timeSteps);
  result.potentials.resize(steps * count * static_cast<size_t>(plan_.layers.back().shape.channels));
  for (const Layer& layer : plan_.layers) {
    if (options.statistics) {
      for (const Synapse& s : layer.synapses) result.operations.emplace_back(s.analog() ? 1 : steps);
    }
    if (!layer.spiking) continue;
    if (options.statistics) result.spikes.emplace_back(steps);
    if (options.counts) result.counts.emplace_back(count * static_cast<size_t>(layer.shape.size()));
  }
  if (count == 0) return result;
  const size_t chunk = chunkSize(steps, count);
  reserve(steps, chunk);
  for (size_t first = 0; first < count; first += chunk) {
    const Progress progress{images, count, first, std::min(chunk, count - first), options, cancelled, result};
    quantize(progress);
    runLayers(progress);
  }
  return result;
}

void Engine::quantize(const Progress& progress) {
  const Shape& shape = plan_.input;
  const size_t size = static_cast<size_t>(shape.size());
  const size_t rows = static_cast<size_t>(shape.height);
  std::atomic<size_t> firstNaN{progress.count};
  pool_.parallelFor(progress.count * rows, [&](size_t item, unsigned) {
    const size_t image = item / rows;
    const float* pixels = progress.images + (progress.first + image) * size;
    if (quantizeRow(pixels, shape, plan_.inputScale, static_cast<int32_t>(item % rows), input_.data() + image * size)) {
      return;
    }
    size_t known = firstNaN.load();
    while (image < known && !firstNaN.compare_exchange_weak(known, image)) {
    }
  });
  if (firstNaN == progress.count) return;
  throw EngineError(ErrorCode::invalidData, "Image " + std::to_string(progress.first + firstNaN) +
                                                " has a pixel that is not a number: check its normalisation.");
}

void Engine::runLayers(const Progress& progress) {
  Chunk chunk;
  chunk.plan = &plan_;
  chunk.kernels = &kernelsOf(isa_);
  chunk.word = wordKernels(*chunk.kernels, isa_, progress.steps());
  chunk.steps = progress.steps();
  chunk.lists = stepLists(chunk.steps);
  chunk.images = progress.count;
  chunk.input = input_.data();
  chunk.stores = &stores_;
  RunResult& result = progress.result;
  size_t spiking = 0;
  size_t synapse = 0;
  for (const Layer& layer : plan_.layers) {
    LayerOutput output;
    output.totalImages = progress.total;
    output.statistics = progress.options.statistics;
    if (!layer.spiking) {
      output.potentials = result.potentials.data() + progress.first * static_cast<size_t>(layer.shape.channels);
    } else if (progress.options.counts) {
      output.counts = result.counts[spiking].data() + progress.first * static_cast<size_t>(layer.shape.size());
    }
    const auto began = std::chrono::steady_clock::now();
    runLayer(progress, chunk, layer, output);
    if (progress.options.layerSeconds != nullptr) {
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
      (*progress.options.layerSeconds)[static_cast<size_t>(&layer - plan_.layers.data())] += seconds.count();
    }
    if (output.statistics) {
      double* spikes = layer.spiking ? result.spikes[spiking].data() : nullptr;
      addStatistics(layer, chunk.steps, spikes, result.operations.data() + synapse);
    }
    spiking += layer.spiking ? 1 : 0;
    synapse += layer.synapses.size();
  }
}

void Engine::runLayer(const Progress& progress, const Chunk& chunk, const Layer& layer, const LayerOutput& output) {
  progress.throwIfCancelled();
  LayerPass pass(chunk, layer, output, pool_.size(), tilesLeft_);
  for (Scratch& scratch : scratch_) pass.prepare(scratch);
  pool_.parallelFor(pass.items(), [&](size_t item, unsigned worker) {
    if (!progress.cancelled) pass.run(item, scratch_[worker]);
  });
  // A cancelled pass leaves its spikes unfinished: nothing may read them.
  progress.throwIfCancelled();
}

void Engine::addStatistics(const Layer& layer, uint32_t steps, double* spikes, std::vector<double>* operations) const {
  for (const Scratch& scratch : scratch_) {
    for (uint32_t t = 0; spikes != nullptr && t < steps; ++t) spikes[t] += static_cast<double>(scratch.spikes[t]);
    for (size_t s = 0; s < layer.synapses.size(); ++s) {
      std::vector<double>& sums = operations[s];
      for (size_t t = 0; t < sums.size(); ++t) sums[t] += static_cast<double>(scratch.operations[s * steps + t]);
    }
  }
}

}  // namespace noisefloor
