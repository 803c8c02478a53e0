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
const std::atomic<bool> always{true};

std::string messageOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const EngineError& error) {
    return std::string(errorCodeName(error.code())) + ": " + error.what();
  }
  return "none";
}

/// A random model that stays within int32 for some steps, whatever spikes.
ModelBuilder safeModel(uint32_t seed, uint64_t steps) {
  for (;; seed += 1000) {
    ModelBuilder b = randomModel(seed);
    uint64_t safe = steps;
    for (const Layer& layer : makePlan(b.model).layers) {
      for (size_t c = 0; c < layer.currents.size(); ++c) {
        const int32_t v = layer.spiking ? layer.initialPotential[c] : 0;
        safe = std::min(safe, stepsWithinInt32(layer.currents[c], 0, v, v));
      }
    }
    if (safe == steps) return b;
  }
}

bool startsWith(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }

/// Pushes frames in parts and puts the results together.
std::vector<int32_t> pushParts(Engine& engine, StreamState& stream, const std::vector<float>& frames, int32_t steps,
                               const std::vector<size_t>& parts) {
  std::vector<int32_t> potentials;
  const float* next = frames.data();
  for (size_t part : parts) {
    const std::vector<int32_t> some = engine.push(stream, {next, part, steps}, never).potentials;
    potentials.insert(potentials.end(), some.begin(), some.end());
    next += part * static_cast<size_t>(engine.plan().input.size());
  }
  return potentials;
}

/// By how much the first class leads after step 4, on average.
double meanMargin(const RunResult& full, size_t count, size_t classes) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += confidenceOf(full.potentials.data() + (3 * count + i) * classes, classes, 4, {{}, Confidence::margin, 0, 1});
  }
  return sum / static_cast<double>(count);
}

/// One step a push: a neuron whose current is always `current`, read out with weight 1.
ModelDescription driven(int32_t current) {
  ModelBuilder b(1, {1, 1, 1});
  const int32_t neuron = b.spiking({b.conv(inputSource, 1)}, 1);
  b.readout(neuron, 1);
  for (LayerDescription& layer : b.model.layers) {
    layer.bias = {0};
    layer.synapses[0].weight = std::vector<int8_t>{0};
    layer.synapses[0].shift = 0;
  }
  b.model.layers[0].bias = {current};
  b.model.layers[0].threshold = {1};
  b.model.layers[0].initialPotential = {0};
  return b.model;
}

}  // namespace

TEST_ISA(aStreamGoesOnWhereItWas) {
  for (uint32_t seed = 200; seed < 212; ++seed) {
    ModelBuilder b = safeModel(seed, 20);
    const std::vector<float> frames = b.images(7);
    const int32_t steps = 1 + static_cast<int32_t>(seed % 3);
    const std::vector<int32_t> expected = simulateFrames(b.model, frames, steps);
    Engine engine(b.model, isa, 1 + seed % 2);
    for (const std::vector<size_t>& parts : {std::vector<size_t>{7}, {1, 1, 1, 1, 1, 1, 1}, {1, 2, 4}, {3, 0, 4}}) {
      StreamState stream;
      CHECK_WHAT(pushParts(engine, stream, frames, steps, parts) == expected, "seed " + std::to_string(seed));
    }
  }
}

TEST_ISA(oneImageForAllStepsIsARun) {
  ModelBuilder b = safeModel(21, 64);
  const std::vector<float> image = b.images(1);
  for (int32_t steps : {1, 4, 9, 17, 33, 64}) {
    const std::vector<int32_t> expected = simulate(b.model, image, 1, steps).potentials;
    Engine engine(b.model, isa, 2);
    StreamState whole;
    CHECK(engine.push(whole, {image.data(), 1, steps}, never).potentials == expected);
    std::vector<float> copies;
    for (int32_t t = 0; t < steps; ++t) copies.insert(copies.end(), image.begin(), image.end());
    StreamState parts;
    CHECK(engine.push(parts, {copies.data(), static_cast<size_t>(steps), 1}, never).potentials == expected);
  }
}

