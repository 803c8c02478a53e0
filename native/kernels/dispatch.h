#pragma once
#include <string>
#include <vector>

#include "kernels.h"

namespace noisefloor {

enum class Isa { scalar, avx2, avx512, neon };

const char* isaName(Isa isa);

/// All names, for messages: "scalar, avx2, avx512, neon".
std::string isaNames();

/// What this processor and this build can run, slowest first.
const std::vector<Isa>& supportedIsas();

/// The fastest supported one, or the one that NOISEFLOOR_ISA names (read at each call, so that a test may set it).
/// Throws EngineError INVALID_ARGUMENT for a name that is unknown or not supported here.
Isa defaultIsa();

/// Throws EngineError INVALID_ARGUMENT for a name that is unknown or not supported here. `what` names its origin.
Isa parseIsa(const std::string& name, const std::string& what);

const Kernels& kernelsOf(Isa isa);

}  // namespace noisefloor
