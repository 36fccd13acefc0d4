#pragma once
// The fast f32 code: one body per op (*.inc), compiled once for each instruction set, reached through one table.
// No standard headers here: the objects of an instruction set must not hold inline functions that others may link.
#include <stdint.h>

#include "core/blocks.h"
#include "cpu/philox_lanes.h"

namespace lowrank::cpu {

constexpr int ACTIVATIONS = 5;  // in the order of Activation

// Bit c % 64 of bits[c / 64] says whether column c of a row is kept; null bits: nothing is dropped.
struct RowMask {
  const uint64_t* bits;
  float multiplier;
};

struct LayerNormRow {
  float *y, *h;  // h may be scratch, or x itself where there is neither residual nor mask
  const float *x, *residual, *w, *b;
  RowMask mask;
  int64_t cols;
  double eps;
  float *mean, *rstd;
};

struct LayerNormBackwardRow {
  float *dx, *dresidual, *dw, *db;  // dw and db are added to; any may be null
  const float *dy, *dh, *h, *w;
  RowMask mask;
  int64_t cols;
  float mean, rstd;
};

struct RmsNormRow {
  float *y, *h;  // h as in LayerNormRow
  const float *x, *residual, *w;
  RowMask mask;
  float offset;
  int64_t cols;
  double eps;
  float* rstd;
};

struct RmsNormBackwardRow {
  float *dx, *dw;  // dw is added to; each may be null
  const float *dy, *dh, *h, *w;
  float offset;
  int64_t cols;
  float rstd;
};

// p = keep p - rate m / (sqrt(v) root + eps) after the moments took in clip * grad
struct AdamWStep {
  float clip, beta1, beta2, complement1, complement2, eps, root, keep, rate;
};

// One sequence and the query heads of one key-value head. Pointers are to its first token and, for queries, to its
// first head; strides are elements between tokens. Query i sees keys j with |i - j| < window and, if causal, j <= i.
struct AttentionTask {
  const float *q, *k, *v;
  const float *dy, *o_in;  // backward
  float *o, *lse;          // backward reads lse
  float *dq, *dk, *dv;     // backward; null where nobody wants it
  int64_t q_stride, kv_stride, lse_stride;
  int64_t keys, dim;               // of the whole sequence
  int64_t heads;                   // that share k and v
  int64_t query_begin, query_end;  // what this task covers
  int64_t key_begin, key_end;
  float scale, softcap;  // score = softcap tanh(scale q k / softcap) + bias; softcap 0: scale q k + bias
  const float* bias;     // of distance 0 (key - query) and the first head, or null
  int64_t bias_stride;   // to the next head
  int64_t window;        // 0: any distance
  bool causal;
  bool more;                  // the next heads' rows lie beside these and are likely wanted next
  const DropoutKey* dropout;  // null: none
  float multiplier;
  uint32_t row;         // dropout row of query 0 of the first head
  uint32_t row_stride;  // to the next head
  float* scratch;
};

// One query against keys [begin, end) of a cache, whose last is its own. Key j is in page pages[j / page].
struct DecodeTask {
  const float* q;
  const void *k, *v;  // of the first page
  bool bf16;          // what k and v are, else f32
  const int32_t* pages;
  int64_t page;  // keys of one
  float* o;
  int64_t begin, end, dim, stride;  // stride: elements between keys
  float scale, softcap;
  const float* bias;  // of key `begin`, or null
  float* scratch;     // end - begin floats, rounded up to 16
};

enum class WeightFormat { F32, BF16, I8, NF4 };

// y[i, j] = sum of x[i] w[j] + sum of a[i] b[j] + bias[j] for i < m, j in [begin, end). Codes and their scales are
// those of core/quantized.h; NF4: k is a multiple of 64.
struct FewRows {
  int64_t m, k;
  int64_t begin, end;
  const float* x;  // [m, ldx]; NF4: rows in the order of few_rows_order
  int64_t ldx;
  WeightFormat format;
  const void* w;  // [n, k]
  const float* i8_absmax;
  float i8_step;
  const float *nf4_map, *dynamic_map;
  const uint8_t* nf4_scales;
  const float* nf4_nested;
  float nf4_offset;
  int64_t r;       // 0: no a and b
  const float* a;  // [m, r]
  const float* b;  // [n, r]
  const float* bias;
  float* y;
  int64_t ldy;
};

struct RowKernels {
  // bf16 to f32, and back to the nearest, ties to even
  void (*widen)(float* y, const uint16_t* x, int64_t n);
  void (*narrow)(uint16_t* y, const float* x, int64_t n);
  // rows [rows, cols] of x, with residual (as y) where it is not null, as bf16; y may be residual
  void (*narrow_rows)(uint16_t* y, const uint16_t* residual, int64_t ldy, const float* x, int64_t ldx, int64_t rows,
                      int64_t cols);
  void (*add)(float* y, const float* a, const float* b, int64_t n);
  void (*multiply)(float* y, const float* a, const float* b, int64_t n);
  // y = x v + bias, bias may be null; dx = dy v, which may be dy, and sums += dy x, each may be null.
  void (*scale_columns)(float* y, const float* x, const float* v, const float* bias, int64_t n);
  void (*scale_columns_backward)(float* dx, float* sums, const float* dy, const float* x, const float* v, int64_t n);
  void (*accumulate)(float* y, const float* x, float alpha, int64_t n);
  void (*scale)(float* y, const float* x, float alpha, int64_t n);
  void (*activation[ACTIVATIONS])(float* y, const float* x, int64_t n);
  void (*activation_backward[ACTIVATIONS])(float* dx, const float* dy, const float* x, int64_t n);
  // As gated_activation and its backward; dgate may be dy.
  void (*gated[ACTIVATIONS])(float* y, const float* gate, const float* up, int64_t n);
  void (*gated_backward[ACTIVATIONS])(float* dgate, float* dup, const float* dy, const float* gate, const float* up,
                                      int64_t n);
  double (*sum)(const float* x, int64_t n);
  double (*sum_squares)(const float* x, int64_t n);
  double (*squared_distance)(const float* a, const float* b, int64_t n);