TEST_ISA(aPushMayBeLongerThanAWord) {
  ModelBuilder b(31, {1, 5, 5});
  SynapseDescription k3;
  k3.kernel = {3, 3};
  b.readout(b.spiking({b.conv(inputSource, 17, k3)}, 17), 4);
  const std::vector<float> frames = b.images(150);
  Engine engine(b.model, isa, 2);
  StreamState stream;
  CHECK(engine.push(stream, {frames.data(), 150, 1}, never).potentials == simulateFrames(b.model, frames, 1));
}

TEST_ISA(streamsRunsAndEarlyExitDoNotDisturbEachOther) {
  ModelBuilder b = safeModel(23, 8);
  const std::vector<float> frames = b.images(4);
  const size_t size = static_cast<size_t>(b.model.input.size());
  Engine engine(b.model, isa, 2);
  StreamState forth;
  StreamState back;
  std::vector<int32_t> forthPotentials;
  std::vector<int32_t> backPotentials;
  std::vector<float> reversed;
  for (size_t i = 0; i < 4; ++i) {
    const float* frame = frames.data() + (3 - i) * size;
    reversed.insert(reversed.end(), frame, frame + size);
    const std::vector<int32_t> a = engine.push(forth, {frames.data() + i * size, 1, 2}, never).potentials;
    const std::vector<int32_t> c = engine.push(back, {frame, 1, 2}, never).potentials;
    forthPotentials.insert(forthPotentials.end(), a.begin(), a.end());
    backPotentials.insert(backPotentials.end(), c.begin(), c.end());
    CHECK(engine.run(frames.data(), 4, {3, false, false, nullptr}, never).potentials == simulate(b.model, frames, 4, 3).potentials);
    engine.runEarlyExit(frames.data(), 4, {{1, 2}, Confidence::margin, 1, 1}, never);
  }
  CHECK(forthPotentials == simulateFrames(b.model, frames, 2));
  CHECK(backPotentials == simulateFrames(b.model, reversed, 2));
}

TEST_ISA(theReadOutAloneCanStartAgain) {
  ModelBuilder b = safeModel(25, 8);
  const std::vector<float> frames = b.images(6);
  const size_t size = static_cast<size_t>(b.model.input.size());
  const size_t classes = static_cast<size_t>(b.model.layers.back().shape.channels);
  const std::vector<int32_t> expected = simulateFrames(b.model, frames, 1);
  Engine engine(b.model, isa, 1);
  StreamState stream;
  engine.clearReadOut(stream);
  engine.push(stream, {frames.data(), 2, 1}, never);
  engine.clearReadOut(stream);
  const PushResult first = engine.push(stream, {frames.data() + 2 * size, 1, 1}, never);
  const PushResult last = engine.push(stream, {frames.data() + 3 * size, 3, 1}, never);
  CHECK(first.stepsBefore == 0 && last.stepsBefore == 1);
  std::vector<int32_t> rest = first.potentials;
  rest.insert(rest.end(), last.potentials.begin(), last.potentials.end());
  CHECK(rest.size() == 4 * classes);
  for (size_t i = 0; i < rest.size(); ++i) CHECK(rest[i] == expected[2 * classes + i] - expected[classes + i % classes]);
}

