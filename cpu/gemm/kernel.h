#pragma once
// What an instruction set provides to the products: plain structs and function tables, and no standard header beyond
// <stdint.h>, since objects compiled for AVX-512 include this.
//
// Packed operands are panels of 4-byte units, [units][width]: a unit is one f32, or two neighbouring bf16 of K. Every
// element of a product is summed in the order of K whatever its place in a tile, so bits don't depend on the tiling.
#include <stdint.h>

#include "cpu/philox_lanes.h"

namespace lowrank::cpu::gemm {

// f32; f32 rounded to bf16; two bf16 (odd K: the last one is 0); two bf16 of a slab of factors in two parts.
enum class Unit { F32, Rounded, Pairs, Split };

// One panel: elements (i, k) for i < count <= width (further ones are written as 0) and k < depth.
// along_k: element at src[i * ld + k], else at src[k * ld + i].
struct Pack {
  const void* src;
  int64_t ld;
  bool bf16;  // type of src: bf16, else f32
  bool along_k;
  Unit unit;
  int width, count;
  int64_t depth;
  float scale;  // F32 and Split only
  void* dst;
  bool of_a = false;  // for instruction sets whose panels of a and b differ
};

// c[rows, cols] (+)= mask(slab_a slab_b) + a b (+ bias), rows <= mr, cols <= nr. The slab is f32, or two parts of bf16.
struct Tile {
  const void* a;  // [units][mr], or rows where they lie:
  int64_t lda;    // elements between them, of a kernel that reads f32 in place; else 0
  const void* b;  // [units][nr]
  int64_t units;
  const float* slab_a;  // [slab][mr] units
  const float* slab_b;  // [slab][nr]
  int64_t slab;
  const uint8_t* mask;  // row i, column j: bit j of the bits at mask + i * mask_stride; null: all kept
  int64_t mask_stride;
  float* c;
  int64_t ldc;
  bool accumulate;
  const float* bias;  // [nr values of which cols are read] or null
  int rows, cols;
  // What a kernel may fetch into the caches while it computes: c of the next tile, and lines of 64 bytes of the next b.
  const float* next_c;
  const void* next_b;
  int64_t next_lines;
};

struct Kernel {
  int mr, nr;
  void (*pack)(const Pack&);
  void (*tile)(const Tile&);
  double pack_cost = 0.7, load_cost = 0.5;  // of a panel of a and one of b, in units of one tile's arithmetic
  int pass = 0;                             // units that a tile takes at most, 0: all
  int step = 1;                             // Pairs: pack() adds units of 0, up to a multiple of this
  bool split_slab = false;                  // 3 r elements of slab: [high | low | high] [high | high | low]
  void (*begin)() = nullptr;                // called before the tiles of a thread
  void (*end)() = nullptr;                  // and after them
  bool in_place = false;                    // tiles can read rows of a in f32, along K, where they lie
};

// y[m, n] = scale * sum over k of x[m, k] * w[n, k] (+ bias[n]); bits of the mask select elements of x. Nothing packed.
struct Dot {
  const float* x;
  int64_t ldx;
  const uint8_t* mask;  // [m][mask_stride bytes] or null
  int64_t mask_stride;
  const void* w;
  bool w_bf16;
  int64_t ldw;
  float* y;
  int64_t ldy;
  float scale;
  const float* bias;
  int64_t m, n, k;
};

// p[r, n] (+)= sum over rows of s[row, r] * x[row, n]; bits of the mask select elements of x. Nothing packed.
struct Outer {
  const float* s;
  int64_t r;  // also the row stride of s
  const float* x;
  int64_t ldx;
  const uint8_t* mask;
  int64_t mask_stride;
  float* p;
  int64_t ldp;
  bool accumulate;
  int64_t rows, n;
};

struct Skinny {
  void (*dot)(const Dot&);
  void (*outer)(const Outer&);
  // Bits of the mask of columns [0, columns) of this row: ceil(columns / 256) * 32 bytes are written.
  void (*dropout_bits)(const DropoutKey&, uint32_t row, int64_t columns, uint8_t* bits);
};

// Thin products on tiles, of factors in two parts of bf16, high and low: high high + low high + high low, the second of
// f32 x alone. As Dot and Outer but for: w packed by pack(), masks of whole bytes a step of 32 elements, p of
// [16-fold r][64-fold n], padded.
struct Stored {
  const void* data;
  bool bf16;  // which has no low part; else f32
};
struct SplitDot {
  Stored x;
  int64_t ldx;
  const uint8_t* mask;
  int64_t mask_stride;
  const void* w;
  float* y;  // [rows, r]
  int64_t r;
  float scale;
  int64_t rows, k;
  void* packed;  // the rows of x as kernel_amx packs those of a, written on the way; or null
};
struct SplitOuter {
  const float* s;  // [rows, r]
  int64_t r;
  Stored x;
  int64_t ldx;
  const uint8_t* mask;
  int64_t mask_stride;
  float* p;
  int64_t ldp;
  bool accumulate;
  int64_t rows, n;  // at most 64 rows
  void* parts;      // outer_bytes(r)
};
struct SplitThin {
  int64_t (*packed_bytes)(int64_t r, int64_t k);
  // w[r, k], or [k, r] where not along_k
  void (*pack)(const float* w, bool along_k, int64_t r, int64_t k, void* to);
  void (*dot)(const SplitDot&);
  int64_t (*outer_bytes)(int64_t r);
  void (*outer)(const SplitOuter&);
};

extern const Kernel kernel_portable, kernel_avx2, kernel_avx512, kernel_avx512bf16, kernel_amx, kernel_wide;
extern const Kernel kernel_neon, kernel_neonbf16;
extern const SplitThin thin_amx;
extern const Skinny skinny_portable, skinny_avx2, skinny_avx512, skinny_neon;

}  // namespace lowrank::cpu::gemm
