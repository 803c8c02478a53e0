// The gather kernels alone, on the shapes of a text file: synaptic operations a second, and the bytes of weights they read
// as a share of what one core can load from its first-level cache.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <string>

#include "../engine/chunk.h"

using namespace noisefloor;

namespace {

std::mt19937 random_(1);

/// A line of a shapes file: `name inChannels outChannels kernel width activity`; activity is the mean number of spikes of
/// an input in T = 4 steps, as trained networks have it.
struct KernelShape {
  std::string name;
  uint32_t in, out, kernel, width;
  double activity;
};

std::vector<KernelShape> readShapes(const char* path) {
  std::ifstream file(path);
  std::vector<KernelShape> shapes;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    KernelShape s;
    if (line.empty() || line[0] == '#') continue;
    if (fields >> s.name >> s.in >> s.out >> s.kernel >> s.width >> s.activity) shapes.push_back(s);
  }
  return shapes;
}

/// Least seconds of some repeats.
template <typename Body>
double leastSeconds(const Body& body) {
  double least = 1e9;
  for (int i = 0; i < 30; ++i) {
    const auto began = std::chrono::steady_clock::now();
    body();
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  return least;
}

constexpr uint32_t steps = 4;

/// Bytes a second that the gather itself loads when all its rows lie in 8 KiB and its lists are long: the measured limit
/// that the share refers to.
double loadBandwidth(GatherFn* kernel) {
  constexpr uint32_t rows = 128, length = 252, repeats = 2000;
  Buffer<uint8_t> weights(rows * 64);
  std::fill_n(weights.data(), rows * 64, uint8_t{1});
  std::vector<uint32_t> indices;
  for (uint32_t i = 0; i < length; ++i) indices.push_back(indexUnit * (i % rows));
  indices.resize(indices.size() + listSlack);
  const uint32_t starts[] = {0, length};
  const Segment segment = {starts, 1, 0, 0};
  const uint32_t end = 1;
  const Fields fields = {indices.data(), &segment, &end, 0, 1, 0};
  const StepPair pair = {0, 0, 0};
  std::vector<int32_t> out(64);
  const double seconds = leastSeconds([&] {
    for (uint32_t i = 0; i < repeats; ++i) kernel(weights.data(), fields, &pair, 1, 64, false, out.data());
  });
  return 64.0 * length * repeats / seconds;
}

/// One row of output positions, all blocks of channels, lists merged once: as the engine does it.
void measure(const KernelShape& shape, GatherFn* kernel, double bandwidth) {
  const Kernels& merging = kernelsOf(supportedIsas().back());
  const StepLists lists = stepLists(steps);
  const uint32_t stride = roundedChannels(static_cast<int32_t>(shape.in));
  const uint32_t width = shape.out <= 32 ? 32 : 64;
  const uint32_t blocks = (shape.out + width - 1) / width;
  std::bernoulli_distribution spikes(shape.activity / steps);
  std::vector<uint8_t> words(shape.kernel * shape.width * stride, 0);
  for (size_t i = 0; i < words.size(); ++i) {
    for (uint32_t t = 0; t < steps && i % stride < shape.in; ++t) words[i] = static_cast<uint8_t>(words[i] | spikes(random_) << t);
  }
  std::vector<ListedCell> cells;
  for (uint32_t ky = 0; ky < shape.kernel; ++ky) {
    for (uint32_t c = 0; c < stride; c += cellWords) {
      cells.push_back({words.data() + ky * shape.width * stride + c, indexUnit * (ky * stride + c), std::min(cellWords, stride - c)});
    }
  }
  const size_t rowBytes = width, columnRows = shape.kernel * stride, blockBytes = shape.kernel * columnRows * rowBytes;
  Buffer<uint8_t> weights(blockBytes * blocks);
  for (size_t i = 0; i < blockBytes * blocks; ++i) weights[i] = static_cast<uint8_t>(random_());
  std::vector<uint32_t> merged(words.size() * steps + listSlack);
  std::vector<uint32_t> starts(lists.listCount * (shape.width + 1));
  constexpr uint32_t span = 16;
  std::vector<int32_t> out(span * steps * width);
  const uint32_t inside = shape.width - shape.kernel + 1;
  std::vector<Segment> segments;
  std::vector<uint32_t> ends;
  for (uint32_t x = 0; x < inside; ++x) {
    segments.push_back({starts.data() + x, shape.kernel, shape.width + 1, -static_cast<int64_t>(x * columnRows)});
    ends.push_back(x + 1);
  }
  const auto merge = [&] {
    starts[0] = 0;
    merging.mergeWords_u8(cells.data(), static_cast<uint32_t>(cells.size()), shape.width, stride, lists.rules, lists.listCount,
                          indexUnit * (shape.kernel - 1) * stride, merged.data(), starts.data());
  };
  const auto gather = [&] {
    for (uint32_t block = 0; block < blocks; ++block) {
      for (uint32_t x = 0; x < inside; x += span) {
        const Fields fields = {merged.data(), segments.data(), ends.data() + x, x, std::min(span, inside - x), steps * width};
        kernel(weights.data() + block * blockBytes, fields, lists.pairs, lists.pairCount, width, false, out.data());
      }
    }
  };
  merge();
  double operations = 0;
  double loaded = 0;
  for (uint32_t x = 0; x < inside; ++x) {
    for (uint32_t l = 0; l < lists.listCount; ++l) {
      const uint32_t* bounds = starts.data() + l * (shape.width + 1) + x;
      const double count = bounds[shape.kernel] - bounds[0];
      loaded += count * static_cast<double>(rowBytes * blocks);
      operations += count * shape.out * __builtin_popcountll(lists.rules[l].value);
    }
  }
  const double seconds = leastSeconds(gather);
  std::printf("%-24s %8.1f G ops/s %6.0f %% of load bandwidth\n", shape.name.c_str(), operations / seconds / 1e9,
              100 * loaded / seconds / bandwidth);
}

}  // namespace

/// bench_kernels SHAPES: every instruction set of this machine, rows of int8 whatever their weights and rows of 7 bits.
int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: bench_kernels SHAPES\n");
    return 2;
  }
  for (Isa isa : supportedIsas()) {
    const Kernels& kernels = kernelsOf(isa);
    for (GatherFn* kernel : {kernels.gather_i8, kernels.gather_i7}) {
      const double bandwidth = loadBandwidth(kernel);
      const char* bits = kernel == kernels.gather_i7 ? "7" : "8";
      std::printf("%s: rows of %s bits, T=%u, one thread; rows in the first-level cache: %.0f GB/s\n", isaName(isa), bits, steps, bandwidth / 1e9);
      for (const KernelShape& shape : readShapes(argv[1])) measure(shape, kernel, bandwidth);
    }
  }
  return 0;
}
