#pragma once
#include "core/view.h"

// What a backend provides: one row per kernel, defined in cpu/<op>.cpp and cuda/<op>.cu.
// Inputs are checked and outputs allocated before a kernel is called (core/ops/). A View without data is an optional
// input that is absent, or a gradient that nobody wants. i32: ids, labels, cu_seqlens. Sums accumulate in fixed order,
// whatever the number of threads.
//
// Element types. Activations are f32, f64 or bf16, on CUDA f16 too (T below). Beside f32 and f64, parameters and sums
// are of T; frozen weights may be stored as bf16 while activations are f32. Beside all but f64, frozen weights of
// linear layers may be I8 or NF4. Beside bf16 and f16, parameters (biases, norms, low-rank factors, class weights,
// targets of losses) are f32 or T, frozen weights f32, bf16 or (CUDA) f16, and sums (loss, lse, mean, rstd, s,
// gradients of parameters that are f32) are f32. Arithmetic is f32, f64 for f64.
#define LOWRANK_KERNELS(K)                                                                                             \
  K(fill, (View y, double value))                                                                                      \
  /* y = x, converted to y's dtype */                                                                                  \
  K(copy, (View y, View x))                                                                                            \
  /* y[out, in], I8 or NF4, = x f32; y, a float, = w[out, in], I8 or NF4: core/quantized.h */                          \
  K(quantize, (View y, View x))                                                                                        \
  K(dequantize, (View y, View w))                                                                                      \
  K(add, (View y, View a, View b))                                                                                     \
  K(multiply, (View y, View a, View b))                                                                                \
  /* y[N, C] = x[N, C] * v[C] + bias[C]?;  dx = dy * v, may be dy's own memory;  dv[C] = sum over rows of dy * x */    \
  K(scale_columns, (View y, View x, View v, View bias))                                                                \
  K(scale_columns_backward, (View dx, View dv, View dy, View x, View v))                                               \
  /* y[out] = 1 / |row of w + scale b a|: squares[out] of w, wa[r, out] = a w^T, gram[r, r] = a a^T; b[out, r] */      \
  K(inverse_norms, (View y, View squares, View wa, View gram, View b, double scale))                                   \
  /* y += alpha * x */                                                                                                 \
  K(accumulate, (View y, View x, double alpha))                                                                        \
  /* y += x, of each pair */                                                                                           \
  K(accumulate_all, (Accumulations pairs))                                                                             \
  /* y = alpha * x */                                                                                                  \
  K(scale, (View y, View x, double alpha))                                                                             \
  K(activation, (View y, View x, Activation kind))                                                                     \
  /* dx may be dy's own memory */                                                                                      \
  K(activation_backward, (View dx, View dy, View x, Activation kind))                                                  \
  /* y = f(gate) * up */                                                                                               \
  K(gated_activation, (View y, View gate, View up, Activation kind))                                                   \
  /* dgate may be dy's own memory */                                                                                   \
  K(gated_activation_backward, (View dgate, View dup, View dy, View gate, View up, Activation kind))                   \
  /* y = log(1 - e^x), x < 0: of a log-probability that of what else may happen. x above -2^-24 counts as that. */     \
  K(log1mexp, (View y, View x))                                                                                        \
  K(log1mexp_backward, (View dx, View dy, View x))                                                                     \
  K(dropout, (View y, View x, Dropout dropout))                                                                        \
  /* y[D] = sum over rows of x[N, D] */                                                                                \
  K(sum_rows, (View y, View x))                                                                                        \
  /* y[1] = sum of x; y[1] = sum of x^2 */                                                                             \
  K(sum, (View y, View x))                                                                                             \
  K(sum_squares, (View y, View x))                                                                                     \
  /* y = op(a) op(b); a, b, y of T, or a or b bf16 storage, or b I8 or NF4; CUDA: each f32, bf16 or f16 */             \
  K(matmul, (View y, View a, View b, bool transpose_a, bool transpose_b, Compute compute))                             \
  /* y[N, out] = x[N, in] w[out, in]^T + bias[out]?, turned by `rope` where it has a table */                          \
  K(linear, (View y, View x, View w, View bias, Compute compute, Rope rope))                                           \
  /* s[N, r] = scale * drop(x) a^T;  y = x w^T + bias? + s b^T, turned by `rope`;  a[r, in], b[out, r] */              \
  /* exact: the adapter's products keep f32 accuracy beside bf16 and f16 too */                                        \
  K(lora_linear, (View y, View s, View x, View w, View bias, View a, View b, double scale, Dropout dropout,            \
                  Compute compute, bool exact, Rope rope))                                                             \
  /* t = scale * dy b;  dx = dy w + drop(t a) + residual?;  da[r, in] = t^T drop(x);  db[out, r] = dy^T s */           \
  K(lora_linear_backward, (View dx, View da, View db, View dy, View x, View w, View a, View b, View s, double scale,   \
                           Dropout dropout, Compute compute, bool exact, View residual))                               \
  /* lora_linear of up to three layers on one x, of which some are turned; backward: their dx are summed. Beside y */  \
  /* its `activated` f(y), both of y rounded; backward: dx, rounded, is multiplied by f'(through) */                   \
  K(lora_linear_group, (View x, LoraLayers layers, Compute compute, bool exact, Rope rope))                            \
  /* With t f32[N, ranks], each rounded up to STEP, it takes the place of every da: who is given it as `earlier` */    \
  /* makes them, beside its own pass over dy, or alone where there are no layers. Of bf16 and f16 */                   \
  K(lora_linear_group_backward,                                                                                        \
    (View dx, View x, LoraLayers layers, Compute compute, bool exact, View residual, View t, LoraGradients earlier))   \
  /* lora_linear whose groups of rows have factors of their own, or none */                                            \
  K(lora_linear_rows, (LoraRows op))                                                                                   \
  K(lora_linear_rows_backward, (LoraRows op))                                                                          \
  /* y[N, D] = table[ids[N]]; also selects rows of activations */                                                      \
  K(embedding, (View y, View table, View ids))                                                                         \
  /* dtable[V, D] = rows of dy added up by id; all other rows 0 */                                                     \
  K(embedding_backward, (View dtable, View dy, View ids))                                                              \
  /* ids i32[N] = a token drawn from each row of logits [N, V], compared as f32; equal ones by id */                   \
  K(sample, (View ids, View logits, Sampling options))                                                                 \
  /* h = drop(x) + residual?;  y = (h - mean) * rstd * w + b?;  h has no data where it would equal x */                \
  K(layer_norm,                                                                                                        \
    (View y, View h, View mean, View rstd, View x, View residual, View w, View b, double eps, Dropout dropout))        \
  /* g = gradient of h = norm'(dy) + dh?;  dx = drop(g);  dresidual = g (no data where dropout is off: it is dx) */    \
  K(layer_norm_backward, (View dx, View dresidual, View dw, View db, View dy, View dh, View h, View w, View mean,      \
                          View rstd, Dropout dropout))                                                                 \
  /* h = drop(x) + residual?;  y = h * rstd * (w + offset);  h has no data where it would equal x */                   \
  K(rms_norm, (View y, View h, View rstd, View x, View residual, View w, double offset, double eps, Dropout dropout))  \
  /* dx = norm'(dy) + dh?, the gradient of h */                                                                        \
  K(rms_norm_backward, (View dx, View dw, View dy, View dh, View h, View w, View rstd, double offset))                 \
  /* Turns pairs of columns of each head by the angles in row positions[n] of table[P, rotary]: cosines, sines. */     \
  /* inverse: the other way. k may be absent; qy may be q's own memory, ky k's. */                                     \
  K(rope,                                                                                                              \
    (View qy, View ky, View q, View k, View positions, View table, int64_t head_dim, bool interleaved, bool inverse))  \
  /* o = drop(softmax(x)) v, x of a pair as in AttentionShape. q, o [N, heads * dim]; k, v [M, kv_heads * dim]; */     \
  /* lse [N, heads]; cu_seqlens i32[B + 1] of the queries, and of the keys unless key_seqlens i32[B + 1]? is there; */ \
  /* bias [heads, 2L - 1]?, as wide as lse */                                                                          \
  K(attention, (View o, View lse, View q, View k, View v, View cu_seqlens, View key_seqlens, View bias,                \
                AttentionShape shape, Dropout dropout))                                                                \
  K(attention_backward, (View dq, View dk, View dv, View dy, View q, View k, View v, View o, View lse,                 \
                         View cu_seqlens, View key_seqlens, View bias, AttentionShape shape, Dropout dropout))         \
  /* dbias [heads, 2L - 1] = sum over all pairs at that distance of p (mask dy v - dy o) */                            \
  K(attention_bias_backward, (View dbias, View dy, View q, View k, View v, View o, View lse, View cu_seqlens,          \
                              View key_seqlens, View bias, AttentionShape shape, Dropout dropout))                     \
  /* Rows of k and v [N, width] become rows slots[n] (i32[N]) of caches [pages, page, width], in the caches' type */   \
  K(cache_write, (View k_cache, View v_cache, View k, View v, View slots))                                             \
  /* A query a row, at position lengths[r] - 1 of its keys: q, o [R, heads * dim]; lengths i32[R]. Key j of a row */   \
  /* is in page pages[r, j / page] (i32[R, most]) of caches [pages, page, kv_heads * dim], which are as q or bf16; */  \
  /* causal, max_length, row_stride, max_keys of the shape are not used */                                             \
  K(attention_decode,                                                                                                  \
    (View o, View q, View k_cache, View v_cache, View lengths, View pages, View bias, AttentionShape shape))           \
  /* loss[1] = scale * sum over rows; logits [N, C]; labels i32[N]; weights [C]?; lse [N] */                           \
  K(cross_entropy, (View loss, View lse, View logits, View labels, View weights, CrossEntropy options))                \
  /* dloss[1] */                                                                                                       \
  K(cross_entropy_backward,                                                                                            \
    (View dlogits, View dloss, View logits, View labels, View weights, View lse, CrossEntropy options))                \
  /* cross entropy of x w^T + bias?, in chunks of rows; dx[N, D]? lacks `scale`; x [N, D]; w [V, D], frozen */         \
  K(linear_cross_entropy, (View loss, View dx, View x, View w, View bias, View labels, LinearCrossEntropy options))    \
  /* scaled = scale * dloss[1] * dx */                                                                                 \
  K(linear_cross_entropy_backward, (View scaled, View dloss, View dx, double scale))                                   \
  /* loss[1] = scale * sum; logits, targets [N, C]; positive_weights [C]? */                                           \
  K(bce, (View loss, View logits, View targets, View positive_weights, double scale))                                  \
  K(bce_backward, (View dlogits, View dloss, View logits, View targets, View positive_weights, double scale))          \
  K(mse, (View loss, View x, View targets, double scale))                                                              \
  K(mse_backward, (View dx, View dloss, View x, View targets, double scale))                                           \
  /* One AdamW step over the arena, in place, f32 or f64. */                                                           \
  /* slices f64[S, 4], ascending: begin, end (elements), lr scale, decay scale. */                                     \
  /* squared_norm f64[1] or f32[1]: of all gradients; clip 0 is off. */                                                \
  K(adamw, (View params, View grads, View m, View v, View slices, View squared_norm, AdamW options))                   \
  /* The same with u8 moments: codes (core/code_book.h) times their block's scale, f32[ceil(size / 256)]. */           \
  K(adamw8, (View params, View grads, View m, View v, View m_scale, View v_scale, View slices, View squared_norm,      \
             AdamW options))

