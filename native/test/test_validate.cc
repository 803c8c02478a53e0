#include <algorithm>
#include <cstdlib>
#include <limits>

#include "../engine/error.h"
#include "../engine/plan.h"
#include "check.h"
#include "random_model.h"

using namespace noisefloor;
using namespace noisefloor::test;

namespace {

struct Case {
  const char* expected;  ///< part of the message
  std::function<void(ModelDescription&)> spoil;
};

std::string messageOf(const ModelDescription& model) {
  try {
    makePlan(model);
  } catch (const EngineError& error) {
    return error.code() == ErrorCode::invalidArgument ? error.what() : "wrong code";
  }
  return "accepted";
}

LayerDescription& pooling(ModelDescription& model) {
  return *std::find_if(model.layers.begin(), model.layers.end(), [](const LayerDescription& layer) { return layer.maxPool.has_value(); });
}

SynapseDescription& synapse(ModelDescription& m, size_t layer) { return m.layers[layer].synapses[0]; }

/// Weights of a few kilobytes whose windows would fill gigabytes.
void overlap(ModelDescription& m) {
  ModelBuilder b(1, {1, 1, 32768});
  SynapseDescription wide;
  wide.kernel = {1, 16384};
  b.readout(b.spiking({b.conv(inputSource, 1, wide)}, 1), 2);
  m = b.model;
}

const Case cases[] = {
    {"there are none", [](auto& m) { m.layers.clear(); }},
    {"scale must be positive", [](auto& m) { m.inputScale = 0; }},
    {"scale must be positive", [](auto& m) { m.inputScale = std::numeric_limits<float>::quiet_NaN(); }},
    {"channels must be", [](auto& m) { m.input.channels = 0; }},
    {"channels must be", [](auto& m) { m.layers[0].shape.channels = 70000; }},
    {"height and width", [](auto& m) { m.input.height = -1; }},
    {"at most", [](auto& m) { m.input = {4096, 4096, 4096}; }},
    {"last layer must be the read-out", [](auto& m) { m.layers.pop_back(); }},
    {"only the last layer", [](auto& m) { m.layers[0].spiking = false; }},
    {"needs a synapse", [](auto& m) { m.layers[0].synapses.clear(); }},
    {"one bias", [](auto& m) { m.layers[0].bias.pop_back(); }},
    {"one threshold", [](auto& m) { m.layers[0].threshold.push_back(1); }},
    {"thresholds must be positive", [](auto& m) { m.layers[0].threshold[0] = 0; }},
    {"one initial potential", [](auto& m) { m.layers[0].initialPotential.clear(); }},
    {"earlier layer", [](auto& m) { synapse(m, 1).source = 1; }},
    {"earlier layer", [](auto& m) { synapse(m, 1).source = -2; }},
    {"stride", [](auto& m) { synapse(m, 1).stride.y = 0; }},
    {"pool stride", [](auto& m) { synapse(m, 1).poolStride.x = -1; }},
    {"pool kernel", [](auto& m) { synapse(m, 1).poolKernel.x = 0; }},
    {"pool window does not fit", [](auto& m) { synapse(m, 1).poolKernel.x = 1000; }},
    {"kernel", [](auto& m) { synapse(m, 1).kernel.y = 0; }},
    {"kernel does not fit", [](auto& m) { synapse(m, 1).kernel.y = 30000; }},
    {"padding", [](auto& m) { synapse(m, 1).padding.left = -1; }},
    {"the layer's", [](auto& m) { synapse(m, 1).padding.left += 2; }},
    {"groups", [](auto& m) { synapse(m, 1).groups = 0; }},
    {"groups", [](auto& m) { synapse(m, 1).groups = 1 << 20; }},
    {"weights", [](auto& m) { synapse(m, 1).weight = std::vector<int8_t>(3); }},
    {"one multiplier", [](auto& m) { synapse(m, 1).multiplier.pop_back(); }},
    {"multipliers must be positive", [](auto& m) { synapse(m, 1).multiplier[0] = 0; }},
    {"shift", [](auto& m) { synapse(m, 1).shift = 31; }},
    {"its windows overlap more than 16777216 times", overlap},
    {"shift", [](auto& m) { synapse(m, 1).shift = -1; }},
    {"identity keeps", [](auto& m) { m.layers[2].synapses[1].source = -1; }},
    {"strided source", [](auto& m) { m.layers[2].synapses[1].stride.y = 3; }},
    {"neither neurons nor synapses", [](auto& m) { pooling(m).bias = {1}; }},
    {"neither neurons nor synapses", [](auto& m) { pooling(m).spiking = true; }},
    {"source must be an earlier layer", [](auto& m) { pooling(m).maxPool->source = 60; }},
    {"source must be an earlier layer", [](auto& m) { pooling(m).maxPool->source = inputSource; }},
    {"max-pooling keeps the channels", [](auto& m) { ++pooling(m).shape.channels; }},
    {"kernel: must be", [](auto& m) { pooling(m).maxPool->kernel.y = 0; }},
    {"stride: must be", [](auto& m) { pooling(m).maxPool->stride.x = -1; }},
    {"padding: must be", [](auto& m) { pooling(m).maxPool->padding.top = -1; }},
    {"padding must be smaller", [](auto& m) { pooling(m).maxPool->padding.top = 3; }},
    {"the layer's", [](auto& m) { pooling(m).maxPool->stride.x = 3; }},
    {"kernel does not fit", [](auto& m) { pooling(m).maxPool->kernel.x = 300; }},
    {"read-out must be", [](auto& m) { m.layers.back().shape.width = 2; }},
};

}  // namespace

TEST(soundModelsAreAccepted) {
  for (uint32_t seed = 0; seed < 40; ++seed) CHECK(messageOf(randomModel(seed).model) == "accepted");
}

TEST(invalidModelsAreRefused) {
  for (const Case& test : cases) {
    ModelDescription model = randomModel(2).model;
    test.spoil(model);
    const std::string message = messageOf(model);
    CHECK_WHAT(message.find(test.expected) != std::string::npos, std::string(test.expected) + " but: " + message);
  }
}

TEST(environmentNamesTheInstructionSet) {
  ::setenv("NOISEFLOOR_ISA", "scalar", 1);
  CHECK(defaultIsa() == Isa::scalar);
  ::setenv("NOISEFLOOR_ISA", "sse9", 1);
  std::string message;
  try {
    defaultIsa();
  } catch (const EngineError& error) {
    message = error.what();
  }
  ::unsetenv("NOISEFLOOR_ISA");
  CHECK(message == "Unknown instruction set \"sse9\" of NOISEFLOOR_ISA. Should be one of: scalar, avx2, avx512, neon.");
  CHECK(defaultIsa() == supportedIsas().back());
}

TEST(anInstructionSetOfAnotherProcessorIsRefused) {
  const std::string other = supportedIsas().back() == Isa::neon ? "avx2" : "neon";
  std::string message;
  try {
    parseIsa(other, "option isa");
  } catch (const EngineError& error) {
    message = error.what();
  }
  const std::string expected = "This machine cannot run the instruction set \"" + other + "\" of option isa. Should be one of: scalar";
  CHECK_WHAT(message.rfind(expected, 0) == 0, message);
}

int main() { return runTests(); }
