#include "engine.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "error.h"
#include "max_pool.h"
#include "pass.h"
#include "quantize.h"

namespace noisefloor {
namespace {

constexpr size_t maxChunk = 32;
/// Address space, not memory, of the spike stores of a chunk: untouched pages cost nothing.
constexpr size_t storeBudget = size_t{192} << 20;

/// Bytes of the spikes of a layer in `steps` steps of `images` images, the passes before the last one whole.
size_t trainBytes(const Layer& layer, uint32_t steps, size_t images) {
  const uint32_t rest = steps % wordSteps;
  const size_t words = steps / wordSteps * wordBytes(wordSteps) + (rest == 0 ? 0 : wordBytes(rest));
  return images * static_cast<size_t>(layer.shape.positions()) * layer.channelStride() * words;
}

}  // namespace

Engine::Engine(ModelDescription model, Isa isa, unsigned threads)
    : plan_(makePlan(std::move(model))), isa_(isa), pool_(threads), stores_(plan_.slots), scratch_(pool_.size()) {}

/// As many images at a time as the spike stores allow, in chunks of nearly equal size.
size_t Engine::chunkSize(uint32_t steps, size_t count, size_t bytesPerImage) {
  slotBytes_.assign(plan_.slots, 0);
  for (const Layer& layer : plan_.layers) {
    if (!layer.readout()) slotBytes_[layer.slot] = std::max(slotBytes_[layer.slot], LayerPass::storeBytes(layer, steps, 1));
  }
  size_t perImage = bytesPerImage + 1;
  for (size_t bytes : slotBytes_) perImage += bytes;
  const size_t largest = std::clamp<size_t>(storeBudget / perImage, 1, maxChunk);
  const size_t chunks = (count + largest - 1) / largest;
  return (count + chunks - 1) / chunks;
}

void Engine::reserve(uint32_t steps, size_t images, size_t inputs) {
  for (const Layer& layer : plan_.layers) {
    if (!layer.readout()) LayerPass::reserveStore(layer, steps, images, stores_[layer.slot]);
  }
  input_.reserve(inputs * static_cast<size_t>(plan_.input.size()));
}

void Engine::checkGiven(const std::vector<SpikeTrains>& given, uint32_t steps, size_t count) const {
  size_t next = 0;
  for (const Layer& layer : plan_.layers) {
    if (!layer.given) continue;
    const size_t expected = trainBytes(layer, steps, count);
    const size_t size = next < given.size() ? given[next].size : 0;
    ++next;
    if (size == expected) continue;
    throw EngineError(ErrorCode::invalidArgument, "Expected " + std::to_string(expected) + " bytes of spikes of layer " +
                                                      layer.name + " but received " + std::to_string(size));
  }
}

RunResult Engine::run(const float* images, size_t count, const RunOptions& options,
                      const std::atomic<bool>& cancelled) {
  checkTimeSteps(options.timeSteps);
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
    if (options.trains) result.trains.emplace_back(trainBytes(layer, steps, count));
  }
  checkGiven(options.given, steps, count);
  if (count == 0) return result;
  const uint32_t longest = std::min<uint32_t>(steps, wordSteps);
  const bool inPasses = longest < steps;
  const size_t chunk = chunkSize(longest, count, inPasses ? membraneBytes() : 0);
  reserve(longest, chunk, chunk);
  if (inPasses) membranes_.reserve(plan_, chunk);
  for (size_t first = 0; first < count; first += chunk) {
    const size_t imagesOfPass = std::min(chunk, count - first);
    quantize(images + first * static_cast<size_t>(plan_.input.size()), imagesOfPass, first, "Image");
    for (uint32_t done = 0; done < steps; done += longest) {
      Pass pass{imagesOfPass, std::min(longest, steps - done), cancelled};
      pass.input = input_.data();
      pass.potentials = result.potentials.data() + (done * count + first) * static_cast<size_t>(plan_.layers.back().shape.channels);
      pass.totalImages = count;
      pass.before = done == 0 ? nullptr : &membranes_;
      pass.after = done + pass.steps == steps ? nullptr : &membranes_;
      pass.result = &result;
      pass.options = options;
      pass.firstImage = first;
      pass.firstStep = done;
      runLayers(pass);
    }
  }
  return result;
}

