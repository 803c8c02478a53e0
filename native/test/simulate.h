#pragma once
#include <vector>

#include "../engine/engine.h"

namespace noisefloor::test {

/// The slow, obvious simulator that the engine must match: one image, one step, one neuron at a time, straight from
/// the description. It shares no code with the engine.
RunResult simulate(const ModelDescription& model, const std::vector<float>& images, size_t count, int32_t timeSteps);

}  // namespace noisefloor::test
