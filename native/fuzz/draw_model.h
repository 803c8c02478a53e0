#pragma once
#include <fuzzer/FuzzedDataProvider.h>

#include "../engine/description.h"

namespace noisefloor::fuzz {

/// A small model out of arbitrary bytes: most are as a valid file has them, some with fields or array lengths that no valid
/// file has. Few bytes make a whole model, since weights are drawn from a seed among them.
ModelDescription drawModel(FuzzedDataProvider& data);

}  // namespace noisefloor::fuzz
