#include "layer_pass.h"

#include <algorithm>
#include <bitset>
#include <cstring>

#include "accumulate.h"
#include "prefetch.h"

namespace noisefloor {
namespace {

/// Positions. Small tiles balance the threads, large ones reuse a block of weights while it is in the cache.
constexpr size_t minTile = 16;
constexpr size_t maxTile = 64;
constexpr size_t itemsPerThread = 4;
/// Bytes of the sums of a tile whose weights come in several units.
constexpr size_t tileBytes = 128 << 10;
constexpr size_t cacheLine = 64;
/// Bytes of the sums of a span: they stay in the first-level cache.
constexpr size_t spanBytes = 16 << 10;
constexpr size_t maxSpan = 16;

size_t divideUp(size_t a, size_t b) { return (a + b - 1) / b; }

bool usesLists(const Chunk& chunk, const Layer& layer, const LayerOutput& output) {
  return layer.listed || output.statistics || (layer.merged && chunk.word.mergeWords == nullptr);
}

template <typename Word>
void shiftWords(uint8_t* words, uint32_t count, uint32_t by) {
  Word* const typed = reinterpret_cast<Word*>(words);
  for (uint32_t i = 0; i < count; ++i) typed[i] = static_cast<Word>(uint64_t{typed[i]} << by);
}

/// Bit t of each word becomes bit t + by.
void delayWords(uint8_t* words, uint32_t bytes, uint32_t count, uint32_t by) {
  switch (bytes) {
    case 1: return shiftWords<uint8_t>(words, count, by);
    case 2: return shiftWords<uint16_t>(words, count, by);
    case 4: return shiftWords<uint32_t>(words, count, by);
    default: return shiftWords<uint64_t>(words, count, by);
  }
}

GatherFn* kernelOf(RowFormat format, const Kernels& kernels) {
  switch (format) {
    case RowFormat::i7: return kernels.gather_i7;
    case RowFormat::i8: return kernels.gather_i8;
    case RowFormat::i16: break;
  }
  return kernels.gather_i16;
}

/// Counts that a counted synapse has of a position.
size_t countsOf(const Synapse& s, uint32_t steps) { return size_t{2} * s.pairs * steps; }

uint8_t popcount(const uint8_t* word, uint32_t bytes) {
  uint64_t bits = 0;
  for (uint32_t i = 0; i < bytes; ++i) bits |= static_cast<uint64_t>(word[i]) << (8 * i);
  return static_cast<uint8_t>(std::bitset<64>(bits).count());
}

}  // namespace

LayerPass::LayerPass(const Chunk& chunk, const Layer& layer, const LayerOutput& output, unsigned threads,
                     Countdowns& left)
    : chunk_(chunk), layer_(layer), output_(output),
      rowWidth_(static_cast<size_t>(layer.shape.width)),
      rows_(chunk.images * static_cast<size_t>(layer.shape.height)), groupsLeft_(left) {
  accStride_ = layer.synapses.size() * chunk.steps * layer.width;
  for (const Synapse& s : layer.synapses) countsStride_ += s.method == Method::counted ? countsOf(s, chunk.steps) : 0;
  const size_t fitting = spanBytes / std::max<size_t>(1, sizeof(int32_t) * accStride_);
  span_ = static_cast<uint32_t>(std::min(std::clamp<size_t>(fitting, 1, maxSpan), rowWidth_));
  const size_t positions = rows_ * rowWidth_;
  // Where the weights come in several units, a thread keeps to its own blocks: so they pass through the caches once.
  const bool heavy = layer.heavy;
  const size_t most = heavy ? std::max(minTile, tileBytes / (sizeof(int32_t) * accStride_)) : maxTile;
  const size_t wanted = heavy ? divideUp(threads, std::min<size_t>(threads, layer.blocks)) : itemsPerThread * threads;
  tileRows_ = divideUp(std::clamp(divideUp(positions, wanted), minTile, most), rowWidth_);
  tiles_ = divideUp(rows_, tileRows_);
  groups_ = std::min<size_t>(layer.blocks, heavy ? threads : divideUp(wanted, tiles_));
  left.reset(tiles_, groups_);
}

LayerPass::StoreSize LayerPass::storeSize(const Layer& layer, uint32_t steps, size_t images) {
  const size_t rows = images * static_cast<size_t>(layer.shape.height);
  const size_t positions = images * static_cast<size_t>(layer.shape.positions());
  const size_t spikes = positions * static_cast<size_t>(layer.shape.channels) * steps;
  return {positions * layer.channelStride() * wordBytes(steps), rows * Chunk::startsPerRow(layer.shape, stepLists(steps).listCount),
          spikes + (rows + 1) * listSlack};
}

size_t LayerPass::storeBytes(const Layer& layer, uint32_t steps, size_t images) {
  const StoreSize size = storeSize(layer, steps, images);
  return size.words + sizeof(uint32_t) * (size.starts + size.indices);
}

void LayerPass::reserveStore(const Layer& layer, uint32_t steps, size_t images, SpikeStore& store) {
  const StoreSize size = storeSize(layer, steps, images);
  store.words.reserve(size.words);
  store.starts.reserve(size.starts);
  store.indices.reserve(size.indices);
}

void LayerPass::prepare(Scratch& scratch) const {
  scratch.fetched = nullptr;
  scratch.countedFrom = SIZE_MAX;
  const size_t positions = tileRows_ * rowWidth_;
  scratch.segments.reserve(mostSegments());
  scratch.segmentEnds.reserve(positions * layer_.units.size());
  if (layer_.maxPool) scratch.window.reserve(layer_);
  for (const Synapse& s : layer_.synapses) {
    const size_t rows = static_cast<size_t>(s.geometry.mergedRows());
    scratch.listedRows.reserve(rows);
    if (s.merged && chunk_.word.mergeWords != nullptr) scratch.cells.reserve(rows * divideUp(chunk_.sourceOf(s).channelStride(), cellWords));
    if (s.analog()) scratch.patch.reserve(static_cast<size_t>(s.pairs) * 2);
  }
  scratch.counts.reserve(positions * countsStride_);
  size_t starts = 0;
  scratch.merged.reserve(mergedSize(starts));
  scratch.mergedStarts.reserve(starts);
  scratch.acc.reserve((layer_.heavy ? positions : span_) * accStride_);
  scratch.terms.resize(layer_.synapses.size());
  if (!output_.statistics) return;
  scratch.operations.assign(layer_.synapses.size() * chunk_.steps, 0);
  scratch.spikes.assign(chunk_.steps, 0);
}

LayerPass::Tile LayerPass::tile(size_t index) const {
  const size_t first = index * tileRows_;
  const size_t end = std::min(rows_, first + tileRows_);
  return {first, end, first * rowWidth_, end * rowWidth_};
}

/// The words of the positions of a tile, one after the other.
uint8_t* LayerPass::wordsOf(const Tile& range) const {
  return chunk_.storeOf(layer_).words.data() + range.begin * chunk_.wordStride(layer_);
}

size_t LayerPass::bytesOf(const Tile& range) const { return (range.end - range.begin) * chunk_.wordStride(layer_); }

void LayerPass::run(size_t item, Scratch& scratch) {
  const size_t group = item % groups_;
  const Tile range = tile(item / groups_);
  const uint32_t firstBlock = static_cast<uint32_t>(group * layer_.blocks / groups_);
  const uint32_t endBlock = static_cast<uint32_t>((group + 1) * layer_.blocks / groups_);
  if (layer_.maxPool) {
    Position at(range.begin, layer_.shape);
    for (size_t i = range.begin; i < range.end; ++i, at.advance(layer_.shape)) {
      for (uint32_t block = firstBlock; block < endBlock; ++block) poolSpikes(chunk_, layer_, i, at, block, output_.before, scratch.window);
    }
    if (groupsLeft_.finish(item / groups_)) finishTile(item / groups_, scratch);
    return;
  }
  if (layer_.given) {
    if (group == 0) std::memcpy(wordsOf(range), output_.given + (wordsOf(range) - wordsOf({})), bytesOf(range));
    if (groupsLeft_.finish(item / groups_)) finishTile(item / groups_, scratch);
    return;
  }
  if (output_.waits == chunk_.steps) {
    for (size_t i = range.begin; i < range.end; ++i) {
      for (uint32_t block = firstBlock; block < endBlock; ++block) waitPosition(i, block);
    }
  } else {
    sumPositions(range, firstBlock, endBlock, scratch);
  }
  if (output_.statistics && group == 0) countRows(range, scratch);
  if (layer_.spiking && groupsLeft_.finish(item / groups_)) finishTile(item / groups_, scratch);
}

void LayerPass::sumPositions(const Tile& range, uint32_t firstBlock, uint32_t endBlock, Scratch& scratch) {
  fetchWeights(firstBlock, scratch);
  countWindows(range, scratch);
  mergeRows(range, scratch);
  collectSegments(range, scratch);
  const bool heavy = layer_.heavy;
  for (uint32_t block = firstBlock; block < endBlock; ++block) {
    if (heavy) {
      for (size_t unit = 0; unit < layer_.units.size(); ++unit) gatherUnit(range, block, unit, block + 1 < endBlock, scratch);
    }
    for (size_t i = range.begin, count; i < range.end; i += count) {
      const size_t position = i - range.begin;
      count = std::min<size_t>(span_, rowWidth_ - i % rowWidth_);
      int32_t* acc = scratch.acc.data() + (heavy ? position * accStride_ : 0);
      for (size_t unit = 0; unit < layer_.units.size() && !heavy; ++unit) {
        gather(position, static_cast<uint32_t>(count), range.end - range.begin, block, unit, acc, scratch);
      }
      finishSpan(range, i, static_cast<uint32_t>(count), block, acc, scratch);
    }
  }
}

/// Counts the operations of the tile's share of the rows of each source.
void LayerPass::countRows(const Tile& range, Scratch& scratch) const {
  uint64_t* operations = scratch.operations.data();
  for (const Synapse& s : layer_.synapses) {
    const size_t rows = chunk_.images * static_cast<size_t>(s.geometry.source.height);
    const size_t end = range.endRow * rows / rows_;
    for (size_t row = range.firstRow * rows / rows_; row < end; ++row) countOperations(chunk_, s, row, operations);
    operations += chunk_.steps;
  }
}

/// Fetches the first weights that a worker needs, in order: gathering would fetch them row by row, as spikes come.
void LayerPass::fetchWeights(uint32_t block, Scratch& scratch) const {
  if (layer_.units.empty() || (scratch.fetched == &layer_ && !layer_.heavy)) return;
  scratch.fetched = &layer_;
  const uint8_t* weights = weightsOf(layer_.units[0], block);
  for (size_t byte = 0; byte < unitSize(layer_.units[0]); byte += cacheLine) prefetch(weights + byte);
}

/// Runs of spikes that the positions of a tile see, at most.
size_t LayerPass::mostSegments() const {
  size_t most = 0;
  for (const Unit& unit : layer_.units) {
    const Synapse& s = layer_.synapses[unit.synapse];
    const Geometry& g = s.geometry;
    most += s.merged ? 1 : static_cast<size_t>(g.taps()) * static_cast<size_t>(g.poolSize());
  }
  return tileRows_ * rowWidth_ * most;
}

/// Entries of the merged lists of a tile, in the worst case, and of their starts.
size_t LayerPass::mergedSize(size_t& starts) const {
  size_t size = 0;
  for (const Synapse& s : layer_.synapses) {
    if (!s.merged) continue;
    const Shape& source = s.geometry.source;
    const size_t rowSize = static_cast<size_t>(source.width) * static_cast<size_t>(source.channels) * chunk_.steps;
    size += tileRows_ * (rowSize * static_cast<size_t>(s.geometry.mergedRows()) + listSlack);
    starts += tileRows_ * Chunk::startsPerRow(source, chunk_.lists.listCount);
  }
  return size;
}

/// Counts the spikes in the windows that the positions of a tile see: once for all items of the tile that a worker takes.
void LayerPass::countWindows(const Tile& range, Scratch& scratch) const {
  if (countsStride_ == 0 || scratch.countedFrom == range.begin) return;
  scratch.countedFrom = range.begin;
  int16_t* counts = scratch.counts.data();
  Position at(range.begin, layer_.shape);
  for (size_t i = range.begin; i < range.end; ++i, at.advance(layer_.shape)) {
    for (const Synapse& s : layer_.synapses) {
      if (s.method != Method::counted) continue;
      countWindow(chunk_, s, at, counts);
      counts += countsOf(s, chunk_.steps);
    }
  }
}

/// Merges the spike lists that the rows of a tile see, once for all blocks.
void LayerPass::mergeRows(const Tile& range, Scratch& scratch) const {
  uint32_t* starts = scratch.mergedStarts.data();
  uint32_t end = 0;
  for (size_t row = range.firstRow; row < range.endRow; ++row) {
    for (const Synapse& s : layer_.synapses) {
      if (!s.merged) continue;
      const size_t size = Chunk::startsPerRow(s.geometry.source, chunk_.lists.listCount);
      starts[0] = end;
      mergeRow(s, row, starts, scratch);
      end = starts[size - 1];
      starts += size;
    }
  }
}

void LayerPass::mergeRow(const Synapse& s, size_t row, uint32_t* starts, Scratch& scratch) const {
  const Layer& source = chunk_.sourceOf(s);
  const Geometry& g = s.geometry;
  const uint32_t stride = source.channelStride();
  listRows(s, row, scratch);
  const uint32_t width = static_cast<uint32_t>(g.source.width);
  // From column to column the weights move by a column of the kernel; behind a pool they stay, modulo 2^32.
  const uint32_t advance = indexUnit * (g.pools() ? 0 - stride : static_cast<uint32_t>(g.kernel.y - 1) * stride);
  const StepLists& lists = chunk_.lists;
  if (chunk_.word.mergeWords != nullptr) {
    listCells(stride, scratch);
    chunk_.word.mergeWords(scratch.cells.data(), static_cast<uint32_t>(scratch.cells.size()), width, stride, lists.rules,
                           lists.listCount, advance, scratch.merged.data(), starts);
  } else {
    chunk_.kernels->merge(chunk_.storeOf(source).indices.data(), scratch.listedRows.data(),
                          static_cast<uint32_t>(scratch.listedRows.size()), width, lists.listCount, advance,
                          scratch.merged.data(), starts);
  }
}

/// The rows of the source that an output row sees.
void LayerPass::listRows(const Synapse& s, size_t row, Scratch& scratch) const {
  const Layer& source = chunk_.sourceOf(s);
  const Geometry& g = s.geometry;
  const size_t image = row / static_cast<size_t>(layer_.shape.height);
  const int32_t oy = static_cast<int32_t>(row % static_cast<size_t>(layer_.shape.height));
  const Geometry::Range seen = g.pools() ? Geometry::Range{0, g.poolKernel.y} : g.kernelRows(oy);
  const int32_t first = g.pools() ? oy * g.stride.y * g.poolStride.y : oy * g.stride.y - g.padding.top;
  const uint32_t rowWeights = g.pools() ? 0 : indexUnit * source.channelStride();
  scratch.listedRows.clear();
  for (int32_t i = seen.begin; i < seen.end; ++i) {
    const size_t position = (image * static_cast<size_t>(g.source.height) + static_cast<size_t>(first + i)) *
                            static_cast<size_t>(g.source.width);
    scratch.listedRows.push_back({chunk_.storeOf(source).words.data() + position * chunk_.wordStride(source),
                                  chunk_.startsOf(source, image, first + i, 0), rowWeights * static_cast<uint32_t>(i)});
  }
}

/// Words of eight bits.
void LayerPass::listCells(uint32_t stride, Scratch& scratch) const {
  scratch.cells.clear();
  for (const ListedRow& row : scratch.listedRows) {
    const uint8_t* words = static_cast<const uint8_t*>(row.words);
    for (uint32_t c = 0; c < stride; c += cellWords) {
      scratch.cells.push_back({words + c, row.offset + indexUnit * c, std::min(cellWords, stride - c)});
    }
  }
}

/// Finds the runs of spikes that the positions of a tile see, once for all blocks and steps.
void LayerPass::collectSegments(const Tile& range, Scratch& scratch) const {
  scratch.segments.clear();
  scratch.segmentEnds.clear();
  for (const Unit& unit : layer_.units) {
    const bool merged = layer_.synapses[unit.synapse].merged;
    for (size_t row = range.firstRow; row < range.endRow; ++row) {
      if (merged) {
        addMergedSegments(unit, row - range.firstRow, scratch);
      } else {
        addSegments(unit, Position(row * rowWidth_, layer_.shape), scratch);
      }
    }
  }
}

/// One run for each position of a row, empty where the unit sees nothing but padding.
void LayerPass::addMergedSegments(const Unit& unit, size_t row, Scratch& scratch) const {
  const Synapse& s = layer_.synapses[unit.synapse];
  const Geometry& g = s.geometry;
  const uint32_t* starts = mergedStartsOf(unit.synapse, row, scratch);
  const int64_t columnRows = int64_t{g.kernel.y} * chunk_.sourceOf(s).channelStride();
  const int32_t width = g.source.width;
  const uint32_t listStride = static_cast<uint32_t>(width) + 1;
  const size_t before = scratch.segments.size();
  scratch.segments.resize(before + rowWidth_);
  Segment* segment = scratch.segments.data() + before;
  if (g.pools()) {
    const int32_t step = g.stride.x * g.poolStride.x;
    for (int32_t x = 0; x < layer_.shape.width; ++x) *segment++ = {starts + x * step, static_cast<uint32_t>(g.poolKernel.x), listStride, 0};
  } else {
    int32_t left = -g.padding.left;
    for (int32_t x = 0; x < layer_.shape.width; ++x, left += g.stride.x) {
      const int32_t begin = std::clamp(left + unit.firstColumn, 0, width);
      const int32_t end = std::clamp(left + unit.endColumn, begin, width);
      *segment++ = {starts + begin, static_cast<uint32_t>(end - begin), listStride, -left * columnRows};
    }
  }
  for (size_t x = 0; x < rowWidth_; ++x) scratch.segmentEnds.push_back(static_cast<uint32_t>(before + x + 1));
}

void LayerPass::addSegments(const Unit& unit, Position at, Scratch& scratch) const {
  const Synapse& s = layer_.synapses[unit.synapse];
  const Layer& source = chunk_.sourceOf(s);
  const int64_t stride = source.channelStride();
  const uint32_t listStride = static_cast<uint32_t>(source.shape.width) + 1;
  for (size_t i = 0; i < rowWidth_; ++i, ++at.x) {
    s.geometry.forEachRun(at.y, at.x, [&](int32_t tap, int32_t, int32_t y, int32_t x, int32_t count) {
      const uint32_t* starts = chunk_.startsOf(source, at.image, y, x);
      const int64_t base = (s.geometry.columnOrder(tap) - x) * stride;
      scratch.segments.push_back({starts, static_cast<uint32_t>(count), listStride, base});
    });
    scratch.segmentEnds.push_back(static_cast<uint32_t>(scratch.segments.size()));
  }
}

/// Starts of the merged lists of a row of the tile.
const uint32_t* LayerPass::mergedStartsOf(size_t synapse, size_t row, const Scratch& scratch) const {
  size_t before = 0;
  size_t all = 0;
  for (size_t i = 0; i < layer_.synapses.size(); ++i) {
    if (i == synapse) before = all;
    const Synapse& s = layer_.synapses[i];
    if (s.merged) all += Chunk::startsPerRow(s.geometry.source, chunk_.lists.listCount);
  }
  return scratch.mergedStarts.data() + row * all + before;
}

/// One unit over all positions of a tile, while the weights of the next one are fetched.
void LayerPass::gatherUnit(const Tile& range, uint32_t block, size_t unit, bool more, Scratch& scratch) const {
  const bool last = unit + 1 == layer_.units.size();
  const Unit* next = !last ? &layer_.units[unit + 1] : more ? &layer_.units[0] : nullptr;
  const uint8_t* ahead = next != nullptr ? weightsOf(*next, block + (last ? 1 : 0)) : nullptr;
  const size_t positions = range.end - range.begin;
  const size_t share = next != nullptr ? divideUp(unitSize(*next), positions * cacheLine) * cacheLine : 0;
  for (size_t i = 0, count; i < positions; i += count) {
    count = std::min<size_t>(span_, positions - i);
    for (size_t byte = i * share; byte < (i + count) * share; byte += cacheLine) prefetch(ahead + byte);
    gather(i, static_cast<uint32_t>(count), positions, block, unit, scratch.acc.data() + i * accStride_, scratch);
  }
}

/// One unit over `count` positions of a tile, from number `position` of `positions` on.
void LayerPass::gather(size_t position, uint32_t count, size_t positions, uint32_t block, size_t index, int32_t* acc,
                       const Scratch& scratch) const {
  const Unit& unit = layer_.units[index];
  const Synapse& s = layer_.synapses[unit.synapse];
  GatherFn* kernel = kernelOf(s.format, *chunk_.kernels);
  const uint32_t* ends = scratch.segmentEnds.data() + index * positions + position;
  const uint32_t first = index + position == 0 ? 0 : ends[-1];
  const uint32_t* indices = s.merged ? scratch.merged.data() : chunk_.storeOf(chunk_.sourceOf(s)).indices.data();
  const Fields fields = {indices, scratch.segments.data(), ends, first, count, accStride_};
  // Four steps before the layer starts are two pairs that nobody reads.
  const uint32_t unread = output_.waits / 4 * 2;
  kernel(s.rows.data() + block * s.blockBytes, fields, chunk_.lists.pairs + unread, chunk_.lists.pairCount - unread, layer_.width, unit.firstColumn != 0,
         acc + unit.synapse * chunk_.steps * layer_.width);
}

const uint8_t* LayerPass::weightsOf(const Unit& unit, uint32_t block) const {
  const Synapse& s = layer_.synapses[unit.synapse];
  const size_t taps = static_cast<size_t>(unit.firstColumn) * static_cast<size_t>(s.geometry.kernel.y);
  return s.rows.data() + block * s.blockBytes + taps * s.tapBytes;
}

size_t LayerPass::unitSize(const Unit& unit) const {
  const Synapse& s = layer_.synapses[unit.synapse];
  return static_cast<size_t>(unit.endColumn - unit.firstColumn) * static_cast<size_t>(s.geometry.kernel.y) * s.tapBytes;
}

/// Each frame once, whatever its steps: a single one stands for all steps, the sums of several are copied to theirs.
void LayerPass::accumulateAnalog(const Synapse& s, const Position& at, uint32_t block, int32_t* acc, Scratch& scratch) const {
  const uint32_t copies = chunk_.frames == 1 ? 1 : chunk_.steps / chunk_.frames;
  for (uint32_t frame = 0; frame < chunk_.frames; ++frame) {
    const int32_t* sums = acc;
    if (s.method == Method::dense) {
      accumulateDense(chunk_, s, layer_, at, frame, block, scratch.patch, acc);
    } else if (s.method == Method::denseGrouped) {
      accumulateDenseGrouped(chunk_, s, layer_, at, frame, block, acc);
    } else {
      accumulateDenseIdentity(chunk_, s, layer_, at, frame, block, acc);
    }
    acc += layer_.width;
    for (uint32_t copy = 1; copy < copies; ++copy, acc += layer_.width) std::memcpy(acc, sums, sizeof(int32_t) * layer_.width);
  }
}

/// The sums of the gathering synapses of some adjacent positions are in `acc`; adds those of the others, integrates and fires.
void LayerPass::finishSpan(const Tile& range, size_t index, uint32_t count, uint32_t block, int32_t* acc, Scratch& scratch) {
  const Position at(index, layer_.shape);
  const int16_t* counts = scratch.counts.data() + (index - range.begin) * countsStride_;
  for (size_t i = 0; i < layer_.synapses.size(); ++i, acc += static_cast<size_t>(chunk_.steps) * layer_.width) {
    const Synapse& s = layer_.synapses[i];
    Term& term = scratch.terms[i];
    const int32_t* multiplier = s.multiplier.data() + static_cast<size_t>(block) * layer_.width;
    const bool constant = s.analog() && chunk_.frames == 1;
    term = {nullptr, acc, constant ? 0 : layer_.width, multiplier, s.half, s.shift, accStride_, 0};
    const auto forEach = [&](const auto& accumulate) {
      Position one = at;
      for (uint32_t p = 0; p < count; ++p, ++one.x) accumulate(one, acc + p * accStride_);
    };
    switch (s.method) {
      case Method::gather: break;
      case Method::counted:
        for (uint32_t p = 0; p < count; ++p) accumulateCounted(chunk_, s, layer_, block, counts + p * countsStride_, acc + p * accStride_);
        counts += countsOf(s, chunk_.steps);
        break;
      case Method::grouped:
        forEach([&](const Position& one, int32_t* sums) { accumulateGrouped(chunk_, s, layer_, one, block, sums); });
        break;
      case Method::identity:
        if (layer_.spiking && s.geometry.poolSize() == 1 && output_.waits == 0) {
          term.words = identityWords(s, at, block);
          term.wordStride = static_cast<size_t>(s.geometry.stride.x * s.geometry.poolStride.x) * chunk_.wordStride(chunk_.sourceOf(s));
          break;
        }
        [[fallthrough]];
      case Method::depthwise:
        forEach([&](const Position& one, int32_t* sums) { accumulateDiagonal(chunk_, s, layer_, one, block, sums); });
        term.stepStride = layer_.wordsOf(block);
        break;
      case Method::dense:
      case Method::denseGrouped:
      case Method::denseIdentity:
        forEach([&](const Position& one, int32_t* sums) { accumulateAnalog(s, one, block, sums, scratch); });
        break;
    }
  }
  if (layer_.spiking) {
    fire(index, count, block, scratch);
  } else {
    readOut(index, block, scratch);
  }
}

/// The words of the one position that an identity without a window sees.
const void* LayerPass::identityWords(const Synapse& s, const Position& at, uint32_t block) const {
  const Layer& source = chunk_.sourceOf(s);
  const Geometry& g = s.geometry;
  const size_t position = at.in(source.shape, at.y * g.stride.y * g.poolStride.y, at.x * g.stride.x * g.poolStride.x);
  // Equal channels mean equal blocks, so the layer's block is the source's.
  return chunk_.storeOf(source).words.data() + position * chunk_.wordStride(source) +
         static_cast<size_t>(block) * layer_.width * chunk_.word.bytes;
}

/// A layer that starts behind this pass: no spikes, and the potentials stay.
void LayerPass::waitPosition(size_t index, uint32_t block) {
  const size_t first = static_cast<size_t>(block) * layer_.width;
  const size_t at = index * layer_.channelStride() + first;
  const size_t words = layer_.wordsOf(block);
  const int32_t* potential = output_.before != nullptr ? output_.before + at : layer_.spiking ? layer_.initialPotential.data() + first : nullptr;
  if (layer_.spiking) {
    std::memset(chunk_.storeOf(layer_).words.data() + index * chunk_.wordStride(layer_) + first * chunk_.word.bytes, 0, words * chunk_.word.bytes);
  } else {
    const size_t classes = static_cast<size_t>(layer_.shape.channels);
    for (size_t w = 0; w < words && first + w < classes; ++w) {
      for (uint32_t t = 0; t < chunk_.steps; ++t) {
        output_.potentials[(t * output_.totalImages + index) * classes + first + w] = potential != nullptr ? potential[w] : 0;
      }
    }
  }
  if (output_.after == nullptr || output_.after == output_.before) return;
  for (size_t w = 0; w < words; ++w) output_.after[at + w] = potential != nullptr ? potential[w] : 0;
}

void LayerPass::fire(size_t index, uint32_t count, uint32_t block, Scratch& scratch) {
  const size_t first = static_cast<size_t>(block) * layer_.width;
  const size_t stride = layer_.channelStride();
  const size_t at = index * stride + first;
  const bool carried = output_.before != nullptr;
  const Neurons neurons = {layer_.bias.data() + first, layer_.threshold.data() + first,
                           carried ? output_.before + at : layer_.initialPotential.data() + first,
                           output_.after != nullptr ? output_.after + at : nullptr, carried ? stride : 0, stride};
  const size_t wordStride = chunk_.wordStride(layer_);
  uint8_t* words = chunk_.storeOf(layer_).words.data() + index * wordStride + first * chunk_.word.bytes;
  const uint32_t waits = output_.waits;
  for (Term& term : scratch.terms) term.acc += static_cast<size_t>(waits) * term.stepStride;
  chunk_.word.fire(scratch.terms.data(), static_cast<uint32_t>(scratch.terms.size()), neurons, chunk_.steps - waits,
                   layer_.wordsOf(block), {count, wordStride}, words);
  if (waits == 0) return;
  for (uint32_t p = 0; p < count; ++p) delayWords(words + p * wordStride, chunk_.word.bytes, layer_.wordsOf(block), waits);
}

/// Of the one position that a read-out has.
void LayerPass::readOut(size_t index, uint32_t block, const Scratch& scratch) {
  const size_t classes = static_cast<size_t>(layer_.shape.channels);
  const size_t first = static_cast<size_t>(block) * layer_.width;
  for (size_t w = 0; w < layer_.width && first + w < classes; ++w) {
    const size_t at = index * layer_.channelStride() + first + w;
    uint32_t potential = output_.before != nullptr ? static_cast<uint32_t>(output_.before[at]) : 0;
    for (uint32_t t = 0; t < chunk_.steps; ++t) {
      if (t >= output_.waits) potential += static_cast<uint32_t>(layer_.bias[first + w]);
      for (const Term& term : scratch.terms) {
        const uint32_t acc = static_cast<uint32_t>(term.acc[static_cast<size_t>(t) * term.stepStride + w]);
        const uint32_t scaled = acc * static_cast<uint32_t>(term.multiplier[w]) + static_cast<uint32_t>(term.half);
        if (t >= output_.waits) potential += static_cast<uint32_t>(static_cast<int32_t>(scaled) >> term.shift);
      }
      output_.potentials[(t * output_.totalImages + index) * classes + first + w] = static_cast<int32_t>(potential);
    }
    if (output_.after != nullptr) output_.after[at] = static_cast<int32_t>(potential);
  }
}

/// All channels of the tile's positions are known: lists their spikes for the layers that read them.
void LayerPass::finishTile(size_t index, Scratch& scratch) {
  if (usesLists(chunk_, layer_, output_)) listSpikes(index, scratch);
  const Tile range = tile(index);
  if (output_.trains != nullptr) std::memcpy(output_.trains + (wordsOf(range) - wordsOf({})), wordsOf(range), bytesOf(range));
  if (output_.counts == nullptr) return;
  for (size_t i = range.begin; i < range.end; ++i) countSpikes(i);
}

void LayerPass::listSpikes(size_t index, Scratch& scratch) {
  const Tile range = tile(index);
  SpikeStore& store = chunk_.storeOf(layer_);
  const size_t startsPerRow = Chunk::startsPerRow(layer_.shape, chunk_.lists.listCount);
  const size_t mostSpikes = rowWidth_ * static_cast<size_t>(layer_.shape.channels) * chunk_.steps;
  uint32_t end = static_cast<uint32_t>(range.firstRow * mostSpikes + index * listSlack);
  for (size_t row = range.firstRow; row < range.endRow; ++row) {
    const uint8_t* words = store.words.data() + row * rowWidth_ * chunk_.wordStride(layer_);
    uint32_t* starts = store.starts.data() + row * startsPerRow;
    starts[0] = end;
    chunk_.word.index(words, static_cast<uint32_t>(rowWidth_), layer_.channelStride(), chunk_.lists.rules,
                      chunk_.lists.listCount, store.indices.data(), starts);
    end = starts[startsPerRow - 1];
    if (!output_.statistics) continue;
    for (uint32_t l = 0; l < chunk_.lists.listCount; ++l, starts += rowWidth_ + 1) {
      chunk_.forEachStep(l, [&](uint32_t t) { scratch.spikes[t] += starts[rowWidth_] - starts[0]; });
    }
  }
}

void LayerPass::countSpikes(size_t index) const {
  const Position at(index, layer_.shape);
  const size_t positions = static_cast<size_t>(layer_.shape.positions());
  const size_t within = index - at.image * positions;
  const uint8_t* words = chunk_.storeOf(layer_).words.data() + index * chunk_.wordStride(layer_);
  uint16_t* counts = output_.counts + at.image * static_cast<size_t>(layer_.shape.size()) + within;
  for (size_t c = 0; c < static_cast<size_t>(layer_.shape.channels); ++c) {
    const uint32_t before = counts[c * positions];
    counts[c * positions] = static_cast<uint16_t>(before + popcount(words + c * chunk_.word.bytes, chunk_.word.bytes));
  }
}

}  // namespace noisefloor
