#pragma once
#include "chunk.h"

namespace noisefloor {

// What a synapse sums up at one output position, for one block of output channels: acc of src/snn/model.ts.
// The gather method is not here: its lists are made once for all blocks, see layer_pass.cc.

/// Spiking sources: acc [steps][width], overwritten; diagonal (depthwise and identity) [steps][words of the block].
void accumulateDiagonal(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at,
                        uint32_t block, int32_t* acc);
void accumulateGrouped(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at,
                       uint32_t block, int32_t* acc);

/// Spikes of each channel in the window that an output position sees: [steps][2 * pairs], overwritten.
void countWindow(const Chunk& chunk, const Synapse& synapse, const Position& at, int16_t* counts);
/// Of such counts: acc [steps][width], overwritten.
void accumulateCounted(const Chunk& chunk, const Synapse& synapse, const Layer& layer, uint32_t block, const int16_t* counts, int32_t* acc);

/// Analog input, one frame of it: acc [width], overwritten. `patch` is scratch memory.
void accumulateDense(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at, uint32_t frame,
                     uint32_t block, Buffer<int16_t>& patch, int32_t* acc);
void accumulateDenseGrouped(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at,
                            uint32_t frame, uint32_t block, int32_t* acc);
void accumulateDenseIdentity(const Chunk& chunk, const Synapse& synapse, const Layer& layer, const Position& at,
                             uint32_t frame, uint32_t block, int32_t* acc);

/// Adds what the spikes of one row of the source cost: operations [steps], or [1] for the analog input; see src/snn/run.ts.
void countOperations(const Chunk& chunk, const Synapse& synapse, size_t row, uint64_t* operations);

}  // namespace noisefloor
