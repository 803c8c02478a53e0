#pragma once
#include "dense.h"
#include "fire.h"
#include "gather.h"
#include "spikes.h"

// Included by the kernels themselves: no standard library here, so that no inline function of it is compiled with
// instructions that the machine may lack.
namespace noisefloor {

#define NF_DECLARE_scalar(name, type) type name##__scalar;
#define NF_DECLARE_avx2(name, type) type name##__avx2;
#define NF_DECLARE_avx512(name, type) type name##__avx512;
#define NF_DECLARE_neon(name, type) type name##__neon;
#define NF_KERNEL(name, type, scalar, avx2, avx512, neon)                                          \
  NF_DECLARE_scalar(name, type) NF_DECLARE_##avx2(name, type) NF_DECLARE_##avx512(name, type) \
  NF_DECLARE_##neon(name, type)
#include "kernels.inc"
#undef NF_KERNEL

/// One instruction set's version of every kernel.
struct Kernels {
#define NF_KERNEL(name, type, scalar, avx2, avx512, neon) type* name;
#include "kernels.inc"
#undef NF_KERNEL
};

}  // namespace noisefloor
