#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "../engine/error.h"
#include "check.h"
#include "random_model.h"
#include "simulate.h"

using namespace noisefloor;
using namespace noisefloor::test;

namespace {

const std::atomic<bool> never{false};
const RunOptions everything(int32_t steps) { return {steps, true, true, nullptr}; }

void compare(const RunResult& actual, const RunResult& expected, const std::string& what) {
  CHECK_WHAT(actual.potentials == expected.potentials, what + ": potentials");
  CHECK_WHAT(actual.counts == expected.counts, what + ": counts");
  CHECK_WHAT(actual.spikes == expected.spikes, what + ": spikes");
  CHECK_WHAT(actual.operations == expected.operations, what + ": operations");
}

std::string codeOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const EngineError& error) {
    return errorCodeName(error.code());
  }
  return "none";
}

}  // namespace

TEST_ISA(everyStepCountMatchesTheSimulator) {
  ModelBuilder b = randomModel(7);
  const std::vector<float> images = b.images(2);
  for (int32_t steps : {1, 2, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 150}) {
    const RunResult expected = simulate(b.model, images, 2, steps);
    for (unsigned threads : {1U, 2U}) {
      Engine engine(b.model, isa, threads);
      compare(engine.run(images.data(), 2, everything(steps), never), expected, "T=" + std::to_string(steps));
    }
  }
}

TEST_ISA(randomModelsMatchTheSimulator) {
  double spikes = 0;
  double neurons = 0;
  for (uint32_t seed = 100; seed < 124; ++seed) {
    ModelBuilder b = randomModel(seed);
    const size_t count = seed % 8 == 0 ? 33 : 1;
    const std::vector<float> images = b.images(count);
    const RunResult expected = simulate(b.model, images, count, 4);
    Engine engine(b.model, isa, 1 + seed % 3);
    compare(engine.run(images.data(), count, everything(4), never), expected, "seed " + std::to_string(seed));
    for (const auto& layer : expected.spikes) spikes += layer[0];
    for (const auto& layer : expected.counts) neurons += static_cast<double>(layer.size());
  }
  // Silent or saturated networks would match whatever the kernels do.
  CHECK_WHAT(spikes > 0.05 * neurons && spikes < 0.95 * neurons,
             "share of spiking neurons is " + std::to_string(spikes / neurons));
}

TEST_ISA(layersThatStartLaterMatchTheSimulator) {
  ModelBuilder b = randomModel(19);
  const int32_t starts[] = {0, 3, 1, 9, 0, 12, 0, 70, 2};
  for (size_t l = 0; l < b.model.layers.size(); ++l) {
    if (!b.model.layers[l].maxPool) b.model.layers[l].start = starts[l % std::size(starts)];
  }
  const std::vector<float> images = b.images(1);
  for (int32_t steps : {1, 4, 13, 33, 75}) {
    const RunResult expected = simulate(b.model, images, 1, steps);
    for (unsigned threads : {1U, 2U}) {
      Engine engine(b.model, isa, threads);
      compare(engine.run(images.data(), 1, everything(steps), never), expected, "T=" + std::to_string(steps));
    }
  }
}

TEST_ISA(aReadOutAloneMayStartLater) {
  ModelBuilder b(5, {2, 3, 3});
  b.readout(inputSource, 4);
  b.model.layers[0].start = 3;
  const std::vector<float> images = b.images(2);
  Engine engine(b.model, isa, 2);
  for (int32_t steps : {2, 3, 5}) compare(engine.run(images.data(), 2, everything(steps), never), simulate(b.model, images, 2, steps), "alone");
}

TEST_ISA(rowsThatSpansDoNotDivideMatchTheSimulator) {
  struct Case {
    int32_t width, channels;
    std::vector<int32_t> steps;
    bool narrow;
  };
  // The first two have weights in units, whose spans go over the ends of rows; 70 steps are two passes, between which potentials stay.
  for (const Case& of : {Case{7, 200, {12}, false}, Case{7, 200, {12}, true}, Case{37, 24, {3, 70}, false}}) {
    ModelBuilder b(9, {2, 3, of.width});
    b.narrow = of.narrow;
    const SynapseDescription k3 = threeByThree();
    const int32_t first = b.spiking({b.conv(inputSource, of.channels, k3)}, of.channels);
    const int32_t second = b.spiking({b.conv(first, of.channels, k3), b.identity(first)}, of.channels);
    b.readout(second, 5);
    const std::vector<float> images = b.images(2);
    for (int32_t steps : of.steps) {
      const RunResult expected = simulate(b.model, images, 2, steps);
      for (unsigned threads : {1U, 2U}) {
        Engine engine(b.model, isa, threads);
        compare(engine.run(images.data(), 2, everything(steps), never), expected, "width " + std::to_string(of.width) + ", T=" + std::to_string(steps));
      }
    }
  }
}