  // bits[r * chunks + i]: columns 64 (first_chunk + i) and on, of row first_row + r
  void (*dropout_bits)(const DropoutKey& key, uint32_t first_row, int64_t rows, uint32_t first_chunk, int64_t chunks,
                       uint64_t* bits);
  void (*apply_mask)(float* y, const float* x, RowMask mask, int64_t n);

  void (*layer_norm)(const LayerNormRow& row);
  void (*layer_norm_backward)(const LayerNormBackwardRow& row);
  void (*rms_norm)(const RmsNormRow& row);
  void (*rms_norm_backward)(const RmsNormBackwardRow& row);
  // Pairs (i, i + pairs) of one head, turned by cosines[i] and sign * sines[i]; y may be x.
  void (*rope_head)(float* y, const float* x, const float* cosines, const float* sines, int64_t pairs, float sign);

  // maximum and sum of exp(x - maximum); sum over c of w[c] (lse - x[c])
  void (*exp_sum)(const float* x, int64_t n, float* maximum, double* sum);
  // dx = a exp(x - lse) - b w, w = 1 where null
  void (*softmax_gradient)(float* dx, const float* x, const float* w, float lse, float a, float b, int64_t n);
  // x = cap tanh(x / cap)
  void (*softcap)(float* x, float cap, int64_t n);
  // z = (a exp(z - top) - b) (1 - (inverse_cap z)^2)
  void (*logits_gradient)(float* z, float top, float a, float b, float inverse_cap, int64_t n);

  void (*adamw)(float* p, const float* grad, float* m, float* v, int64_t n, const AdamWStep& step);

  int64_t (*attention_scratch)(int64_t dim);  // floats
  int64_t (*attention_backward_scratch)(int64_t dim);
  void (*attention)(const AttentionTask& task);
  void (*attention_backward)(const AttentionTask& task);
  // Adds to dbias, of distance 0, what the queries of the task's first head give it with the keys of the task.
  void (*attention_bias_backward)(const AttentionTask& task, float* dbias);

  void (*attention_decode)(const DecodeTask& task);

  void (*few_rows)(const FewRows& product);
  int64_t (*few_rows_width)(WeightFormat format, int64_t k);     // floats of a row of x
  void (*few_rows_order)(float* to, const float* x, int64_t k);  // a row of x, for NF4
  // Elements [begin, end) of a weight in blocks.
  void (*decode_blocks)(DType format, const uint8_t* blocks, int64_t begin, int64_t end, float* to);

  // For the accuracy tests.
  void (*exp)(float* y, const float* x, int64_t n);
  void (*normal_cdf)(float* y, const float* x, int64_t n);
};

// Queries that a forward task covers at most; keys of a block (a multiple of 64: whole dropout words).
constexpr int64_t ATTENTION_QUERIES = 256, ATTENTION_KEYS = 128, ATTENTION_BACKWARD_QUERIES = 64;

namespace portable {
extern const RowKernels row_kernels;
}
namespace avx2 {
extern const RowKernels row_kernels;
}
namespace avx512 {
extern const RowKernels row_kernels;
}
namespace neon {
extern const RowKernels row_kernels;
}

// The table of isa().
const RowKernels& row_kernels();

}  // namespace lowrank::cpu
