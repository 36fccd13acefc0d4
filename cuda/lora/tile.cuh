#pragma once
// What the passes over z on tensor cores share: staging of tiles, masks in registers, products in two parts.

#include "cuda/lora/cast.cuh"
#include "cuda/philox.cuh"
#include "cuda/ptx.cuh"

namespace lowrank::cuda::lora {

constexpr int LINE = 64;  // elements of one line of a tile: those of the dropout's four groups of 16
constexpr int LINE_BYTES = 128;

// Where 16-byte part `part` of a line of `Parts` parts lies in a tile of such lines, so that the same part of eight
// neighbouring lines falls into eight different groups of banks, and ldmatrix reads them at once.
template <int Parts = 8>
__device__ inline uint32_t place(int line, int part) {
  const int turn = line / (8 / Parts) % Parts;
  return uint32_t(line * Parts * 16 + ((part ^ turn) << 4));
}

// Eight elements of z [rows, columns] at (row, column), zeros outside. `wide`: lines begin at multiples of 16 bytes.
template <typename T>
__device__ void stage(unsigned char* to, const T* z, int64_t row, int64_t column, int64_t rows, int64_t columns,
                      bool wide) {
  const int valid = row < rows && column < columns ? int(columns - column < 8 ? columns - column : 8) : 0;
  const T* from = valid > 0 ? z + row * columns + column : z;
  if (wide) {
    ptx::cp_async<16>(ptx::shared_address(to), from, valid * int(sizeof(T)));
  } else {
    Pack<T, 8> pack;
#pragma unroll
    for (int k = 0; k < 8; ++k) pack.lane[k] = k < valid ? from[k] : T(0.0f);
    store(reinterpret_cast<T*>(to), pack);
  }
}

// Which adapter the columns of the rank from `column` on belong to.
__device__ inline int site_of(const Sites& sites, int column) {
  int site = 0;
  while (site + 1 < sites.count && column >= sites.end[site]) ++site;
  return site;
}

// Eight elements of a factor as they are stored, `step` apart; zeros after `valid` of them.
template <typename S>
__device__ inline void read_lanes(Pack<float, 8>& values, const S* from, int step, int valid) {
#pragma unroll
  for (int k = 0; k < 8; ++k) values.lane[k] = k < valid ? float(from[k * step]) : 0.0f;
}
__device__ inline void read_factor(Pack<float, 8>& values, const void* data, DType type, int64_t at, int step,
                                   int valid) {
  const auto* from = static_cast<const float*>(data) + at;
  if (type == DType::F32 && step == 1 && valid == 8 && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
    const auto low = load<4>(from), high = load<4>(from + 4);
#pragma unroll
    for (int k = 0; k < 4; ++k) values.lane[k] = low.lane[k], values.lane[4 + k] = high.lane[k];
  } else if (type == DType::F32) {
    read_lanes(values, from, step, valid);
  } else if (type == DType::BF16) {
    read_lanes(values, static_cast<const __nv_bfloat16*>(data) + at, step, valid);
  } else {
    read_lanes(values, static_cast<const __half*>(data) + at, step, valid);
  }
}

// Eight elements of factors side by side, from (c, column j) on, along c or along j, into shared memory: rounded to
// bf16 at `to`, what that leaves at `low` where there is one. Zeros from c = `end` on, and past an adapter's own rank.
template <bool AlongC>
__device__ void stage_factor(unsigned char* to, unsigned char* low, const Factor& f, const Sites& sites, int64_t c,
                             int j, int64_t end) {
  Pack<float, 8> values = {};
  if (c < end && j < sites.end[sites.count - 1]) {
    const int site = site_of(sites, j), own = j - (site ? sites.end[site - 1] : 0);
    const int64_t left = AlongC ? end - c : int64_t(f.rank[site]) - own;
    const int valid = AlongC && own >= f.rank[site] ? 0 : int(left < 8 ? left : 8);
    read_factor(values, f.data[site], f.type[site], c * f.stride_c + int64_t(own) * f.stride_j,
                AlongC ? f.stride_c : f.stride_j, valid);
  }
  Pack<__nv_bfloat16, 8> high, rest;
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    high.lane[k] = __nv_bfloat16(values.lane[k]);
    rest.lane[k] = __nv_bfloat16(values.lane[k] - float(high.lane[k]));
  }
  store(reinterpret_cast<__nv_bfloat16*>(to), high);
  if (low) store(reinterpret_cast<__nv_bfloat16*>(low), rest);
}

// Whether the columns of z may be read in packs of eight.
inline bool is_wide(const View& z) { return aligned(z) && z.cols() % 8 == 0; }

// The mask of a lane's share of 64 columns of one row: word k has a byte 0xff or 0 for columns 16 k + 2 t, + 1, + 8,
// + 9, which is what the lane holds of the k-th 16 columns as operand a of mma.
struct KeptWords {
  __device__ uint32_t pair(int k, int half) const { return __byte_perm(word[k], 0, half ? 0x3322 : 0x1100); }
  uint32_t word[4];
};
__device__ inline KeptWords kept_words(const Dropout& d, int64_t row, int64_t column, int t) {
  KeptWords kept = {{~0u, ~0u, ~0u, ~0u}};
  if (d.keep >= 256) return kept;
  const MaskBytes bytes = mask_bytes(d, uint32_t(d.row_offset + row), uint32_t(column / 16 + t));
#pragma unroll
  for (int k = 0; k < 4; ++k) kept.word[k] = __vcmpltu4(bytes.words[k], uint32_t(d.keep) * 0x01010101u);
  return kept;
}

// Operand a: two rows of four packed pairs (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8).
__device__ inline void mask_operand(uint32_t (&a)[4], const KeptWords& row, const KeptWords& row8, int k) {
  a[0] &= row.pair(k, 0);
  a[1] &= row8.pair(k, 0);
  a[2] &= row.pair(k, 1);
  a[3] &= row8.pair(k, 1);
}

// z as operand a in bf16. f16 has 11 bits, bf16 8: two parts hold them without a loss.
template <typename T>
struct Parts;
template <>
struct Parts<__nv_bfloat16> {
  __device__ explicit Parts(const uint32_t (&a)[4]) : high{a[0], a[1], a[2], a[3]} {}
  __device__ void multiply(float (&d)[4], const uint32_t (&b)[2]) const { ptx::mma<__nv_bfloat16>(d, high, b); }
  __device__ void multiply_low(float (&d)[4], const uint32_t (&b)[2]) const { multiply(d, b); }
  uint32_t high[4];
};
template <>
struct Parts<__half> {
  __device__ explicit Parts(const uint32_t (&a)[4]) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const auto z = reinterpret_cast<const Pack<__half, 2>&>(a[k]);
      const float x = float(z.lane[0]), y = float(z.lane[1]);
      const __nv_bfloat162 near = __floats2bfloat162_rn(x, y);
      const __nv_bfloat162 rest = __floats2bfloat162_rn(x - float(near.x), y - float(near.y));
      high[k] = reinterpret_cast<const uint32_t&>(near);
      low[k] = reinterpret_cast<const uint32_t&>(rest);
    }
  }
  __device__ void multiply(float (&d)[4], const uint32_t (&b)[2]) const {
    ptx::mma<__nv_bfloat16>(d, high, b);
    ptx::mma<__nv_bfloat16>(d, low, b);
  }
  __device__ void multiply_low(float (&d)[4], const uint32_t (&b)[2]) const { ptx::mma<__nv_bfloat16>(d, high, b); }
  uint32_t high[4], low[4];
};

}  // namespace lowrank::cuda::lora