namespace lowrank {

enum class Activation : int32_t { Gelu, GeluTanh, Tanh, Silu, Relu };

// Sums of one dtype, no two of which share memory.
struct Accumulations {
  static constexpr int MOST = 160;  // 148 are the gradients of bert-base, factors on all its layers
  struct Pair {
    View y, x;
  };
  int32_t count = 0;
  Pair pair[MOST];
};

// Products in f32, or of operands rounded to bf16, or to TF32 (10 bits of mantissa, on a GPU alone); accumulation is
// f32 always. f64 tensors ignore it; bf16 and f16 ones are multiplied as they are. On the CPU up to 16 rows x w^T,
// where reading w is what takes the time, keep f32 accuracy.
enum class Compute : int32_t { F32, BF16, TF32 };

// Philox4x32-7 keyed by `seed`; counter = (column group, row, site, step). Column c belongs to group
// (c / 64) * 4 + (c % 8) / 2 and takes byte 2 * ((c % 64) / 8) + c % 2 of its 16 bytes. An element is kept where
// byte < keep, and multiplied by 256 / keep. keep = 256 means no dropout.
struct Dropout {
  bool active() const { return keep < 256; }
  double multiplier() const { return 256.0 / keep; }

  int32_t keep = 256;
  uint32_t site = 0;
  uint32_t step = 0;
  uint64_t seed = 0;
  int64_t row_offset = 0;  // added to the row: tokens (attention: sequences) of earlier micro-batches of this step
};

// How an op turns the rows that it writes, as rope() does, before they are rounded; without a table it doesn't.
struct Rope {
  explicit operator bool() const { return bool(table); }

