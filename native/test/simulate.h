#pragma once
#include <vector>

#include "../engine/engine.h"

namespace noisefloor::test {

/// The slow, obvious simulator that the engine must match: one image, one step, one neuron at a time, straight from
/// the description. It shares no code with the engine.
RunResult simulate(const ModelDescription& model, const std::vector<float>& images, size_t count, int32_t timeSteps);

/// The read-out after each step of a stream that gets each frame for `frameSteps` steps: [steps][classes].
std::vector<int32_t> simulateFrames(const ModelDescription& model, const std::vector<float>& frames, int32_t frameSteps);

}  // namespace noisefloor::test
