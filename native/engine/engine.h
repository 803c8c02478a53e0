#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "../kernels/dispatch.h"
#include "../pool/thread_pool.h"
#include "layer_pass.h"
#include "plan.h"

namespace noisefloor {

struct RunOptions {
  int32_t timeSteps = 1;  ///< 1 to 64
  bool statistics = false;
  bool counts = false;
  std::vector<double>* layerSeconds = nullptr;  ///< for the tools of native/bench: adds the time of each layer
};

/// See RunResult of src/snn/run.ts.
struct RunResult {
  std::vector<int32_t> potentials;               ///< [timeSteps][images][classes]
  std::vector<std::vector<double>> spikes;       ///< per spiking layer [timeSteps]
  std::vector<std::vector<double>> operations;   ///< per synapse [timeSteps], or [1] from the input
  std::vector<std::vector<uint8_t>> counts;      ///< per spiking layer [images][C][H][W]
};

/// Runs one model. Deterministic: the result depends on neither the instruction set nor the number of threads.
/// One run at a time; the memory of a run stays for the next.
class Engine {
 public:
  Engine(const ModelDescription& model, Isa isa, unsigned threads);

  const Plan& plan() const { return plan_; }
  Isa isa() const { return isa_; }
  unsigned threads() const { return pool_.size(); }

  /// images: [count][C][H][W], normalised. Throws EngineError: INVALID_ARGUMENT for the options, INVALID_DATA for a
  /// NaN (naming the image), ABORTED soon after `cancelled` turns true.
  RunResult run(const float* images, size_t count, const RunOptions& options, const std::atomic<bool>& cancelled);

 private:
  struct Progress;

  size_t chunkSize(uint32_t steps, size_t count);
  void reserve(uint32_t steps, size_t images);
  void quantize(const Progress& progress);
  void runLayers(const Progress& progress);
  void runLayer(const Progress& progress, const Chunk& chunk, const Layer& layer, const LayerOutput& output);
  void addStatistics(const Layer& layer, uint32_t steps, double* spikes, std::vector<double>* operations) const;

  Plan plan_;
  Isa isa_;
  ThreadPool pool_;
  std::vector<SpikeStore> stores_;
  std::vector<Scratch> scratch_;
  Countdowns tilesLeft_;
  std::vector<size_t> slotBytes_;
  Buffer<int16_t> input_;
};

}  // namespace noisefloor
