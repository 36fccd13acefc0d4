#pragma once
// The dropout mask of core/kernels.h, bit for bit as on the CPU. `row` is the full row: row_offset has been added.

#include "cuda/launch.cuh"
#include "cuda/ptx/warp.cuh"

namespace lowrank::cuda {

// The 16 random bytes of one row and a group of 16 columns; byte 2 * ((c % 64) / 8) + c % 2 belongs to column c.
struct MaskBytes {
  __device__ uint32_t operator[](int byte) const { return words[byte / 4] >> (byte % 4 * 8) & 0xff; }
  uint32_t words[4];
};

__device__ inline uint32_t dropout_group(int64_t column) { return uint32_t(column / 64 * 4 + column % 8 / 2); }
__device__ inline int dropout_byte_of(int64_t column) { return int(2 * (column % 64 / 8) + column % 2); }

__device__ inline MaskBytes mask_bytes(const Dropout& d, uint32_t row, uint32_t group) {
  uint32_t c0 = group, c1 = row, c2 = d.site, c3 = d.step;
  uint32_t k0 = uint32_t(d.seed), k1 = uint32_t(d.seed >> 32);
#pragma unroll
  for (int round = 0; round < 7; ++round) {
    const uint32_t low0 = c0 * 0xD2511F53u, high0 = __umulhi(c0, 0xD2511F53u);
    const uint32_t low1 = c2 * 0xCD9E8D57u, high1 = __umulhi(c2, 0xCD9E8D57u);
    c0 = high1 ^ c1 ^ k0;
    c2 = high0 ^ c3 ^ k1;
    c1 = low1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Of the four groups that share 64 columns, to four neighbouring lanes at once: lane j of the quad gets the bytes of
// columns 64 * block + 16 j to + 15, byte quad_byte_of(k) for the k-th. Each lane runs Philox for one group, then word
// i of lane l goes to word l of lane i. The whole warp calls it.
__device__ inline int quad_byte_of(int k) { return k % 8 / 2 * 4 + k / 8 * 2 + k % 2; }
__device__ inline MaskBytes quad_mask_bytes(const Dropout& d, uint32_t row, uint32_t block) {
  const int lane = int(threadIdx.x) % 4;
  MaskBytes bytes = mask_bytes(d, row, block * 4 + uint32_t(lane));
  const auto exchange = [](bool upper, uint32_t& low, uint32_t& high, int distance) {
    const uint32_t got = ptx::shuffle_xor(upper ? low : high, distance);
    (upper ? low : high) = got;
  };
  uint32_t(&w)[4] = bytes.words;
  exchange(lane & 1, w[0], w[1], 1);
  exchange(lane & 1, w[2], w[3], 1);
  exchange(lane & 2, w[0], w[2], 2);
  exchange(lane & 2, w[1], w[3], 2);
  return bytes;
}

// Of one element; whole groups are cheaper.
__device__ inline bool is_kept(const Dropout& d, uint32_t row, int64_t column) {
  const MaskBytes bytes = mask_bytes(d, row, dropout_group(column));
  return int(bytes[dropout_byte_of(column)]) < d.keep;
}

// Of the N columns from `column` on, a multiple of N: bit k says whether column + k is kept. N: 1, 2, 4 or 8.
template <int N>
__device__ uint32_t kept_bits(const Dropout& d, uint32_t row, int64_t column) {
  const int eighth = int(column % 64 / 8);  // bytes 2 * eighth and 2 * eighth + 1 of each group belong to it
  uint32_t kept = 0;
#pragma unroll
  for (int k = 0; k < N; k += 2) {
    const MaskBytes bytes = mask_bytes(d, row, dropout_group(column + k));
    const uint32_t low = eighth & 2 ? bytes.words[1] : bytes.words[0];
    const uint32_t high = eighth & 2 ? bytes.words[3] : bytes.words[2];
    const uint32_t pair = (eighth & 4 ? high : low) >> (eighth % 2 * 16 + (N == 1 ? column % 2 * 8 : 0));
    kept |= uint32_t(int(pair & 0xff) < d.keep) << k;
    if (N > 1) kept |= uint32_t(int(pair >> 8 & 0xff) < d.keep) << (k + 1);
  }
  return kept;
}

}  // namespace lowrank::cuda