  View positions;  // i32[N]
  View table;      // [positions, rotary]: cosines, then sines
  int64_t head_dim = 0;
  bool interleaved = false;
};

// An activation function beside a product: where f(y) goes, or the x that f had.
struct Activated {
  explicit operator bool() const { return bool(data); }

  View data;
  Activation kind = Activation::Gelu;
};

// One of the layers of lora_linear_group: its tensors are those of lora_linear and lora_linear_backward.
struct LoraLayer {
  View y, s, w, bias, a, b;
  View dy, da, db;
  double scale = 1;
  Dropout dropout;
  bool turned = false;
  Activated activated{};
};
struct LoraLayers {
  static constexpr int MOST = 3;
  int32_t count = 0;
  LoraLayer layer[MOST];
  Activated through{};  // what made x of its data
};

// The gradients of a, da = t^T drop(x), of layers on one x whose backward pass left t.
struct LoraGradients {
  static constexpr int64_t STEP = 16;  // of an adapter's columns of t
  struct Layer {
    View da;
    Dropout dropout;
  };
  int32_t count = 0;
  View x, t;
  Layer layer[LoraLayers::MOST];
};

// A linear layer whose rows have different adapters: groups of consecutive rows, in order and together all of x.
// A group without a and b goes through the frozen layer alone. All share one dropout, whose rows are those of x.
struct LoraRows {
  static constexpr int MOST = 64;  // of one call; the op makes several of more
  struct Group {
    int64_t rank() const { return a ? a.dims[0] : 0; }
    // Its rows of a tensor that has all.
    View of(const View& all) const { return all.part(begin, rows); }

