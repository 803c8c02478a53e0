#include "stream.h"

#include <algorithm>
#include <limits>
#include <string>

#include "engine.h"
#include "pass.h"

namespace noisefloor {
namespace {

constexpr size_t lane = 16;  // channels of a cache line; channelStride is a multiple

struct Extremes {
  int32_t least[lane];
  int32_t most[lane];
};

/// Over the positions of a layer, of the channels from `first`; at the initial potentials without others.
Extremes extremesOf(const Layer& layer, const int32_t* potentials, size_t first) {
  Extremes e = {};
  for (size_t i = 0; i < lane && layer.spiking; ++i) e.least[i] = e.most[i] = layer.initialPotential[first + i];
  if (potentials == nullptr) return e;
  std::copy_n(potentials + first, lane, e.least);
  std::copy_n(potentials + first, lane, e.most);
  for (size_t at = first; at < Membranes::sizeOf(layer); at += layer.channelStride()) {
    for (size_t i = 0; i < lane; ++i) {
      e.least[i] = std::min(e.least[i], potentials[at + i]);
      e.most[i] = std::max(e.most[i], potentials[at + i]);
    }
  }
  return e;
}

/// Steps of one layer from its potentials, null for the initial ones, within which none leaves int32.
uint64_t stepsWithinInt32(const Layer& layer, const int32_t* potentials) {
  uint64_t steps = std::numeric_limits<uint64_t>::max();
  for (size_t first = 0; first < layer.currents.size(); first += lane) {
    const Extremes e = extremesOf(layer, potentials, first);
    const size_t end = std::min(first + lane, layer.currents.size());
    for (size_t c = first; c < end; ++c) {
      const int32_t threshold = layer.spiking ? layer.threshold[c] : 0;
      steps = std::min(steps, stepsWithinInt32(layer.currents[c], threshold, e.least[c - first], e.most[c - first]));
    }
  }
  return steps;
}

EngineError outOfRange(const Layer& layer, uint64_t steps, size_t done, size_t count) {
  const std::string within = steps == 0 ? "the next step" : "the next " + std::to_string(steps + 1) + " steps";
  return EngineError(ErrorCode::invalidArgument, "Within " + within + " the potentials of layer " + layer.name +
                                                     " could leave 32 bits: reset the stream" +
                                                     (layer.readout() ? ", or its read-out alone." : ".") +
                                                     (done == 0 ? "" : " The stream has taken " + std::to_string(done) + " of these " +
                                                                           std::to_string(count) + " frames."));
}

}  // namespace

PushResult Engine::push(StreamState& stream, const Frames& frames, const std::atomic<bool>& cancelled) {
  checkTimeSteps(frames.steps, wordSteps);
  if (plan_.given > 0) throw EngineError(ErrorCode::invalidArgument, "A model with given layers has no streams.");
  if (stream.interrupted) {
    throw EngineError(ErrorCode::aborted, "An earlier push of this stream ended in the middle: reset the stream.");
  }
  const size_t classes = static_cast<size_t>(plan_.layers.back().shape.channels);
  const size_t frameSteps = static_cast<size_t>(frames.steps);
  PushResult result{stream.readOutSteps, stepsBeforeStart(plan_.layers.back(), stream.steps, frames.count * frameSteps), std::vector<int32_t>(frames.count * frameSteps * classes)};
  input_.reserve(frames.count * static_cast<size_t>(plan_.input.size()));
  quantize(frames.pixels, frames.count, 0, "Frame");
  stream.membranes.reserve(plan_, 1);
  size_t done = 0;
  while (done < frames.count) {
    Pass pass{1, 0, cancelled};
    pass.frames = static_cast<uint32_t>(framesOfPass(stream, frames, done));
    pass.steps = pass.frames * static_cast<uint32_t>(frames.steps);
    reserve(pass.steps, 1, frames.count);
    pass.input = input_.data() + done * static_cast<size_t>(plan_.input.size());
    pass.potentials = result.potentials.data() + done * frameSteps * classes;
    pass.before = stream.fresh ? nullptr : &stream.membranes;
    pass.after = &stream.membranes;
    pass.firstStep = static_cast<uint32_t>(std::min<uint64_t>(stream.steps, maxTimeSteps));
    if (done == 0) pass.throwIfCancelled();
    stream.interrupted = true;
    runLayers(pass);
    stream.interrupted = false;
    stream.fresh = false;
    stream.readOutSteps += pass.steps - stepsBeforeStart(plan_.layers.back(), stream.steps, pass.steps);
    stream.steps += pass.steps;
    stream.stepsLeft -= pass.steps;
    done += pass.frames;
  }
  return result;
}

/// How many of the frames that are not done fit into one pass: by the bits of a word, and by what int32 surely holds.
size_t Engine::framesOfPass(StreamState& stream, const Frames& frames, size_t done) const {
  const uint64_t steps = static_cast<uint64_t>(frames.steps);
  const uint64_t wanted = std::min<uint64_t>(frames.count - done, static_cast<uint64_t>(wordSteps) / steps);
  if (stream.stepsLeft < wanted * steps) {
    stream.stepsLeft = std::numeric_limits<uint64_t>::max();
    const Layer* first = nullptr;
    for (size_t l = 0; l < plan_.layers.size(); ++l) {
      const uint64_t layerSteps = stepsWithinInt32(plan_.layers[l], stream.fresh ? nullptr : stream.membranes.of(l));
      if (layerSteps >= stream.stepsLeft) continue;
      stream.stepsLeft = layerSteps;
      first = &plan_.layers[l];
    }
    if (stream.stepsLeft < steps) throw outOfRange(*first, stream.stepsLeft, done, frames.count);
  }
  return static_cast<size_t>(std::min(wanted, stream.stepsLeft / steps));
}

void Engine::clearReadOut(StreamState& stream) const {
  if (stream.fresh) return;
  const size_t last = plan_.layers.size() - 1;
  std::fill_n(stream.membranes.of(last), Membranes::sizeOf(plan_.layers[last]), 0);
  stream.readOutSteps = 0;
}

}  // namespace noisefloor
