#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "chunk.h"
#include "max_pool.h"

namespace noisefloor {

/// What one worker needs for itself. Grows when a layer asks for more, then stays.
struct Scratch {
  Buffer<uint32_t> merged;           ///< merged lists of the rows of a tile, see MergeFn
  Buffer<uint32_t> mergedStarts;     ///< [row][merged synapse][steps][width of the source + 1]
  std::vector<ListedRow> listedRows; ///< [kernel row]
  std::vector<ListedCell> cells;     ///< of these rows
  std::vector<Segment> segments;
  std::vector<uint32_t> segmentEnds; ///< [unit][position of the tile]
  Buffer<int32_t> acc;               ///< [position of a span, or of the tile][synapse][steps][width]
  Buffer<int16_t> patch;
  Buffer<int16_t> counts;            ///< [position of the tile][counted synapse][steps][2 * pairs]
  size_t countedFrom = SIZE_MAX;     ///< first position of the tile they are of
  WindowScratch window;              ///< of max-pooling
  std::vector<Term> terms;
  const Layer* fetched = nullptr;    ///< whose weights the worker has fetched
  std::vector<uint64_t> operations;  ///< [synapse][steps], with statistics
  std::vector<uint64_t> spikes;      ///< [steps], with statistics
};

/// One count for each tile of a layer: how many items it still misses. Grows, then stays.
class Countdowns {
 public:
  void reset(size_t tiles, size_t from) {
    if (tiles > size_) counts_ = std::make_unique<std::atomic<size_t>[]>(size_ = tiles);
    for (size_t i = 0; i < tiles; ++i) counts_[i] = from;
  }
  /// True for the last item of a tile.
  bool finish(size_t tile) { return --counts_[tile] == 0; }

 private:
  std::unique_ptr<std::atomic<size_t>[]> counts_;
  size_t size_ = 0;
};

/// Where a layer's results go, besides its spike store.
struct LayerOutput {
  int32_t* potentials = nullptr;  ///< read-out: of the first image of the chunk at step 0, [steps][total images][classes]
  size_t totalImages = 0;
  uint16_t* counts = nullptr;  ///< spiking, if asked: of the first image of the chunk, [image][C][H][W]; added to
  bool statistics = false;
  uint8_t* trains = nullptr;       ///< spiking, if asked: of the first image of the chunk, as the spike store has them
  const uint8_t* given = nullptr;  ///< of a given layer, likewise
  uint32_t waits = 0;              ///< steps of the pass before the layer starts, at most all
  // What passes carry, see Membranes, around the pass.
  const int32_t* before = nullptr;  ///< null: the initial ones
  int32_t* after = nullptr;         ///< may be `before`; null: nobody asks
};

/// One layer over one chunk: the rows of positions of all images are cut into tiles, and where there are too few tiles for
/// the threads, the channel blocks of a tile into groups. An item is one group of one tile.
class LayerPass {
 public:
  LayerPass(const Chunk& chunk, const Layer& layer, const LayerOutput& output, unsigned threads, Countdowns& left);

  size_t items() const { return tiles_ * groups_; }

  /// Clears the worker's sums and makes its scratch memory large enough.
  void prepare(Scratch& scratch) const;
  void run(size_t item, Scratch& scratch);

  /// Bytes of spike storage a chunk of `images` needs for this layer, in the worst case: every neuron at every step.
  static size_t storeBytes(const Layer& layer, uint32_t steps, size_t images);
  static void reserveStore(const Layer& layer, uint32_t steps, size_t images, SpikeStore& store);

 private:
  struct Tile {
    size_t firstRow = 0;
    size_t endRow = 0;
    size_t begin = 0;  ///< positions
    size_t end = 0;
  };

  struct StoreSize {
    size_t words;  ///< bytes
    size_t starts;
    size_t indices;
  };
  static StoreSize storeSize(const Layer& layer, uint32_t steps, size_t images);

  Tile tile(size_t index) const;
  uint8_t* wordsOf(const Tile& range) const;
  size_t bytesOf(const Tile& range) const;
  void countRows(const Tile& range, Scratch& scratch) const;
  void waitPosition(size_t index, uint32_t block);
  void sumPositions(const Tile& range, uint32_t firstBlock, uint32_t endBlock, Scratch& scratch);
  void fetchWeights(uint32_t block, Scratch& scratch) const;
  size_t mostSegments() const;
  size_t mergedSize(size_t& starts) const;
  void countWindows(const Tile& range, Scratch& scratch) const;
  void mergeRows(const Tile& range, Scratch& scratch) const;
  void mergeRow(const Synapse& synapse, size_t row, uint32_t* starts, Scratch& scratch) const;
  void listRows(const Synapse& synapse, size_t row, Scratch& scratch) const;
  void listCells(uint32_t stride, Scratch& scratch) const;
  void collectSegments(const Tile& range, Scratch& scratch) const;
  void addMergedSegments(const Unit& unit, size_t row, Scratch& scratch) const;
  void addSegments(const Unit& unit, Position at, Scratch& scratch) const;
  const uint32_t* mergedStartsOf(size_t synapse, size_t row, const Scratch& scratch) const;
  const uint8_t* weightsOf(const Unit& unit, uint32_t block) const;
  size_t unitSize(const Unit& unit) const;
  const void* identityWords(const Synapse& synapse, const Position& at, uint32_t block) const;
  void gather(size_t position, uint32_t count, size_t positions, uint32_t block, size_t unit, int32_t* acc, const Scratch& scratch) const;
  void gatherUnit(const Tile& range, uint32_t block, size_t unit, bool more, Scratch& scratch) const;
  void accumulateAnalog(const Synapse& synapse, const Position& at, uint32_t block, int32_t* acc, Scratch& scratch) const;
  void finishSpan(const Tile& range, size_t index, uint32_t count, uint32_t block, int32_t* acc, Scratch& scratch);
  void fire(size_t index, uint32_t count, uint32_t block, Scratch& scratch);
  void readOut(size_t index, uint32_t block, const Scratch& scratch);
  void finishTile(size_t index, Scratch& scratch);
  void listSpikes(size_t index, Scratch& scratch);
  void countSpikes(size_t index) const;

  const Chunk& chunk_;
  const Layer& layer_;
  LayerOutput output_;
  size_t rowWidth_;
  size_t rows_;
  size_t tileRows_;
  size_t tiles_;
  size_t groups_;
  size_t accStride_;  ///< of a position
  size_t countsStride_ = 0;  ///< of a position
  uint32_t span_;     ///< adjacent positions that one call of a kernel takes: of a row, or to gather in a heavy layer, of the tile
  Countdowns& groupsLeft_;  ///< by tile; whoever is last lists the tile's spikes
};

}  // namespace noisefloor