    int64_t begin = 0, rows = 0;
    View a, b, s;  // a [r, in], b [out, r], s [rows, r]
    View da, db;
    double scale = 1;
    Dropout dropout;  // of its rows, counted from its first
  };
  int64_t rank() const {  // of all groups together
    int64_t sum = 0;
    for (int i = 0; i < count; ++i) sum += group[i].rank();
    return sum;
  }
  const Group* begin() const { return group; }
  const Group* end() const { return group + count; }
  bool has_dropout() const {
    for (const Group& own : *this)
      if (own.a && own.dropout.active()) return true;
    return false;
  }

  int32_t count = 0;
  Group group[MOST];
  View x, w, bias, y;
  View dx, dy;
  Dropout dropout;  // of all rows, on a GPU: its groups share one
  Compute compute = Compute::F32;
  bool exact = true;
  Rope rope;
};

// Of query i and key j, x = softcap tanh(scale q k / softcap) + bias[head, j - i + L - 1].
struct AttentionShape {
  int32_t heads, kv_heads, head_dim;
  int32_t causal;        // j <= i
  int64_t max_length;    // longest sequence of the batch
  int64_t row_stride;    // T of the dropout row (sequence * heads + head) * T + query: constant within a run
  double scale;          // of q k
  int64_t max_keys = 0;  // longest sequence of key_seqlens
  int64_t window = 0;    // |i - j| < window; 0: any distance
  double softcap = 0;    // 0: none, x = scale q k + bias
};

struct CrossEntropy {
  int32_t ignore_index;
  double smoothing;  // eps: (1 - eps) * nll(label) + eps / C * sum of nll, each times its class weight
  double scale;      // 1 / supervised weight of the whole optimizer step
};

// A loss of tokens under a frozen head; formulas in cpu/linear_cross_entropy.cpp.
struct LinearCrossEntropy {
  int32_t ignore_index;
  double smoothing, scale;  // as above
  double softcap;           // of logits: cap tanh(z / cap); 0: off
  double z_loss;            // times lse^2; 0: off
  int64_t chunk;            // rows whose logits exist at a time; 0: chosen by size (before the kernel is called)
  Compute compute;
  // Consecutive rows with a loss and a scale of their own each, in place of `scale`; loss is [count]. 0: all are one.
  struct Part {
    int64_t rows = 0;
    double scale = 1;
  };
  static constexpr int MOST = 64;
  int32_t count = 0;
  Part parts[MOST] = {};
};

// g = grad * min(1, clip / (norm + 1e-6));  p *= 1 - lr * decay;  p -= lr * m^ / (sqrt(v^) + eps)
struct AdamW {
  double lr, beta1, beta2, eps, weight_decay;
  double clip;
  int64_t step;  // 1 for the first
};

// Softmax of logits / temperature, cut to the top_k largest (0: all), then to the fewest that reach top_p of the rest.
struct Sampling {
  float scale() const { return temperature > 0 ? float(1.4426950408889634 / temperature) : 0; }

  double temperature;  // 0: the largest logit
  int64_t top_k;
  double top_p;
  Dropout random;  // seed, site, step and row offset: one Philox word a row
};

#define LOWRANK_DECLARE(name, args) void name args;
namespace cpu {
LOWRANK_KERNELS(LOWRANK_DECLARE)
}
namespace cuda {
LOWRANK_KERNELS(LOWRANK_DECLARE)
}
#undef LOWRANK_DECLARE

#define LOWRANK_POINTER(name, args) void(*name) args = nullptr;
struct Kernels {
  LOWRANK_KERNELS(LOWRANK_POINTER)
};
#undef LOWRANK_POINTER

}  // namespace lowrank
