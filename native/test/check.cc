#include "check.h"

#include <algorithm>
#include <exception>

namespace noisefloor::test {
namespace {

struct Case {
  std::string name;
  std::function<void()> body;
  bool supported;
};

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

size_t checks = 0;
size_t failures = 0;

}  // namespace

Registration::Registration(const char* name, void (*body)()) { cases().push_back({name, body, true}); }

Registration::Registration(const char* name, void (*body)(Isa)) {
  const std::vector<Isa>& supported = supportedIsas();
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::neon}) {
    const bool runs = std::find(supported.begin(), supported.end(), isa) != supported.end();
    cases().push_back({std::string(name) + " [" + isaName(isa) + "]", [body, isa] { body(isa); }, runs});
  }
}

void checked(bool passed, const char* file, int line, const std::string& what) {
  ++checks;
  if (passed) return;
  if (++failures <= 20) std::printf("  FAILED %s:%d: %s\n", file, line, what.c_str());
}

int runTests() {
  for (const Case& test : cases()) {
    if (!test.supported) {
      std::printf("skip %s: this processor lacks it\n", test.name.c_str());
      continue;
    }
    const size_t before = checks;
    const size_t failedBefore = failures;
    try {
      test.body();
    } catch (const std::exception& error) {
      checked(false, test.name.c_str(), 0, std::string("threw ") + error.what());
    }
    if (checks == before) checked(false, test.name.c_str(), 0, "checked nothing");
    std::printf("%s %s: %zu checks\n", failures == failedBefore ? "ok  " : "FAIL", test.name.c_str(), checks - before);
  }
  std::printf("%zu checks, %zu failed\n", checks, failures);
  return failures == 0 && checks > 0 ? 0 : 1;
}

}  // namespace noisefloor::test