TEST(aStreamStopsBeforeAPotentialLeavesInt32) {
  const float frame[] = {0, 0, 0, 0};
  const auto pushesUntilRefused = [&](int32_t current, std::string& message) {
    const ModelDescription model = driven(current);
    Engine engine(model, Isa::scalar, 1);
    StreamState stream;
    int pushes = 0;
    while ((message = messageOf([&] { engine.push(stream, {frame, 1, 1}, never); })) == "none" && pushes < 300) ++pushes;
    return pushes;
  };
  std::string message;
  // The 129th step would add 2^24 to 128 * (2^24 - 1).
  CHECK(pushesUntilRefused(1 << 24, message) == 128);
  CHECK_WHAT(message == "INVALID_ARGUMENT: Within the next step the potentials of layer layer0 could leave 32 bits: reset the stream.", message);
  CHECK(pushesUntilRefused(-(1 << 24), message) == 127);
  // Reset by subtraction keeps this one in range for ever, although its currents alone would leave it after 2147 steps.
  const ModelDescription calm = [] {
    ModelDescription model = driven(1000000);
    model.layers[0].threshold = {1000000};
    return model;
  }();
  Engine engine(calm, Isa::scalar, 1);
  StreamState stream;
  for (int i = 0; i < 5000; ++i) engine.push(stream, {frame, 1, 1}, never);
  CHECK(engine.push(stream, {frame, 4, 1}, never).potentials == std::vector<int32_t>(4, 0));
}

TEST(aReadOutThatCouldLeaveInt32IsNamed) {
  ModelDescription model = driven(1);
  model.layers[1].bias = {1 << 28};
  Engine engine(model, Isa::scalar, 1);
  const float frames[9] = {};
  StreamState stream;
  CHECK(engine.push(stream, {frames, 5, 1}, never).potentials.back() == 5 << 28);
  const std::string message = messageOf([&] { engine.push(stream, {frames, 3, 1}, never); });
  CHECK_WHAT(message == "INVALID_ARGUMENT: Within the next step the potentials of layer layer1 could leave 32 bits: reset the "
                        "stream, or its read-out alone. The stream has taken 2 of these 3 frames.", message);
  engine.clearReadOut(stream);
  CHECK(engine.push(stream, {frames, 1, 1}, never).potentials.back() == 1 << 28);
}

TEST(aStoppedOrRefusedPush) {
  ModelBuilder b = safeModel(27, 8);
  std::vector<float> frames = b.images(4);
  const size_t size = static_cast<size_t>(b.model.input.size());
  const std::vector<int32_t> expected = simulateFrames(b.model, frames, 1);
  Engine engine(b.model, Isa::scalar, 2);
  StreamState stream;
  std::vector<float> spoiled = frames;
  spoiled[2 * size + 1] = std::numeric_limits<float>::quiet_NaN();
  CHECK(startsWith(messageOf([&] { engine.push(stream, {spoiled.data(), 4, 1}, never); }), "INVALID_DATA: Frame 2 "));
  CHECK(startsWith(messageOf([&] { engine.push(stream, {frames.data(), 4, 0}, never); }), "INVALID_ARGUMENT: Expected 1 to 64 "));
  CHECK(startsWith(messageOf([&] { engine.push(stream, {frames.data(), 4, 65}, never); }), "INVALID_ARGUMENT: Expected 1 to 64 "));
  CHECK(messageOf([&] { engine.push(stream, {frames.data(), 4, 1}, always); }) == "ABORTED: The run was aborted.");
  // None of these has touched the stream.
  const PushResult result = engine.push(stream, {frames.data(), 4, 1}, never);
  CHECK(result.stepsBefore == 0 && result.potentials == expected);
  stream.interrupted = true;
  CHECK(messageOf([&] { engine.push(stream, {frames.data(), 4, 1}, never); }) ==
        "ABORTED: An earlier push of this stream ended in the middle: reset the stream.");
  stream.reset();
  CHECK(engine.push(stream, {frames.data(), 4, 1}, never).potentials == expected);
}