/// @param number of the first image, and `what` it is: for the message
void Engine::quantize(const float* images, size_t count, size_t number, const char* what) {
  const Shape& shape = plan_.input;
  const size_t size = static_cast<size_t>(shape.size());
  const size_t rows = static_cast<size_t>(shape.height);
  std::atomic<size_t> firstNaN{count};
  pool_.parallelFor(count * rows, [&](size_t item, unsigned) {
    const size_t image = item / rows;
    const float* pixels = images + image * size;
    if (quantizeRow(pixels, shape, plan_.inputScale, static_cast<int32_t>(item % rows), input_.data() + image * size)) {
      return;
    }
    size_t known = firstNaN.load();
    while (image < known && !firstNaN.compare_exchange_weak(known, image)) {
    }
  });
  if (firstNaN == count) return;
  throw EngineError(ErrorCode::invalidData, std::string(what) + " " + std::to_string(number + firstNaN) +
                                                " has a pixel that is not a number: check its normalisation.");
}

void Engine::runLayers(const Pass& pass) {
  Chunk chunk;
  chunk.plan = &plan_;
  chunk.kernels = &kernelsOf(isa_);
  chunk.word = wordKernels(*chunk.kernels, isa_, pass.steps);
  chunk.steps = pass.steps;
  chunk.lists = stepLists(chunk.steps);
  chunk.images = pass.images;
  chunk.frames = pass.frames;
  chunk.input = pass.input;
  chunk.stores = &stores_;
  size_t spiking = 0;
  size_t synapse = 0;
  size_t given = 0;
  for (size_t l = 0; l < plan_.layers.size(); ++l) {
    const Layer& layer = plan_.layers[l];
    LayerOutput output;
    output.totalImages = pass.totalImages;
    output.statistics = pass.options.statistics;
    if (pass.before != nullptr) output.before = pass.before->of(l);
    if (pass.after != nullptr) output.after = pass.after->of(l);
    if (layer.readout()) output.potentials = pass.potentials;
    output.waits = static_cast<uint32_t>(stepsBeforeStart(layer, pass.firstStep, pass.steps));
    if (layer.spiking && pass.options.counts) {
      output.counts = pass.result->counts[spiking].data() + pass.firstImage * static_cast<size_t>(layer.shape.size());
    }
    const auto before = [&] { return trainBytes(layer, pass.firstStep, pass.totalImages) + trainBytes(layer, pass.steps, pass.firstImage); };
    if (layer.spiking && pass.options.trains) output.trains = pass.result->trains[spiking].data() + before();
    if (layer.given) output.given = pass.options.given[given++].bytes + before();
    const auto began = std::chrono::steady_clock::now();
    runLayer(pass, chunk, layer, output);
    if (pass.options.layerSeconds != nullptr) {
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
      (*pass.options.layerSeconds)[l] += seconds.count();
    }
    if (output.statistics) {
      double* spikes = layer.spiking ? pass.result->spikes[spiking].data() : nullptr;
      addStatistics(pass, layer, spikes, pass.result->operations.data() + synapse);
    }
    spiking += layer.spiking ? 1 : 0;
    synapse += layer.synapses.size();
  }
}

void Engine::runLayer(const Pass& pass, const Chunk& chunk, const Layer& layer, const LayerOutput& output) {
  pass.throwIfCancelled();
  LayerPass layerPass(chunk, layer, output, pool_.size(), tilesLeft_);
  for (Scratch& scratch : scratch_) layerPass.prepare(scratch);
  pool_.parallelFor(layerPass.items(), [&](size_t item, unsigned worker) {
    if (!pass.cancelled) layerPass.run(item, scratch_[worker]);
  });
  // A cancelled pass leaves its spikes unfinished: nothing may read them.
  pass.throwIfCancelled();
  if (!layer.maxPool || output.after == nullptr) return;
  pool_.parallelFor(pass.images * static_cast<size_t>(layer.stateShape.height), [&](size_t row, unsigned) {
    countSourceSpikes(chunk, layer, row, output.before, output.after);
  });
}

size_t Engine::membraneBytes() const {
  size_t bytes = 0;
  for (const Layer& layer : plan_.layers) bytes += sizeof(int32_t) * Membranes::sizeOf(layer);
  return bytes;
}

void Engine::addStatistics(const Pass& pass, const Layer& layer, double* spikes, std::vector<double>* operations) const {
  for (const Scratch& scratch : scratch_) {
    for (uint32_t t = 0; spikes != nullptr && t < pass.steps; ++t) spikes[pass.firstStep + t] += static_cast<double>(scratch.spikes[t]);
    for (size_t s = 0; s < layer.synapses.size(); ++s) {
      const bool analog = layer.synapses[s].analog();
      if (analog && pass.firstStep > 0) continue;  // once an image
      const uint64_t waits = analog ? 0 : stepsBeforeStart(layer, pass.firstStep, pass.steps);
      for (uint64_t t = waits; t < (analog ? 1 : pass.steps); ++t) {
        operations[s][pass.firstStep + t] += static_cast<double>(scratch.operations[s * pass.steps + t]);
      }
    }
  }
}

}  // namespace noisefloor
