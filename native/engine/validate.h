#pragma once
#include "description.h"

namespace noisefloor {

/// Throws EngineError INVALID_ARGUMENT unless the engine can run the description without leaving any array.
void validate(const ModelDescription& model);

}  // namespace noisefloor
