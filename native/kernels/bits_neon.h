#pragma once
#include <arm_neon.h>
#include <stdint.h>

namespace noisefloor {
namespace {

/// 32 bits, from bit 32 * half on, of 4 consecutive words.
inline uint32x4_t bits4(const uint8_t* words, uint32_t) {
  uint32_t four;
  __builtin_memcpy(&four, words, sizeof four);
  return vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
}
inline uint32x4_t bits4(const uint16_t* words, uint32_t) { return vmovl_u16(vld1_u16(words)); }
inline uint32x4_t bits4(const uint32_t* words, uint32_t) { return vld1q_u32(words); }
inline uint32x4_t bits4(const uint64_t* words, uint32_t half) {
  const uint32x4_t a = vreinterpretq_u32_u64(vld1q_u64(words));
  const uint32x4_t b = vreinterpretq_u32_u64(vld1q_u64(words + 2));
  return half == 0 ? vuzp1q_u32(a, b) : vuzp2q_u32(a, b);
}

}  // namespace
}  // namespace noisefloor