TEST_ISA(imagesLeaveWithTheAnswersOfAFullRun) {
  const std::vector<std::vector<int32_t>> allChunks = {{1, 1, 2, 4}, {3, 5}, {8}, {1, 1, 1, 1, 1, 1, 1, 1}};
  size_t early = 0;
  size_t late = 0;
  for (uint32_t seed = 300; seed < 308; ++seed) {
    ModelBuilder b = safeModel(seed, 8);
    const size_t count = seed % 4 == 0 ? 37 : 6;
    const size_t classes = static_cast<size_t>(b.model.layers.back().shape.channels);
    const std::vector<float> images = b.images(count);
    const RunResult full = simulate(b.model, images, count, 8);
    Engine engine(b.model, isa, 1 + seed % 2);
    for (const std::vector<int32_t>& chunks : allChunks) {
      for (Confidence measure : {Confidence::margin, Confidence::softmax}) {
        const double threshold = measure == Confidence::margin ? 1 : 0.6;
        const EarlyExitOptions options = {chunks, measure, threshold, 1 / meanMargin(full, count, classes)};
        const EarlyExitResult result = engine.runEarlyExit(images.data(), count, options, never);
        for (size_t i = 0; i < count; ++i) {
          int32_t steps = 0;
          const int32_t* potentials = nullptr;
          for (int32_t chunk : chunks) {
            steps += chunk;
            potentials = full.potentials.data() + (static_cast<size_t>(steps - 1) * count + i) * classes;
            if (confidenceOf(potentials, classes, steps, options) >= options.threshold) break;
          }
          CHECK(result.steps[i] == steps);
          CHECK(std::equal(potentials, potentials + classes, result.potentials.data() + i * classes));
          ++(steps < 8 ? early : late);
        }
      }
    }
  }
  CHECK_WHAT(early > 100 && late > 100, std::to_string(early) + " early, " + std::to_string(late) + " late");
}

TEST_ISA(chunksMayBeLongerThanAWord) {
  ModelBuilder b = safeModel(40, 8);
  const std::vector<float> images = b.images(3);
  const size_t classes = static_cast<size_t>(b.model.layers.back().shape.channels);
  const RunResult full = simulate(b.model, images, 3, 150);
  Engine engine(b.model, isa, 2);
  const EarlyExitResult result = engine.runEarlyExit(images.data(), 3, {{20, 130}, Confidence::margin, 1e300, 1}, never);
  CHECK(result.steps == std::vector<int32_t>(3, 150));
  CHECK(std::equal(result.potentials.begin(), result.potentials.end(), full.potentials.end() - static_cast<ptrdiff_t>(3 * classes)));
}

TEST(confidence) {
  const int32_t potentials[] = {100, 400, 250, 400};
  const auto of = [&](const int32_t* of, size_t classes, Confidence measure) {
    return confidenceOf(of, classes, 2, {{}, measure, 0, 0.02});
  };
  CHECK(of(potentials, 4, Confidence::margin) == 0);
  CHECK(of(potentials, 3, Confidence::margin) == 150 * 0.02 / 2);
  const double expected = 1 / (1 + std::exp(-3.0) + std::exp(-1.5));
  CHECK(std::abs(of(potentials, 3, Confidence::softmax) - expected) < 1e-15);
  CHECK(std::isinf(of(potentials, 1, Confidence::margin)));
  CHECK(of(potentials, 1, Confidence::softmax) == 1);
  const int32_t extremes[] = {std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()};
  CHECK(of(extremes, 2, Confidence::margin) == 4294967295.0 * 0.02 / 2);
  CHECK(of(extremes, 2, Confidence::softmax) == 1);
}

TEST(badEarlyExit) {
  ModelBuilder b = randomModel(29);
  const std::vector<float> images = b.images(2);
  Engine engine(b.model, Isa::scalar, 1);
  CHECK(startsWith(messageOf([&] { engine.runEarlyExit(images.data(), 2, {}, never); }), "INVALID_ARGUMENT"));
  CHECK(startsWith(messageOf([&] { engine.runEarlyExit(images.data(), 2, {{1, 0}}, never); }), "INVALID_ARGUMENT"));
  CHECK(startsWith(messageOf([&] { engine.runEarlyExit(images.data(), 2, {{1}}, always); }), "ABORTED"));
  CHECK(engine.runEarlyExit(images.data(), 0, {{1}}, never).steps.empty());
}

int main() { return runTests(); }
