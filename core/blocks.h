#pragma once
// Frozen weights in the blocks of GGUF files, as ggml defines them: rows are cut into blocks of 32 or, for the K kinds,
// 256 elements, whose scales are f16. In all of them 16 elements in a row share a scale and what is subtracted:
//   w[j] = scale * q[j] - minus,  q[j] a whole number
// The product is exact in f32, having at most 24 bits, so the difference alone is rounded, fused or not.
// Functions are static: the objects of each instruction set have their own (cpu/vector/rows.h).

#include "core/dtype.h"

namespace lowrank {

constexpr int BLOCK_RUN = 16;  // elements that share a scale

struct BlockFormat {
  int64_t elements, bytes;
  int64_t scales[2];  // where its f16 numbers lie, in bytes; the second is -1 where there is one
};

static constexpr BlockFormat block_format(DType dtype) {
  switch (dtype) {
    case DType::Q4_0: return {32, 18, {0, -1}};
    case DType::Q4_1: return {32, 20, {0, 2}};
    case DType::Q5_0: return {32, 22, {0, -1}};
    case DType::Q5_1: return {32, 24, {0, 2}};
    case DType::Q8_0: return {32, 34, {0, -1}};
    case DType::Q2_K: return {256, 84, {80, 82}};
    case DType::Q3_K: return {256, 110, {108, -1}};
    case DType::Q4_K: return {256, 144, {0, 2}};
    case DType::Q5_K: return {256, 176, {0, 2}};
    case DType::Q6_K: return {256, 210, {208, -1}};
    default: return {1, 0, {-1, -1}};
  }
}

// 16 elements of a block.
struct BlockRun {
  constexpr float operator[](int j) const {
    int q = low[j] >> low_shift & low_mask;
    q |= high ? (high[j] >> high_shift & high_mask) << high_place : int(bits >> j & 1) << 4;
    return scale * float((q ^ flip) - zero) - minus;
  }

