#pragma once
// Philox4x32-7 over 16 column groups at once, in loops that the compiler turns into vectors. No standard headers and
// internal linkage, so that every instruction set's object may have its own.
#include <stdint.h>

namespace lowrank::cpu {

// What a dropout mask depends on besides row and column.
struct DropoutKey {
  uint32_t key0, key1;  // seed, low and high
  uint32_t site, step;
  uint32_t keep;  // an element is kept where byte < keep
};

namespace {

// words[w][lane] is word w of the group first + lane, of this row.
[[maybe_unused]] inline void philox_lanes(const DropoutKey& key, uint32_t row, uint32_t first,
                                          uint32_t (&words)[4][16]) {
  uint32_t k0 = key.key0, k1 = key.key1;
  for (uint32_t i = 0; i < 16; ++i) {
    words[0][i] = first + i;
    words[1][i] = row;
    words[2][i] = key.site;
    words[3][i] = key.step;
  }
  for (int round = 0; round < 7; ++round) {
    for (int i = 0; i < 16; ++i) {
      const uint64_t p0 = uint64_t(words[0][i]) * 0xD2511F53u;
      const uint64_t p1 = uint64_t(words[2][i]) * 0xCD9E8D57u;
      const uint32_t x0 = uint32_t(p1 >> 32) ^ words[1][i] ^ k0;
      const uint32_t x2 = uint32_t(p0 >> 32) ^ words[3][i] ^ k1;
      words[0][i] = x0;
      words[1][i] = uint32_t(p1);
      words[2][i] = x2;
      words[3][i] = uint32_t(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// The 256 dropout bytes of columns [256 * block, 256 * (block + 1)), in column order.
[[maybe_unused]] inline void dropout_bytes(const DropoutKey& key, uint32_t row, uint32_t block, uint8_t (&out)[256]) {
  uint32_t words[4][16];
  philox_lanes(key, row, block * 16, words);
  for (int lane = 0; lane < 16; ++lane)  // 4 groups for each 64 columns
    for (int w = 0; w < 4; ++w) {
      uint8_t* at = out + lane / 4 * 64 + w * 16 + lane % 4 * 2;
      const uint32_t v = words[w][lane];
      at[0] = uint8_t(v);
      at[1] = uint8_t(v >> 8);
      at[8] = uint8_t(v >> 16);
      at[9] = uint8_t(v >> 24);
    }
}

}  // namespace
}  // namespace lowrank::cpu
