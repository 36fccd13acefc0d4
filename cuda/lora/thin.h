#pragma once
// The thin products of low-rank adapters: a big matrix z [rows, columns] (x, or dy) against factors of rank r, each
// small. Both read z once:
//   down:  S[m, j] = sum over c of drop(z)[m, c] f[j, c]      s = x a^T, t = dy b
//   outer: D[c, j] = sum over m of drop(z)[m, c] f[m, j]      da^T = x^T t, db = dy^T s
// They leave partial sums, which cast_factors() adds up in fixed order, scales in f32, and writes in the forms that the
// following products read. Several adapters of one input lie side by side along the rank, each with its own mask.
//
// Tensor cores multiply z by factors in two parts, f = high + low, both bf16: 16 bits of mantissa, in which an f32
// adapter keeps its accuracy. z in f16 is split likewise, without a loss, since its gradients may be below f16's range
// times anything. Without `low` factors are rounded to bf16.

#include "core/kernels.h"
#include "cuda/launch.cuh"

namespace lowrank::cuda::lora {

constexpr int MAX_ADAPTERS = LoraLayers::MOST;
constexpr int RANK_STEP = 16;  // an adapter occupies a multiple of this many columns, the rest of it zeros

constexpr int64_t padded(int64_t n, int64_t step) { return ceil_div(n, step) * step; }

// Adapters side by side: `end` is where the next one begins.
struct Sites {
  int count = 0;
  int end[MAX_ADAPTERS] = {};
  Dropout dropout[MAX_ADAPTERS];
  bool active = false;  // of any

  int rank() const { return count ? end[count - 1] : 0; }
  int begin(int adapter) const { return adapter ? end[adapter - 1] : 0; }
  void add(int64_t r, const Dropout& mask) {
    end[count] = rank() + int(padded(r, RANK_STEP));
    dropout[count++] = mask;
    active = active || mask.active();
  }
};

// A factor in two parts. `leading`: elements from one line to the next; lines are 16-byte aligned.
struct Split {
  const __nv_bfloat16 *high = nullptr, *low = nullptr;
  int64_t leading = 0;
};

// z of half precision. Without dropout `sites` still says how wide the adapters are.
struct Thin {
  View z;
  Sites sites;
  Split down;                  // [rank, columns], zeros up to a multiple of 64 columns
  Split outer;                 // [rows, rank]
  float* down_sum = nullptr;   // [down_pieces][rows, rank]
  float* outer_sum = nullptr;  // [outer_pieces][columns, rank], or [rank, columns] if `across`
  bool across = false;
};

// Pieces of partial sums; they depend on the shape alone.
int64_t down_pieces(int64_t rows, int64_t columns, int64_t rank);
int64_t outer_pieces(int64_t rows, int64_t columns, int64_t rank);
// Both in one pass over z: pieces of `down` are then stretches of columns. Worth it while partial sums are fewer bytes
// than z.
bool fused(int64_t rank);
int64_t fused_pieces(int64_t columns);

void down(const Thin& thin);
void outer(const Thin& thin);
void down_and_outer(const Thin& thin);  // without dropout

// The same for f32 and f64, in plain multiply-adds, one adapter at a time: a factor is f32, or f64 beside f64, and
// element (i, j) of it lies at i * stride_i + j * stride_j. down: i is a column of z, outer: a row.
struct PlainFactor {
  View data;
  int64_t stride_i, stride_j;
};
int64_t plain_pieces(int64_t rows, int64_t columns);  // of outer; down has one
// sum [rows, r]
void plain_down(void* sum, View z, PlainFactor f, int64_t r, const Dropout& dropout);
// sum [pieces][columns, r]
void plain_outer(void* sum, View z, PlainFactor f, int64_t r, const Dropout& dropout);

// The forms of a slab's side: rounded to the product's type; or high | low | high against high | high | low, whose
// product is that of the unrounded sides but for low * low.
enum class Form : int32_t { Rounded, Left, Right };

// A small matrix [count, rank] on its way from where it was stored or summed to the forms in which products read it.
// Element (i, j) = factor * sum over pieces of from[piece * plane + i * from_i + j * from_j].
struct CastFactor {
  const void* from = nullptr;
  DType type = DType::F32;
  int64_t count = 0, rank = 0;
  int64_t from_i = 0, from_j = 0;
  int64_t pieces = 1, plane = 0;
  double factor = 1;
  bool along_i = false;  // neighbouring threads take neighbouring i, else j

  void* plain = nullptr;  // as it is
  DType plain_type = DType::F32;
  int64_t plain_i = 0, plain_j = 0;

  void* slab = nullptr;  // of the product's type; `width` of j after repetition, zeros at its end
  Form form = Form::Rounded;
  int64_t slab_i = 0, slab_j = 0, width = 0;

  __nv_bfloat16 *high = nullptr, *low = nullptr;  // zeros up to padded_count, padded_rank
  int64_t split_i = 0, split_j = 0, padded_count = 0, padded_rank = 0;
};
constexpr int MAX_CASTS = 3 * MAX_ADAPTERS;
struct CastFactors {
  void add(const CastFactor& cast) { list[count++] = cast; }
  int count = 0;
  CastFactor list[MAX_CASTS];
};
inline int64_t slab_width(int64_t rank, Form form) { return padded(form == Form::Rounded ? rank : 3 * rank, 8); }
void cast_factors(const CastFactors& casts, DType type);  // type: of the slabs

}  // namespace lowrank::cuda::lora
