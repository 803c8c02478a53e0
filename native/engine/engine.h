#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "../kernels/dispatch.h"
#include "../pool/thread_pool.h"
#include "early_exit.h"
#include "layer_pass.h"
#include "plan.h"
#include "stream.h"

namespace noisefloor {

/// Every spike of a layer, as the engine keeps them: [pass][image][y][x][channelStride] words, bit t of a word is step t of
/// the pass. A pass has 64 steps, the last one the rest; its words are as narrow as its steps allow.
struct SpikeTrains {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
};

struct RunOptions {
  int32_t timeSteps = 1;  ///< 1 to maxTimeSteps
  bool statistics = false;
  bool counts = false;
  std::vector<double>* layerSeconds = nullptr;  ///< for the tools of native/bench: adds the time of each layer
  bool trains = false;
  std::vector<SpikeTrains> given = {};  ///< of each given layer of the model, in order
};

/// See RunResult of src/snn/run.ts.
struct RunResult {
  std::vector<int32_t> potentials;               ///< [timeSteps][images][classes]
  std::vector<std::vector<double>> spikes;       ///< per spiking layer [timeSteps]
  std::vector<std::vector<double>> operations;   ///< per synapse [timeSteps], or [1] from the input
  std::vector<std::vector<uint16_t>> counts;     ///< per spiking layer [images][C][H][W]
  std::vector<std::vector<uint8_t>> trains;      ///< per spiking layer, see SpikeTrains
};

struct Pass;

/// Runs one model. Deterministic: the result depends on neither the instruction set nor the number of threads.
/// One run at a time; the memory of a run stays for the next.
class Engine {
 public:
  Engine(ModelDescription model, Isa isa, unsigned threads);

  const Plan& plan() const { return plan_; }
  Isa isa() const { return isa_; }
  unsigned threads() const { return pool_.size(); }

  /// images: [count][C][H][W], normalised. Throws EngineError: INVALID_ARGUMENT for the options, INVALID_DATA for a
  /// NaN (naming the image), ABORTED soon after `cancelled` turns true.
  RunResult run(const float* images, size_t count, const RunOptions& options, const std::atomic<bool>& cancelled);

  /// Runs on from where the stream is. Throws as run does, INVALID_ARGUMENT too where a potential could leave int32, and
  /// ABORTED for a stream that an error left in the middle.
  PushResult push(StreamState& stream, const Frames& frames, const std::atomic<bool>& cancelled);
  /// The read-out of the stream starts from 0 again.
  void clearReadOut(StreamState& stream) const;

  /// Runs images [count][C][H][W] until each is sure or has taken all steps. Throws as run does.
  EarlyExitResult runEarlyExit(const float* images, size_t count, const EarlyExitOptions& options,
                               const std::atomic<bool>& cancelled);

 private:
  size_t chunkSize(uint32_t steps, size_t count, size_t bytesPerImage);
  void reserve(uint32_t steps, size_t images, size_t inputs);
  void checkGiven(const std::vector<SpikeTrains>& given, uint32_t steps, size_t count) const;
  void quantize(const float* images, size_t count, size_t number, const char* what);
  void runLayers(const Pass& pass);
  void runLayer(const Pass& pass, const Chunk& chunk, const Layer& layer, const LayerOutput& output);
  size_t framesOfPass(StreamState& stream, const Frames& frames, size_t done) const;
  void exitGroup(const EarlyExitOptions& options, const std::atomic<bool>& cancelled, EarlyExitResult& result);
  void letLeave(const EarlyExitOptions& options, const int32_t* potentials, int32_t steps, bool all, EarlyExitResult& result);
  void closeGaps();
  size_t membraneBytes() const;
  void addStatistics(const Pass& pass, const Layer& layer, double* spikes, std::vector<double>* operations) const;

  Plan plan_;
  Isa isa_;
  ThreadPool pool_;
  std::vector<SpikeStore> stores_;
  std::vector<Scratch> scratch_;
  Countdowns tilesLeft_;
  std::vector<size_t> slotBytes_;
  Buffer<int16_t> input_;
  Membranes membranes_;  ///< between the passes of a run
  EarlyExitScratch exit_;
};

}  // namespace noisefloor
