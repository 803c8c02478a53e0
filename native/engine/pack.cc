#include "pack.h"

#include <algorithm>
#include <cstring>

namespace noisefloor {
namespace {

/// Reads weights [out][inPerGroup][tap], whatever their type.
class WeightView {
 public:
  WeightView(const SynapseDescription& s, int32_t inChannels)
      : taps_(static_cast<size_t>(s.kernel.y) * static_cast<size_t>(s.kernel.x)),
        inPerGroup_(static_cast<size_t>(inChannels / s.groups)) {
    if (const auto* narrow = std::get_if<std::vector<int8_t>>(&s.weight)) {
      narrow_ = narrow->data();
    } else {
      wide_ = std::get<std::vector<int16_t>>(s.weight).data();
    }
  }

  int16_t at(size_t out, size_t in, size_t tap) const {
    const size_t i = (out * inPerGroup_ + in) * taps_ + tap;
    return narrow_ != nullptr ? narrow_[i] : wide_[i];
  }
  size_t taps() const { return taps_; }
  size_t inPerGroup() const { return inPerGroup_; }

 private:
  const int8_t* narrow_ = nullptr;
  const int16_t* wide_ = nullptr;
  size_t taps_;
  size_t inPerGroup_;
};

RowFormat formatOf(const Weights& weights) {
  const auto* bytes = std::get_if<std::vector<int8_t>>(&weights);
  if (bytes == nullptr) return RowFormat::i16;
  const bool narrow = std::all_of(bytes->begin(), bytes->end(), [](int8_t w) { return w >= -64 && w <= 63; });
  return narrow ? RowFormat::i7 : RowFormat::i8;
}

/// Formats of kernels/gather.h; the row arrives filled with zero weights.
void setWeight(uint8_t* row, uint32_t channel, RowFormat format, int16_t value) {
  if (format == RowFormat::i16) {
    std::memcpy(row + 2 * channel, &value, sizeof value);
    return;
  }
  const uint32_t group = channel / 32 * 32;
  const uint32_t lane = channel % 16;
  const bool high = channel % 32 >= 16;
  row[group + 2 * lane + (high ? 1 : 0)] = static_cast<uint8_t>(high ? value : value + lowOffset(format));
}

void fillZeroRows(uint8_t* rows, size_t bytes, RowFormat format) {
  for (size_t i = 0; i < bytes; ++i) rows[i] = static_cast<uint8_t>(i % 2 == 0 ? lowOffset(format) : 0);
}

void packRows(const WeightView& weights, int32_t inChannels, const Layer& layer, Synapse& synapse) {
  const size_t rowsPerTap = roundedChannels(inChannels);
  synapse.rowBytes = layer.width * (synapse.format == RowFormat::i16 ? 2 : 1);
  synapse.tapBytes = rowsPerTap * synapse.rowBytes;
  synapse.blockBytes = weights.taps() * synapse.tapBytes;
  synapse.rows.reserve(synapse.blockBytes * layer.blocks);
  fillZeroRows(synapse.rows.data(), synapse.blockBytes * layer.blocks, synapse.format);
  for (size_t out = 0; out < static_cast<size_t>(layer.shape.channels); ++out) {
    uint8_t* block = synapse.rows.data() + out / layer.width * synapse.blockBytes;
    for (size_t in = 0; in < static_cast<size_t>(inChannels); ++in) {
      for (size_t tap = 0; tap < weights.taps(); ++tap) {
        uint8_t* row = block + static_cast<size_t>(synapse.geometry.columnOrder(static_cast<int32_t>(tap))) * synapse.tapBytes + in * synapse.rowBytes;
        setWeight(row, static_cast<uint32_t>(out % layer.width), synapse.format, weights.at(out, in, tap));
      }
    }
  }
}

/// The weights of a tap are repeated for every element of a pixel's pool window, so that no pooled pixel has to fit int16.
void packMatrix(const WeightView& weights, int32_t inChannels, const Layer& layer, Synapse& synapse) {
  const size_t window = synapse.method == Method::counted ? 1 : static_cast<size_t>(synapse.geometry.poolSize());
  const size_t channels = static_cast<size_t>(inChannels);
  const size_t inputs = weights.taps() * window * channels;
  synapse.pairs = static_cast<uint32_t>((inputs + 1) / 2);
  const size_t block = static_cast<size_t>(synapse.pairs) * layer.width * 2;
  synapse.matrix.reserve(block * layer.blocks);
  std::fill_n(synapse.matrix.data(), block * layer.blocks, int16_t{0});
  for (size_t out = 0; out < static_cast<size_t>(layer.shape.channels); ++out) {
    int16_t* target = synapse.matrix.data() + out / layer.width * block + out % layer.width * 2;
    for (size_t k = 0; k < inputs; ++k) {
      const size_t tap = k / (window * channels);
      target[k / 2 * layer.width * 2 + k % 2] = weights.at(out, k % channels, tap);
    }
  }
}

void packGroupRows(const WeightView& weights, int32_t inChannels, const Layer& layer, Synapse& synapse) {
  const size_t channels = static_cast<size_t>(inChannels);
  const size_t outPerGroup = static_cast<size_t>(layer.shape.channels / synapse.groups);
  synapse.groupRows.resize(weights.taps() * channels * outPerGroup);
  for (size_t tap = 0; tap < weights.taps(); ++tap) {
    for (size_t in = 0; in < channels; ++in) {
      const size_t group = in / weights.inPerGroup();
      for (size_t o = 0; o < outPerGroup; ++o) {
        synapse.groupRows[(tap * channels + in) * outPerGroup + o] =
            weights.at(group * outPerGroup + o, in % weights.inPerGroup(), tap);
      }
    }
  }
}

void packDiagonal(const WeightView& weights, const Layer& layer, Synapse& synapse) {
  const size_t stride = layer.channelStride();
  synapse.diagonal.assign(weights.taps() * stride, 0);
  for (size_t tap = 0; tap < weights.taps(); ++tap) {
    for (size_t c = 0; c < static_cast<size_t>(layer.shape.channels); ++c) {
      synapse.diagonal[tap * stride + c] = weights.at(c, 0, tap);
    }
  }
}

/// Non-zero weights of each input, [tap][channel].
std::vector<uint32_t> countNonZero(const WeightView& weights, size_t channels, const Layer& layer, const Synapse& synapse) {
  const size_t outPerGroup = static_cast<size_t>(layer.shape.channels / synapse.groups);
  std::vector<uint32_t> counts(weights.taps() * channels, 0);
  for (size_t out = 0; out < static_cast<size_t>(layer.shape.channels); ++out) {
    const size_t firstIn = out / outPerGroup * weights.inPerGroup();
    for (size_t in = 0; in < weights.inPerGroup(); ++in) {
      for (size_t tap = 0; tap < weights.taps(); ++tap) {
        if (weights.at(out, in, tap) != 0) ++counts[tap * channels + firstIn + in];
      }
    }
  }
  return counts;
}

}  // namespace

void packWeights(const SynapseDescription& description, const Layer& layer, Synapse& synapse) {
  const int32_t inChannels = synapse.geometry.source.channels;
  if (!description.convolution) {
    synapse.diagonal.assign(layer.channelStride(), 1);
    synapse.fanout = Fanout(synapse.geometry, layer.shape, std::vector<uint32_t>(static_cast<size_t>(inChannels), 1));
    return;
  }
  const WeightView weights(description, inChannels);
  if (synapse.method == Method::gather) {
    synapse.format = formatOf(description.weight);
    packRows(weights, inChannels, layer, synapse);
  } else if (synapse.method == Method::dense || synapse.method == Method::counted) {
    packMatrix(weights, inChannels, layer, synapse);
  } else if (synapse.method == Method::depthwise) {
    packDiagonal(weights, layer, synapse);
  } else {
    packGroupRows(weights, inChannels, layer, synapse);
  }
  synapse.fanout = Fanout(synapse.geometry, layer.shape,
                          countNonZero(weights, static_cast<size_t>(inChannels), layer, synapse));
}

}  // namespace noisefloor
