#include "stream.h"

#include <algorithm>
#include <limits>
#include <string>

#include "engine.h"
#include "pass.h"

namespace noisefloor {
namespace {

/// Steps of one layer from its potentials, null for the initial ones, within which none leaves int32.
uint64_t stepsWithinInt32(const Layer& layer, const int32_t* potentials) {
  uint64_t steps = std::numeric_limits<uint64_t>::max();
  const size_t channels = static_cast<size_t>(layer.shape.channels);
  for (size_t c = 0; c < channels; ++c) {
    const int32_t initial = layer.spiking ? layer.initialPotential[c] : 0;
    int32_t least = potentials == nullptr ? initial : potentials[c];
    int32_t most = least;
    const size_t end = potentials == nullptr ? 0 : Membranes::sizeOf(layer);
    for (size_t i = c; i < end; i += layer.channelStride()) {
      least = std::min(least, potentials[i]);
      most = std::max(most, potentials[i]);
    }
    steps = std::min(steps, stepsWithinInt32(layer.currents[c], layer.spiking ? layer.threshold[c] : 0, least, most));
  }
  return steps;
}

EngineError outOfRange(const Layer& layer, uint64_t steps) {
  const std::string within = steps == 0 ? "the next step" : "the next " + std::to_string(steps + 1) + " steps";
  return EngineError(ErrorCode::invalidArgument, "Within " + within + " the potentials of layer " + layer.name +
                                                     " could leave 32 bits: reset the stream" +
                                                     (layer.spiking ? "." : ", or its read-out alone."));
}

}  // namespace

PushResult Engine::push(StreamState& stream, const Frames& frames, const std::atomic<bool>& cancelled) {
  checkTimeSteps(frames.steps);
  if (stream.interrupted) {
    throw EngineError(ErrorCode::aborted, "An earlier push of this stream ended in the middle: reset the stream.");
  }
  const size_t classes = static_cast<size_t>(plan_.layers.back().shape.channels);
  const size_t frameSteps = static_cast<size_t>(frames.steps);
  PushResult result{stream.readOutSteps, std::vector<int32_t>(frames.count * frameSteps * classes)};
  input_.reserve(frames.count * static_cast<size_t>(plan_.input.size()));
  quantize(frames.pixels, frames.count, 0, "Frame");
  stream.membranes.reserve(plan_, 1);
  size_t done = 0;
  while (done < frames.count) {
    Pass pass{1, 0, cancelled};
    pass.frames = static_cast<uint32_t>(framesOfPass(stream, frames.steps, frames.count - done));
    pass.steps = pass.frames * static_cast<uint32_t>(frames.steps);
    reserve(pass.steps, 1, frames.count);
    pass.input = input_.data() + done * static_cast<size_t>(plan_.input.size());
    pass.potentials = result.potentials.data() + done * frameSteps * classes;
    pass.before = stream.fresh ? nullptr : &stream.membranes;
    pass.after = &stream.membranes;
    pass.throwIfCancelled();
    stream.interrupted = true;
    runLayers(pass);
    stream.fresh = false;
    stream.stepsLeft -= pass.steps;
    stream.readOutSteps += pass.steps;
    done += pass.frames;
    stream.interrupted = done < frames.count;
  }
  return result;
}

/// How many of `left` frames fit into one pass: by the bits of a word, and by what int32 surely holds.
size_t Engine::framesOfPass(StreamState& stream, int32_t frameSteps, size_t left) const {
  const uint64_t steps = static_cast<uint64_t>(frameSteps);
  const uint64_t wanted = std::min<uint64_t>(left, static_cast<uint64_t>(maxTimeSteps) / steps);
  if (stream.stepsLeft < wanted * steps) {
    stream.stepsLeft = std::numeric_limits<uint64_t>::max();
    const Layer* first = nullptr;
    for (size_t l = 0; l < plan_.layers.size(); ++l) {
      const uint64_t layerSteps = stepsWithinInt32(plan_.layers[l], stream.fresh ? nullptr : stream.membranes.of(l));
      if (layerSteps >= stream.stepsLeft) continue;
      stream.stepsLeft = layerSteps;
      first = &plan_.layers[l];
    }
    if (stream.stepsLeft < steps) throw outOfRange(*first, stream.stepsLeft);
  }
  return static_cast<size_t>(std::min(wanted, stream.stepsLeft / steps));
}

void Engine::clearReadOut(StreamState& stream) const {
  if (stream.fresh) return;
  const size_t last = plan_.layers.size() - 1;
  std::fill_n(stream.membranes.of(last), Membranes::sizeOf(plan_.layers[last]), 0);
  stream.stepsLeft = 0;
  stream.readOutSteps = 0;
}

}  // namespace noisefloor
