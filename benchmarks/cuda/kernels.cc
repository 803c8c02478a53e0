// Where the time of a training on a GPU goes: a library that the CUDA driver loads and that, as the process ends, writes how long
// each kernel and copy took in its last seconds (PROFILE_SECONDS, 1.5). CUPTI comes with CUDA; the names of its records grow with
// CUDA's version, those below are of 13.0:
//   CUPTI=/usr/local/cuda/extras/CUPTI
//   RECORDS='-DKERNEL=CUpti_ActivityKernel10 -DMEMCPY=CUpti_ActivityMemcpy6'
//   g++ -std=c++17 -shared -fPIC -O2 $RECORDS -I$CUPTI/include benchmarks/cuda/kernels.cc -L$CUPTI/lib64 -lcupti -o kernels.so
//   CUDA_INJECTION64_PATH=$PWD/kernels.so PROFILE_OUT=kernels.txt npx noisefloor train --device cuda --limit 8000 --epochs 4 ...
#include <cupti.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

struct Activity {
  uint64_t start;
  uint64_t end;
  const std::string* name;
};

constexpr size_t bufferBytes = 8 << 20;
constexpr size_t longestName = 200;

std::mutex mutex;
std::map<std::string, int> names;
std::vector<Activity> activities;

void CUPTIAPI giveBuffer(uint8_t** buffer, size_t* size, size_t* mostRecords) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, bufferBytes));
  *size = bufferBytes;
  *mostRecords = 0;
}

void add(uint64_t start, uint64_t end, const char* name) { activities.push_back({start, end, &names.emplace(name, 0).first->first}); }

const char* copyName(uint8_t kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_MEMCPY_KIND_HTOD: return "copy to the device";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOH: return "copy from the device";
    default: return "copy within the device";
  }
}

void CUPTIAPI takeBuffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  const std::lock_guard<std::mutex> lock(mutex);
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      const auto* kernel = reinterpret_cast<const KERNEL*>(record);
      add(kernel->start, kernel->end, kernel->name);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
      const auto* copy = reinterpret_cast<const MEMCPY*>(record);
      add(copy->start, copy->end, copyName(copy->copyKind));
    }
  }
  std::free(buffer);
}

std::string readable(const std::string& name) {
  int status = 0;
  char* plain = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string whole = plain != nullptr ? plain : name;
  std::free(plain);
  return whole.substr(0, longestName);
}

void report() {
  cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  const std::lock_guard<std::mutex> lock(mutex);
  const char* path = std::getenv("PROFILE_OUT");
  std::FILE* file = path != nullptr ? std::fopen(path, "w") : nullptr;
  if (file == nullptr) {
    std::fprintf(stderr, "PROFILE_OUT names no file that can be written: no profile.\n");
    return;
  }
  const char* seconds = std::getenv("PROFILE_SECONDS");
  uint64_t last = 0;
  for (const Activity& a : activities) last = std::max(last, a.end);
  const uint64_t window = static_cast<uint64_t>((seconds != nullptr ? std::atof(seconds) : 1.5) * 1e9);
  std::map<std::string, std::pair<double, long>> sums;
  double busy = 0;
  for (const Activity& a : activities) {
    if (a.start + window < last) continue;
    auto& [time, count] = sums[readable(*a.name)];
    time += static_cast<double>(a.end - a.start) / 1e6;
    busy += static_cast<double>(a.end - a.start) / 1e6;
    ++count;
  }
  std::vector<std::pair<double, std::string>> order;
  for (const auto& [name, sum] : sums) order.push_back({sum.first, name});
  std::sort(order.rbegin(), order.rend());
  std::fprintf(file, "the last %.1f ms, of which the device worked %.1f\n", static_cast<double>(window) / 1e6, busy);
  for (const auto& [time, name] : order) std::fprintf(file, "%9.2f ms %5.1f %% %7ld times  %s\n", time, 100 * time / busy, sums[name].second, name.c_str());
  std::fclose(file);
}

}  // namespace

extern "C" int InitializeInjection() {
  cuptiActivityRegisterCallbacks(giveBuffer, takeBuffer);
  cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
  cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMCPY);
  std::atexit(report);
  return 1;
}
