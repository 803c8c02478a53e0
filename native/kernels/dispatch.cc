#include "dispatch.h"

#include <cstdint>
#include <cstdlib>

#include "../engine/error.h"

#if NOISEFLOOR_X86
#include <cpuid.h>
#endif

namespace noisefloor {
namespace {

constexpr Isa allIsas[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::neon};

#if NOISEFLOOR_X86
uint64_t enabledStates() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool allSet(uint64_t value, uint64_t mask) { return (value & mask) == mask; }

std::vector<Isa> detect() {
  std::vector<Isa> found = {Isa::scalar};
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  constexpr uint32_t osxsave = 1U << 27, avx = 1U << 28, popcnt = 1U << 23;
  if (!allSet(c, osxsave | avx | popcnt)) return found;
  // The operating system must save the wide registers too: XMM and YMM, then opmask and both halves of ZMM.
  const uint64_t states = enabledStates();
  if (!allSet(states, 0x6) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  constexpr uint32_t avx2 = 1U << 5;
  if (!allSet(b, avx2)) return found;
  found.push_back(Isa::avx2);
  constexpr uint32_t f = 1U << 16, dq = 1U << 17, bw = 1U << 30, vl = 1U << 31;
  // Of the second generation: Ice Lake and Zen 4 on. The first one runs the AVX2 kernels.
  constexpr uint32_t vbmi2 = 1U << 6;
  if (allSet(b, f | dq | bw | vl) && allSet(c, vbmi2) && allSet(states, 0xe6)) found.push_back(Isa::avx512);
  return found;
}
#elif NOISEFLOOR_ARM64
// Every arm64 processor has NEON.
std::vector<Isa> detect() { return {Isa::scalar, Isa::neon}; }
#else
std::vector<Isa> detect() { return {Isa::scalar}; }
#endif

std::string join(const std::vector<Isa>& isas) {
  std::string text;
  for (Isa isa : isas) text += (text.empty() ? "" : ", ") + std::string(isaName(isa));
  return text;
}

}  // namespace

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::scalar: return "scalar";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::neon: return "neon";
  }
  return "?";
}

std::string isaNames() { return join({std::begin(allIsas), std::end(allIsas)}); }

const std::vector<Isa>& supportedIsas() {
  static const std::vector<Isa> supported = detect();
  return supported;
}

Isa parseIsa(const std::string& name, const std::string& what) {
  for (Isa isa : allIsas) {
    if (name != isaName(isa)) continue;
    for (Isa supported : supportedIsas()) {
      if (supported == isa) return isa;
    }
    throw EngineError(ErrorCode::invalidArgument, "This machine cannot run the instruction set \"" + name + "\" of " +
                                                      what + ". Should be one of: " + join(supportedIsas()) + ".");
  }
  throw EngineError(ErrorCode::invalidArgument, "Unknown instruction set \"" + name + "\" of " + what +
                                                    ". Should be one of: " + isaNames() + ".");
}

Isa defaultIsa() {
  const char* forced = std::getenv("NOISEFLOOR_ISA");
  if (forced != nullptr) return parseIsa(forced, "NOISEFLOOR_ISA");
  return supportedIsas().back();
}

const Kernels& kernelsOf(Isa isa) {
#define NF_KERNEL(name, type, scalar, avx2, avx512, neon) name##__##scalar,
  static constexpr Kernels scalarKernels = {
#include "kernels.inc"
  };
#undef NF_KERNEL
#if NOISEFLOOR_X86
#define NF_KERNEL(name, type, scalar, avx2, avx512, neon) name##__##avx2,
  static constexpr Kernels avx2Kernels = {
#include "kernels.inc"
  };
#undef NF_KERNEL
#define NF_KERNEL(name, type, scalar, avx2, avx512, neon) name##__##avx512,
  static constexpr Kernels avx512Kernels = {
#include "kernels.inc"
  };
#undef NF_KERNEL
  if (isa == Isa::avx512) return avx512Kernels;
  if (isa == Isa::avx2) return avx2Kernels;
#elif NOISEFLOOR_ARM64
#define NF_KERNEL(name, type, scalar, avx2, avx512, neon) name##__##neon,
  static constexpr Kernels neonKernels = {
#include "kernels.inc"
  };
#undef NF_KERNEL
  if (isa == Isa::neon) return neonKernels;
#endif
  (void)isa;
  return scalarKernels;
}

}  // namespace noisefloor
