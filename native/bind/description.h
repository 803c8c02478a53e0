#pragma once
#include <napi.h>

#include "../engine/description.h"

namespace noisefloor::bind {

/// Copies NativeModel of src/native.ts. Throws INVALID_ARGUMENT for a field of the wrong type; what the values mean is
/// checked by validate().
ModelDescription readDescription(Napi::Value value);

}  // namespace noisefloor::bind
