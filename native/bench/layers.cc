// A developer's tool: the time of each layer of a trained network on real images. benchmarks/flatten.mjs writes its input.
// For comparisons with other engines see benchmarks/.
#include <algorithm>
#include <chrono>
#include <string>

#include "../engine/engine.h"
#include "flat_model.h"

using namespace noisefloor;

namespace {

const std::atomic<bool> never{false};

struct Row {
  double microseconds = 0;  ///< an image
  double operations = 0;    ///< synaptic operations an image, without the analog input
};

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count(); }

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

/// Each layer's least time over the repeats, for each batch: others on the machine only ever add. Mean over the batches. They follow
/// each other as in real use: the same images again and again would be in caches and branch predictors. The last row is the
/// whole call, the rounding of the images included.
std::vector<Row> measure(Engine& engine, const bench::FlatModel& flat, size_t batch, int32_t steps, int repeats) {
  const size_t size = static_cast<size_t>(flat.model.input.size());
  const size_t layers = flat.model.layers.size();
  const size_t batches = flat.count / batch;
  std::vector<std::vector<double>> least(batches, std::vector<double>(layers + 1, 1e9));
  for (int i = 0; i < repeats; ++i) {
    for (size_t b = 0; b < batches; ++b) {
      std::vector<double> seconds(layers, 0);
      const Stopwatch watch;
      engine.run(flat.images.data() + b * batch * size, batch, {steps, false, false, &seconds}, never);
      seconds.push_back(watch.seconds());
      for (size_t l = 0; l <= layers; ++l) least[b][l] = std::min(least[b][l], seconds[l]);
    }
  }
  std::vector<Row> rows(layers + 1);
  const double images = static_cast<double>(batches * batch);
  for (size_t b = 0; b < batches; ++b) {
    const RunResult result = engine.run(flat.images.data() + b * batch * size, batch, {steps, true, false, nullptr}, never);
    size_t synapse = 0;
    for (size_t l = 0; l < layers; ++l) {
      rows[l].microseconds += 1e6 * least[b][l] / images;
      for (const SynapseDescription& s : flat.model.layers[l].synapses) {
        for (double n : result.operations[synapse]) rows[l].operations += s.source == inputSource ? 0 : n / images;
        ++synapse;
      }
    }
    rows[layers].microseconds += 1e6 * least[b][layers] / images;
  }
  for (size_t l = 0; l < layers; ++l) rows[layers].operations += rows[l].operations;
  return rows;
}

/// Resident bytes of this process.
size_t resident() {
  long pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
  if (file != nullptr) std::fclose(file);
  return static_cast<size_t>(pages) * 4096;
}

/// What the engine adds to the process, beside the weights and the state of the two largest layers: a potential of four bytes
/// and a word of spikes a neuron.
class MemoryUse {
 public:
  explicit MemoryUse(const ModelDescription& model) : before_(resident()) {
    for (const LayerDescription& layer : model.layers) {
      state_.push_back(static_cast<size_t>(layer.shape.size()) * (sizeof(int32_t) + 1));
      for (const SynapseDescription& s : layer.synapses) {
        weights_ += std::visit([](const auto& values) { return values.size() * sizeof values[0]; }, s.weight);
      }
    }
    std::sort(state_.rbegin(), state_.rend());
  }

  void print(size_t batch) const {
    if (before_ == 0) return;
    const double used = static_cast<double>(resident()) - static_cast<double>(before_);
    const size_t state = batch * (state_[0] + (state_.size() > 1 ? state_[1] : 0));
    std::printf("memory %.1f MB, weights %.1f MB, state of the two largest layers %.1f MB: %.2f of both\n", used / 1e6,
                static_cast<double>(weights_) / 1e6, static_cast<double>(state) / 1e6, used / static_cast<double>(weights_ + state));
  }

 private:
  size_t before_;
  size_t weights_ = 0;
  std::vector<size_t> state_;
};

void print(const std::string& name, const Row& row) {
  std::printf("%-20s %9.1f us %8.1f M ops %7.1f G ops/s\n", name.c_str(), row.microseconds, row.operations / 1e6,
              row.operations / row.microseconds / 1e3);
}

}  // namespace

/// bench_layers FILE [threads = 1] [batch = 1] [time steps = 4] [repeats = 20]
int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_layers FILE [threads] [batch] [time steps] [repeats]\n");
    return 2;
  }
  const auto argument = [&](int i, int fallback) { return argc > i ? std::atoi(argv[i]) : fallback; };
  const bench::FlatModel flat = bench::FlatReader(argv[1]).read();
  const unsigned threads = static_cast<unsigned>(argument(2, 1));
  const size_t batch = static_cast<size_t>(argument(3, 1));
  const MemoryUse memory(flat.model);
  Engine engine(flat.model, defaultIsa(), threads);
  std::printf("%s, %u threads, batch %zu, T=%d\n", isaName(engine.isa()), threads, batch, argument(4, 4));
  const std::vector<Row> rows = measure(engine, flat, batch, argument(4, 4), argument(5, 20));
  for (size_t l = 0; l + 1 < rows.size(); ++l) print(flat.model.layers[l].name, rows[l]);
  print("whole call", rows.back());
  memory.print(batch);
  return 0;
}
