#include "layer_pass.h"

#include <algorithm>

#include "accumulate.h"

namespace noisefloor {
namespace {

/// Positions. Small tiles balance the threads, large ones reuse a block of weights while it is in the cache.
constexpr size_t minTile = 16;
constexpr size_t maxTile = 64;
constexpr size_t itemsPerThread = 4;
/// 256 KiB of row lists: with the weights of a block they share the second-level cache.
constexpr size_t listEntries = 65536;

size_t divideUp(size_t a, size_t b) { return (a + b - 1) / b; }

bool usesLists(const Layer& layer, const LayerOutput& output) { return layer.listed || output.statistics; }

uint8_t popcount(const uint8_t* word, uint32_t bytes) {
  uint64_t bits = 0;
  for (uint32_t i = 0; i < bytes; ++i) bits |= static_cast<uint64_t>(word[i]) << (8 * i);
  return static_cast<uint8_t>(__builtin_popcountll(bits));
}

}  // namespace

LayerPass::LayerPass(const Chunk& chunk, const Layer& layer, const LayerOutput& output, unsigned threads)
    : chunk_(chunk), layer_(layer), output_(output),
      rowWidth_(static_cast<size_t>(layer.shape.width)),
      rows_(chunk.images * static_cast<size_t>(layer.shape.height)) {
  const size_t wanted = itemsPerThread * threads;
  const size_t positions = std::clamp(divideUp(rows_ * rowWidth_, wanted), minTile, maxTile);
  tileRows_ = divideUp(positions, rowWidth_);
  tiles_ = divideUp(rows_, tileRows_);
  groups_ = std::min<size_t>(layer.blocks, divideUp(wanted, tiles_));
  gathers_ = static_cast<size_t>(std::count_if(layer.synapses.begin(), layer.synapses.end(),
                                               [](const Synapse& s) { return s.method == Method::gather; }));
  groupsLeft_ = std::make_unique<std::atomic<size_t>[]>(tiles_);
  for (size_t i = 0; i < tiles_; ++i) groupsLeft_[i] = groups_;
}

LayerPass::StoreSize LayerPass::storeSize(const Layer& layer, uint32_t steps, size_t images) {
  const size_t rows = images * static_cast<size_t>(layer.shape.height);
  const size_t positions = images * static_cast<size_t>(layer.shape.positions());
  const size_t wordBytes = steps <= 8 ? 1 : steps <= 16 ? 2 : steps <= 32 ? 4 : 8;
  const size_t spikes = positions * static_cast<size_t>(layer.shape.channels) * steps;
  return {positions * layer.channelStride() * wordBytes, rows * Chunk::startsPerRow(layer.shape, steps),
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
  scratch.offsets.reserve(listEntries);
  scratch.counts.resize(tileRows_ * rowWidth_ * gathers_ * chunk_.steps);
  size_t segments = 0;
  for (const Synapse& s : layer_.synapses) {
    const Geometry& g = s.geometry;
    if (s.method == Method::gather) segments += static_cast<size_t>(g.taps()) * static_cast<size_t>(g.poolSize());
  }
  scratch.segments.resize(segments);
  scratch.segmentEnds.resize(gathers_);
  scratch.acc.reserve(layer_.synapses.size() * chunk_.steps * layer_.width);
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

void LayerPass::run(size_t item, Scratch& scratch) {
  const size_t group = item % groups_;
  const Tile range = tile(item / groups_);
  const uint32_t firstBlock = static_cast<uint32_t>(group * layer_.blocks / groups_);
  const uint32_t endBlock = static_cast<uint32_t>((group + 1) * layer_.blocks / groups_);
  for (size_t first = range.begin; first < range.end;) {
    const size_t end = listRows(first, range.end, scratch);
    for (uint32_t block = firstBlock; block < endBlock; ++block) {
      const uint32_t* offsets = scratch.offsets.data();
      const uint32_t* counts = scratch.counts.data();
      Position at(first, layer_.shape);
      for (size_t i = first; i < end; ++i, at.advance(layer_.shape)) runBlock(i, at, block, offsets, counts, scratch);
    }
    first = end;
  }
  if (output_.statistics && group == 0) {
    for (size_t i = range.begin; i < range.end; ++i) {
      uint64_t* operations = scratch.operations.data();
      for (const Synapse& s : layer_.synapses) {
        countOperations(chunk_, s, Position(i, layer_.shape), operations);
        operations += chunk_.steps;
      }
    }
  }
  if (layer_.spiking && --groupsLeft_[item / groups_] == 0) finishTile(item / groups_, scratch);
}

/// Lists the weight rows of positions from `first` on, as many as fit; returns the first that did not.
size_t LayerPass::listRows(size_t first, size_t end, Scratch& scratch) const {
  if (gathers_ == 0) return end;
  uint32_t* offsets = scratch.offsets.data();
  uint32_t* counts = scratch.counts.data();
  Position at(first, layer_.shape);
  for (size_t i = first; i < end; ++i, at.advance(layer_.shape)) {
    const size_t need = collectSegments(at, scratch);
    if (i == first) {
      scratch.offsets.reserve(need);
      offsets = scratch.offsets.data();
    } else if (need > static_cast<size_t>(scratch.offsets.data() + scratch.offsets.size() - offsets)) {
      return i;
    }
    const Segment* segments = scratch.segments.data();
    size_t gatherIndex = 0;
    for (const Synapse& s : layer_.synapses) {
      if (s.method != Method::gather) continue;
      const Segment* segmentsEnd = scratch.segments.data() + scratch.segmentEnds[gatherIndex++];
      const uint32_t* indices = chunk_.storeOf(chunk_.sourceOf(s)).indices.data();
      offsets = chunk_.kernels->rows(indices, segments, static_cast<uint32_t>(segmentsEnd - segments), chunk_.steps,
                                     s.rowShift, s.zeroRow, offsets, counts);
      counts += chunk_.steps;
      segments = segmentsEnd;
    }
  }
  return end;
}

/// Finds the spike lists that a position sees; returns how many entries its row lists may take.
size_t LayerPass::collectSegments(const Position& at, Scratch& scratch) const {
  Segment* segment = scratch.segments.data();
  size_t need = listSlack;
  size_t gatherIndex = 0;
  for (const Synapse& s : layer_.synapses) {
    if (s.method != Method::gather) continue;
    const Layer& source = chunk_.sourceOf(s);
    const uint32_t stride = source.channelStride();
    const uint32_t stepStride = static_cast<uint32_t>(source.shape.width) + 1;
    s.geometry.forEachRun(at.y, at.x, [&](int32_t tap, int32_t, int32_t y, int32_t x, int32_t count) {
      const uint32_t* starts = chunk_.startsOf(source, at.image, y, x);
      // Member by member: the kernel reads them so, soon, and a vector store would not forward to its loads.
      segment->starts = starts;
      segment->positions = static_cast<uint32_t>(count);
      segment->stepStride = stepStride;
      segment->base = static_cast<uint32_t>(tap - x) * stride;
      ++segment;
      for (uint32_t t = 0; t < chunk_.steps; ++t, starts += stepStride) need += starts[count] - starts[0];
    });
    need += 4 * static_cast<size_t>(chunk_.steps);
    scratch.segmentEnds[gatherIndex++] = static_cast<size_t>(segment - scratch.segments.data());
  }
  return need;
}

void LayerPass::runBlock(size_t index, const Position& at, uint32_t block, const uint32_t*& offsets,
                         const uint32_t*& counts, Scratch& scratch) {
  int32_t* acc = scratch.acc.data();
  for (size_t i = 0; i < layer_.synapses.size(); ++i, acc += static_cast<size_t>(chunk_.steps) * layer_.width) {
    const Synapse& s = layer_.synapses[i];
    switch (s.method) {
      case Method::gather: gather(s, block, offsets, counts, acc); break;
      case Method::grouped: accumulateGrouped(chunk_, s, layer_, at, block, acc); break;
      case Method::identity: accumulateIdentity(chunk_, s, layer_, at, block, acc); break;
      case Method::dense: accumulateDense(chunk_, s, layer_, at, block, scratch.patch, acc); break;
      case Method::denseGrouped: accumulateDenseGrouped(chunk_, s, layer_, at, block, acc); break;
      case Method::denseIdentity: accumulateDenseIdentity(chunk_, s, layer_, at, block, acc); break;
    }
    const int32_t* multiplier = s.multiplier.data() + static_cast<size_t>(block) * layer_.width;
    const uint32_t stepStride = s.method == Method::identity ? layer_.wordsOf(block) : layer_.width;
    scratch.terms[i] = {acc, s.analog() ? 0 : stepStride, multiplier, s.half, s.shift};
  }
  if (layer_.spiking) {
    fire(index, block, scratch);
  } else {
    readOut(index, block, scratch);
  }
}

void LayerPass::gather(const Synapse& s, uint32_t block, const uint32_t*& offsets, const uint32_t*& counts,
                       int32_t* acc) const {
  GatherFn* kernel = s.wide ? chunk_.kernels->gather_i16 : chunk_.kernels->gather_i8;
  const uint8_t* rows = s.rows.data() + block * s.blockBytes;
  offsets = kernel(rows, offsets, counts, chunk_.steps, layer_.width, acc);
  counts += chunk_.steps;
}

void LayerPass::fire(size_t index, uint32_t block, const Scratch& scratch) {
  const size_t first = static_cast<size_t>(block) * layer_.width;
  const Neurons neurons = {layer_.bias.data() + first, layer_.threshold.data() + first,
                           layer_.initialPotential.data() + first};
  uint8_t* words = chunk_.storeOf(layer_).words.data() + index * chunk_.wordStride(layer_) + first * chunk_.word.bytes;
  chunk_.word.fire(scratch.terms.data(), static_cast<uint32_t>(scratch.terms.size()), neurons, chunk_.steps,
                   layer_.wordsOf(block), words);
}

void LayerPass::readOut(size_t index, uint32_t block, const Scratch& scratch) {
  const size_t classes = static_cast<size_t>(layer_.shape.channels);
  const size_t first = static_cast<size_t>(block) * layer_.width;
  for (size_t w = 0; w < layer_.width && first + w < classes; ++w) {
    uint32_t potential = 0;
    for (uint32_t t = 0; t < chunk_.steps; ++t) {
      potential += static_cast<uint32_t>(layer_.bias[first + w]);
      for (const Term& term : scratch.terms) {
        const uint32_t acc = static_cast<uint32_t>(term.acc[static_cast<size_t>(t) * term.stepStride + w]);
        const uint32_t scaled = acc * static_cast<uint32_t>(term.multiplier[w]) + static_cast<uint32_t>(term.half);
        potential += static_cast<uint32_t>(static_cast<int32_t>(scaled) >> term.shift);
      }
      output_.potentials[(t * output_.totalImages + index) * classes + first + w] = static_cast<int32_t>(potential);
    }
  }
}

/// All channels of the tile's positions are known: lists their spikes for the layers that read them.
void LayerPass::finishTile(size_t index, Scratch& scratch) {
  if (usesLists(layer_, output_)) listSpikes(index, scratch);
  if (output_.counts == nullptr) return;
  const Tile range = tile(index);
  for (size_t i = range.begin; i < range.end; ++i) countSpikes(i);
}

void LayerPass::listSpikes(size_t index, Scratch& scratch) {
  const Tile range = tile(index);
  SpikeStore& store = chunk_.storeOf(layer_);
  const size_t startsPerRow = Chunk::startsPerRow(layer_.shape, chunk_.steps);
  const size_t mostSpikes = rowWidth_ * static_cast<size_t>(layer_.shape.channels) * chunk_.steps;
  uint32_t end = static_cast<uint32_t>(range.firstRow * mostSpikes + index * listSlack);
  for (size_t row = range.firstRow; row < range.endRow; ++row) {
    const uint8_t* words = store.words.data() + row * rowWidth_ * chunk_.wordStride(layer_);
    uint32_t* starts = store.starts.data() + row * startsPerRow;
    starts[0] = end;
    chunk_.word.index(words, static_cast<uint32_t>(rowWidth_), layer_.channelStride(), chunk_.steps,
                      store.indices.data(), starts);
    end = starts[startsPerRow - 1];
    if (!output_.statistics) continue;
    for (uint32_t t = 0; t < chunk_.steps; ++t, starts += rowWidth_ + 1) {
      scratch.spikes[t] += starts[rowWidth_] - starts[0];
    }
  }
}

void LayerPass::countSpikes(size_t index) const {
  const Position at(index, layer_.shape);
  const size_t positions = static_cast<size_t>(layer_.shape.positions());
  const size_t within = index - at.image * positions;
  const uint8_t* words = chunk_.storeOf(layer_).words.data() + index * chunk_.wordStride(layer_);
  uint8_t* counts = output_.counts + at.image * static_cast<size_t>(layer_.shape.size()) + within;
  for (size_t c = 0; c < static_cast<size_t>(layer_.shape.channels); ++c) {
    counts[c * positions] = popcount(words + c * chunk_.word.bytes, chunk_.word.bytes);
  }
}

}  // namespace noisefloor
