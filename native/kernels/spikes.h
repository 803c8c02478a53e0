#pragma once
#include <stdint.h>

#include "steps.h"

namespace noisefloor {

constexpr uint32_t listSlack = 16;

/// Lists the spikes of one row of positions, list after list.
///
/// words    [positions][stride] of 8, 16, 32 or 64 bits; stride is a multiple of 16
/// starts   [listCount][positions + 1] into indices: where position x's part of a list begins, and, at x = positions,
///          where the list ends and the next one begins. starts[0] is given
/// indices  indexUnit * (x * stride + channel) of every neuron that a rule picks, ascending within a list
/// May write up to listSlack entries past the end of the last list.
using IndexFn = void(const void* words, uint32_t positions, uint32_t stride, const ListRule* rules, uint32_t listCount,
                     uint32_t* indices, uint32_t* starts);

/// Adds the spikes of one position, each with the weight of its own channel: acc[t][w] += weights[w] where bit t of words[w]
/// is set, for t < steps, w < width. width is a multiple of 16. Accumulator: int32; of int16 weights exact for 2^16 calls.
using DiagonalFn = void(const void* words, const int32_t* weights, uint32_t steps, uint32_t width, int32_t* acc);

/// One row of source positions, seen through one row of a kernel.
struct ListedRow {
  const void* words;       ///< of its first position
  const uint32_t* starts;  ///< of its first position in list 0, see IndexFn
  uint32_t offset;         ///< added to its indices
};

/// Merges the lists of some rows position by position, so that what a whole kernel sees is one run:
/// for each list and each position, the spikes of that position of every row, one row after the other.
///
/// indices   of all rows; an index of position x becomes index + x * advance + offset of its row
/// merged, starts  [listCount][positions + 1] as IndexFn writes them; starts[0] is given
/// May read and write up to listSlack entries past the end of a list.
using MergeFn = void(const uint32_t* indices, const ListedRow* rows, uint32_t rowCount, uint32_t positions,
                     uint32_t listCount, uint32_t advance, uint32_t* merged, uint32_t* starts);

constexpr uint32_t cellWords = 64;

/// Up to cellWords channels of each position of a row.
struct ListedCell {
  const void* words;  ///< of its first position
  uint32_t offset;    ///< added to the index of each channel, which counts from the cell's first one
  uint32_t count;     ///< of channels
};

/// The same from the words, without lists of the single rows: the cells of the rows, row after row, a row's from its first channel
/// on, each of cellWords channels but for the last one, which has the rest of the stride. An index is
/// indexUnit * (x * stride + channel) + x * advance + offset of its cell.
using MergeWordsFn = void(const ListedCell* cells, uint32_t cellCount, uint32_t positions, uint32_t stride,
                          const ListRule* rules, uint32_t listCount, uint32_t advance, uint32_t* merged, uint32_t* starts);

}  // namespace noisefloor
