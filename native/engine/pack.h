#pragma once
#include "plan.h"

namespace noisefloor {

/// Lays the weights of `description` out as its method wants them, and counts the non-zero ones per input.
void packWeights(const SynapseDescription& description, const Layer& layer, Synapse& synapse);

}  // namespace noisefloor