TEST_ISA(weightsAtTheBorderOfSevenBitsAreSummedRight) {
  // Every input spikes alike, so that rows of the extremes meet in one pair.
  for (const int8_t extreme : {int8_t{63}, int8_t{64}, int8_t{-64}, int8_t{-65}}) {
    ModelBuilder b(41, {2, 5, 5});
    b.narrow = true;
    const SynapseDescription k3 = threeByThree();
    const int32_t first = b.spiking({b.conv(inputSource, 70, k3)}, 70);
    const int32_t second = b.spiking({b.conv(first, 96, k3)}, 96);
    b.model.layers[0].bias.assign(70, b.model.layers[0].threshold[0]);
    auto& weights = std::get<std::vector<int8_t>>(b.model.layers[1].synapses[0].weight);
    std::fill(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(weights.size() / 2), extreme);
    b.readout(second, 5);
    const std::vector<float> images = b.images(2);
    Engine engine(b.model, isa, 2);
    compare(engine.run(images.data(), 2, everything(4), never), simulate(b.model, images, 2, 4), "weights up to " + std::to_string(extreme));
  }
}

TEST_ISA(spikesOfLargeWindowsAreCounted) {
  for (const bool wide : {false, true}) {
    ModelBuilder b(31, {2, 8, 9});
    b.wide = wide;
    const SynapseDescription k3 = threeByThree();
    // An odd number of channels, more than are counted or multiplied at a time.
    const int32_t first = b.spiking({b.conv(inputSource, 131, k3)}, 131);
    // The simulator's 64 bits never overflow, an engine's 32 would if membranes fell for long.
    if (wide) b.model.layers[0].synapses[0].shift = 12;
    SynapseDescription windows;
    windows.poolKernel = {6, 6};
    windows.poolStride = {2, 3};
    SynapseDescription smaller = windows;
    smaller.poolKernel = {6, 5};
    const int32_t second = b.spiking({b.conv(first, 128, windows), b.conv(first, 128, smaller), b.conv(first, 128, windows)}, 128);
    b.readout(second, 5);
    const std::vector<float> images = b.images(1);
    for (int32_t steps : wide ? std::vector<int32_t>{8, 11} : std::vector<int32_t>{8, 11, 33}) {
      const RunResult expected = simulate(b.model, images, 1, steps);
      for (unsigned threads : {1U, 2U}) {
        Engine engine(b.model, isa, threads);
        compare(engine.run(images.data(), 1, everything(steps), never), expected, std::string(wide ? "int16" : "int8") + ", T=" + std::to_string(steps));
      }
    }
  }
}

TEST_ISA(aCountFitsAByte) {
  for (const int32_t size : {31, 32, 255, 256}) {
    ModelBuilder b(37, {1, 1, size});
    const int32_t first = b.spiking({b.conv(inputSource, 130)}, 130);
    for (int32_t& threshold : b.model.layers[0].threshold) threshold = 1;
    for (int32_t& bias : b.model.layers[0].bias) bias = 1 << 20;
    SynapseDescription all;
    all.poolKernel = {1, size};
    b.spiking({b.conv(first, 128, all)}, 128);
    b.model.layers[1].synapses[0].weight = std::vector<int8_t>(130 * 128, -128);
    b.readout(0, 3, {1, size}, {1, 1});
    const std::vector<float> images = b.images(1);
    Engine engine(b.model, isa, 2);
    const Layer& layer = engine.plan().layers[1];
    CHECK(layer.synapses[0].method == (size == 32 || size == 255 ? Method::counted : Method::gather));
    compare(engine.run(images.data(), 1, everything(3), never), simulate(b.model, images, 1, 3), "window of " + std::to_string(size));
  }
}

TEST_ISA(longListsAreWidenedInTime) {
  // Every input spikes at every step and all weights are extreme: 16-bit sums would overflow after 256 rows.
  for (int value : {-128, 127}) {
    ModelBuilder b(3, {1, 6, 6});
    const SynapseDescription k3 = threeByThree();
    const int32_t wide = b.spiking({b.conv(inputSource, 200, k3)}, 200);
    for (int32_t& threshold : b.model.layers[0].threshold) threshold = 1;
    for (int32_t& bias : b.model.layers[0].bias) bias = 1 << 20;
    const int32_t next = b.spiking({b.conv(wide, 40, k3)}, 40);
    b.model.layers[1].synapses[0].weight = std::vector<int8_t>(40 * 200 * 9, static_cast<int8_t>(value));
    b.readout(next, 10);
    const std::vector<float> images = b.images(1);
    Engine engine(b.model, isa, 2);
    const RunResult result = engine.run(images.data(), 1, everything(3), never);
    CHECK(result.spikes[0][0] == 7200);
    compare(result, simulate(b.model, images, 1, 3), "weight " + std::to_string(value));
  }
}

