#pragma once
#include <cstdint>

// The arithmetic of sampling in whole numbers, so that every backend draws the same token: weights are fixed-point,
// their sums exact in any order.
namespace lowrank::sampling {

constexpr uint64_t WHOLE = uint64_t(1) << 40;  // weight of the largest logit

// An order of f32 by its bits: larger logits have larger keys, both zeros the same, NaN the least.
constexpr uint32_t key_of(uint32_t bits) {
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0;
  if (bits == 0x80000000u) bits = 0;
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
constexpr uint32_t bits_of(uint32_t key) { return key >> 31 ? key & 0x7fffffffu : ~key; }

// 2^-f in units of 2^-30, for f in units of 2^-24, by the series of exp(-f ln 2).
constexpr uint64_t power(uint32_t f) {
  constexpr uint64_t ONE = uint64_t(1) << 30, LN2 = 744261118;
  const uint64_t x = f * LN2 >> 24;
  uint64_t sum = ONE;
  for (unsigned k = 10; k > 0; --k) sum = ONE - (x * sum >> 30) / k;
  return sum;
}

// WHOLE * 2^-distance, where distance = (largest logit - logit) log2(e) / temperature. From 40 on it is 0.
constexpr uint64_t weight(float distance) {
  if (!(distance < 40)) return 0;
  const auto fixed = uint32_t(distance * 16777216.0f);
  return power(fixed & 0xffffffu) << 10 >> (fixed >> 24);
}

// floor(total * q / 2^32), for q up to 2^32 and total below 2^63.
constexpr uint64_t share(uint64_t total, uint64_t q) { return (total >> 32) * q + ((total & 0xffffffffu) * q >> 32); }

// The sum of weights that a nucleus of probability p has to reach, at least 1.
constexpr uint64_t nucleus(uint64_t total, double p) {
  const uint64_t part = share(total, uint64_t(p * 4294967296.0));
  return part > 0 ? part : 1;
}

}  // namespace lowrank::sampling