  float scale = 0, minus = 0;
  const uint8_t* low = nullptr;  // a byte an element: q = its lowest bits …
  int low_shift = 0, low_mask = 15;
  const uint8_t* high = nullptr;  // … and its highest, where they lie apart, a byte an element …
  int high_shift = 0, high_mask = 0, high_place = 4;
  uint32_t bits = 0;  // … or one bit an element, the fifth
  int flip = 0, zero = 0;
};

// The f16 numbers of a block; 0 for one that is not there.
struct BlockScales {
  float first, second;
};

namespace blocks {

// Without a branch: the scales of small weights are on both sides of the least normal number.
static constexpr float f16_at(const uint8_t* at) {
  const uint32_t half = uint32_t(at[0]) | uint32_t(at[1]) << 8, sign = half >> 15 << 31;
  const uint32_t exponent = half >> 10 & 31, fraction = (half & 1023) << 13;
  const float below = __builtin_bit_cast(float, 113u << 23 | fraction) - 0x1p-14f;
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  const uint32_t size = exponent == 0 ? __builtin_bit_cast(uint32_t, below) : wide << 23 | fraction;
  return __builtin_bit_cast(float, sign | size);
}

// The nth byte of a block as a number of 8 bits with a sign.
static constexpr float signed_at(const uint8_t* at) { return float((int(*at) ^ 128) - 128); }

struct ScaleAndMinus {
  int scale, minus;
};

// Of the 32 elements `group` of a Q4_K or Q5_K block: 6 bits each, in 12 bytes for 8 groups.
static constexpr ScaleAndMinus packed_scales(const uint8_t* from, int group) {
  if (group < 4) return {from[group] & 63, from[group + 4] & 63};
  const int shared = from[group + 4];
  return {(shared & 15) | (from[group - 4] >> 2 & 48), shared >> 4 | (from[group] >> 2 & 48)};
}

static constexpr void nibbles(BlockRun& run, const uint8_t* from, int index) {
  run.low = from, run.low_shift = 4 * index;
}

// Q4_1 and Q5_1 have a least value, the others a zero in the middle.
static constexpr BlockRun legacy(const uint8_t* block, BlockScales f16, int index, bool has_least, bool has_fifth,
                                 int zero) {
  BlockRun run;
  const uint8_t* at = block + (has_least ? 4 : 2);
  run.scale = f16.first, run.minus = has_least ? -f16.second : 0.0f, run.zero = zero;
  if (has_fifth) run.bits = uint32_t(at[2 * index]) | uint32_t(at[2 * index + 1]) << 8;
  nibbles(run, at + (has_fifth ? 4 : 0), index);
  return run;
}

static constexpr BlockRun q8_0(const uint8_t* block, BlockScales f16, int index) {
  BlockRun run;
  run.scale = f16.first, run.low = block + 2 + BLOCK_RUN * index, run.low_mask = 255, run.flip = run.zero = 128;
  return run;
}

static constexpr void two_bits(BlockRun& run, const uint8_t* codes, int index) {
  run.low = codes + 32 * (index / 8) + BLOCK_RUN * (index % 2), run.low_shift = index % 8 / 2 * 2, run.low_mask = 3;
}

static constexpr BlockRun q2_k(const uint8_t* block, BlockScales f16, int index) {
  BlockRun run;
  run.scale = f16.first * float(block[index] & 15), run.minus = f16.second * float(block[index] >> 4);
  two_bits(run, block + 16, index);
  return run;
}

static constexpr BlockRun q3_k(const uint8_t* block, BlockScales f16, int index) {
  BlockRun run;
  const uint8_t* scales = block + 96;
  const int low = scales[index % 8] >> index / 8 * 4 & 15, high = scales[8 + index % 4] >> index / 4 * 2 & 3;
  run.scale = f16.first * float((low | high << 4) - 32), run.zero = 4;
  two_bits(run, block + 32, index);
  run.high = block + BLOCK_RUN * (index % 2), run.high_shift = index / 2, run.high_mask = 1, run.high_place = 2;
  return run;
}

static constexpr BlockRun q4_or_q5_k(const uint8_t* block, BlockScales f16, int index, bool has_fifth) {
  BlockRun run;
  const int group = index / 2, half = BLOCK_RUN * (index % 2);
  const ScaleAndMinus packed = packed_scales(block + 4, group);
  run.scale = f16.first * float(packed.scale), run.minus = f16.second * float(packed.minus);
  nibbles(run, block + (has_fifth ? 48 : 16) + 32 * (group / 2) + half, group % 2);
  if (has_fifth) run.high = block + 16 + half, run.high_shift = group, run.high_mask = 1;
  return run;
}

static constexpr BlockRun q6_k(const uint8_t* block, BlockScales f16, int index) {
  BlockRun run;
  const int part = index / 8, within = index % 8;
  run.scale = f16.first * signed_at(block + 192 + index), run.zero = 32;
  nibbles(run, block + 64 * part + BLOCK_RUN * (within % 4), within / 4);
  run.high = block + 128 + 32 * part + BLOCK_RUN * (within % 2), run.high_shift = within / 2 * 2, run.high_mask = 3;
  return run;
}

}  // namespace blocks

static constexpr BlockScales block_scales(const uint8_t* block, const BlockFormat& format) {
  const int64_t second = format.scales[1];
  return {blocks::f16_at(block + format.scales[0]), second < 0 ? 0.0f : blocks::f16_at(block + second)};
}

// The 16 elements `index` of a block with these scales.
template <DType Format>
static constexpr BlockRun block_run(const uint8_t* block, BlockScales f16, int index) {
  if constexpr (Format == DType::Q4_0) return blocks::legacy(block, f16, index, false, false, 8);
  else if constexpr (Format == DType::Q4_1) return blocks::legacy(block, f16, index, true, false, 0);
  else if constexpr (Format == DType::Q5_0) return blocks::legacy(block, f16, index, false, true, 16);
  else if constexpr (Format == DType::Q5_1) return blocks::legacy(block, f16, index, true, true, 0);
  else if constexpr (Format == DType::Q8_0) return blocks::q8_0(block, f16, index);
  else if constexpr (Format == DType::Q2_K) return blocks::q2_k(block, f16, index);
  else if constexpr (Format == DType::Q3_K) return blocks::q3_k(block, f16, index);
  else if constexpr (Format == DType::Q4_K) return blocks::q4_or_q5_k(block, f16, index, false);
  else if constexpr (Format == DType::Q5_K) return blocks::q4_or_q5_k(block, f16, index, true);
  else return blocks::q6_k(block, f16, index);
}

template <DType Format>
static constexpr BlockRun block_run(const uint8_t* block, int index) {
  return block_run<Format>(block, block_scales(block, block_format(Format)), index);
}

template <DType Format>
struct BlockConstant {
  static constexpr DType value = Format;
};

// Calls f with the format as a constant: with_blocks(dtype, [&](auto format) { … decltype(format)::value … }).
template <typename F>
static void with_blocks(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Q4_0: return f(BlockConstant<DType::Q4_0>{});
    case DType::Q4_1: return f(BlockConstant<DType::Q4_1>{});
    case DType::Q5_0: return f(BlockConstant<DType::Q5_0>{});
    case DType::Q5_1: return f(BlockConstant<DType::Q5_1>{});
    case DType::Q8_0: return f(BlockConstant<DType::Q8_0>{});
    case DType::Q2_K: return f(BlockConstant<DType::Q2_K>{});
    case DType::Q3_K: return f(BlockConstant<DType::Q3_K>{});
    case DType::Q4_K: return f(BlockConstant<DType::Q4_K>{});
    case DType::Q5_K: return f(BlockConstant<DType::Q5_K>{});
    case DType::Q6_K: return f(BlockConstant<DType::Q6_K>{});
    default: return;
  }
}

}  // namespace lowrank