TEST_ISA(aSecondRunDoesNotRememberTheFirst) {
  ModelBuilder b = randomModel(11);
  const std::vector<float> images = b.images(5);
  Engine engine(b.model, isa, 2);
  engine.run(images.data(), 5, everything(64), never);
  for (int32_t steps : {3, 12}) {
    const RunResult again = engine.run(images.data(), 2, everything(steps), never);
    compare(again, simulate(b.model, images, 2, steps), "second run, T=" + std::to_string(steps));
  }
  const RunResult plain = engine.run(images.data(), 5, {12, false, false, nullptr}, never);
  CHECK(plain.potentials == simulate(b.model, images, 5, 12).potentials);
  CHECK(plain.spikes.empty() && plain.operations.empty() && plain.counts.empty());
  CHECK(engine.run(images.data(), 0, everything(2), never).potentials.empty());
}

TEST_ISA(pixelsAreRoundedHalfToEvenAndClamped) {
  ModelBuilder b(5, {1, 1, 8});
  SynapseDescription all;
  all.kernel = {1, 8};
  b.readout(inputSource, 8);
  auto& s = b.model.layers[0].synapses[0];
  std::vector<int8_t> identity(64, 0);
  for (size_t i = 0; i < 8; ++i) identity[i * 9] = 1;
  s.weight = identity;
  s.shift = 0;
  s.multiplier.assign(8, 1);
  b.model.layers[0].bias.assign(8, 0);
  b.model.inputScale = 2;
  const std::vector<float> pixels = {0.25F, 0.75F, -0.25F, 1.25F, 1e30F, -1e30F, 16383.75F, std::nextafter(0.75F, 0.0F)};
  Engine engine(b.model, isa, 1);
  const std::vector<int32_t> expected = {0, 2, 0, 2, 32767, -32768, 32767, 1};
  CHECK(engine.run(pixels.data(), 1, {1, false, false, nullptr}, never).potentials == expected);
}

TEST(aNaNNamesItsImage) {
  ModelBuilder b = randomModel(13);
  std::vector<float> images = b.images(40);
  images[static_cast<size_t>(b.model.input.size()) * 37 + 3] = std::numeric_limits<float>::quiet_NaN();
  Engine engine(b.model, Isa::scalar, 2);
  try {
    engine.run(images.data(), 40, everything(2), never);
    CHECK(false);
  } catch (const EngineError& error) {
    CHECK(error.code() == ErrorCode::invalidData);
    CHECK_WHAT(std::string(error.what()).rfind("Image 37 ", 0) == 0, error.what());
  }
}

TEST(runsCanBeCancelledAndStepsAreChecked) {
  ModelBuilder b = randomModel(17);
  const std::vector<float> images = b.images(3);
  Engine engine(b.model, Isa::scalar, 2);
  const std::atomic<bool> cancelled{true};
  CHECK(codeOf([&] { engine.run(images.data(), 3, everything(4), cancelled); }) == "ABORTED");
  CHECK(codeOf([&] { engine.run(images.data(), 3, everything(0), never); }) == "INVALID_ARGUMENT");
  CHECK(codeOf([&] { engine.run(images.data(), 3, everything(1025), never); }) == "INVALID_ARGUMENT");
  compare(engine.run(images.data(), 3, everything(4), never), simulate(b.model, images, 3, 4), "after a cancelled run");
}

TEST_ISA(givenSpikesStandForTheirLayers) {
  for (uint32_t seed = 300; seed < 308; ++seed) {
    ModelBuilder b = randomModel(seed);
    const size_t count = seed % 4 == 0 ? 33 : 2;
    const int32_t steps = std::vector<int32_t>{3, 12, 32, 64, 75}[seed % 5];
    const std::vector<float> images = b.images(count);
    RunOptions options{steps, false, true, nullptr};
    options.trains = true;
    Engine whole(b.model, isa, 2);
    const RunResult expected = whole.run(images.data(), count, options, never);
    ModelDescription rest = b.model;
    std::vector<std::vector<uint16_t>> counts;
    size_t spiking = 0;
    for (LayerDescription& layer : rest.layers) {
      if (!layer.spiking) continue;
      if (spiking % 2 == seed % 2) {
        const std::vector<uint8_t>& train = expected.trains[spiking];
        options.given.push_back({train.data(), train.size()});
        LayerDescription given;
        given.name = layer.name;
        given.shape = layer.shape;
        given.spiking = false;
        given.given = true;
        layer = given;
      } else {
        counts.push_back(expected.counts[spiking]);
      }
      ++spiking;
    }
    Engine engine(rest, isa, 2);
    const RunResult actual = engine.run(images.data(), count, options, never);
    const std::string what = "seed " + std::to_string(seed);
    CHECK_WHAT(actual.potentials == expected.potentials, what + ": potentials");
    CHECK_WHAT(actual.counts == counts, what + ": counts");
    options.given[0].size -= 1;
    CHECK(codeOf([&] { engine.run(images.data(), count, options, never); }) == "INVALID_ARGUMENT");
    options.given.clear();
    CHECK(codeOf([&] { engine.run(images.data(), count, options, never); }) == "INVALID_ARGUMENT");
    StreamState stream;
    CHECK(codeOf([&] { engine.push(stream, {images.data(), 1, 1}, never); }) == "INVALID_ARGUMENT");
  }
}

int main() { return runTests(); }
