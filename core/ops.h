#pragma once
#include <vector>

#include "core/device.h"
#include "core/tensor.h"

// The native surface, one declaration per op: checks the inputs, allocates the outputs, hands over to the kernel of the
// inputs' device. Binding and TypeScript follow these signatures. The formulas stand at the kernels (core/kernels.h).
namespace lowrank::ops {

using Maybe = const Tensor*;          // null: absent
using Tensors = std::vector<Tensor>;  // an undefined one is a gradient nobody wants

void fill(const Tensor& y, double value);
Tensor cast(const Tensor& x, DType dtype);
void copy_into(const Tensor& y, const Tensor& x);
// dtype: I8 or NF4. cast and copy_into come here for them.
Tensor quantize(const Tensor& x, DType dtype);
Tensor dequantize(const Tensor& w, DType dtype);
Tensor add(const Tensor& a, const Tensor& b);
Tensor multiply(const Tensor& a, const Tensor& b);
// Columns of x[N, C] times v[C], with bias[C] added.
Tensor scale_columns(const Tensor& x, const Tensor& v, Maybe bias);
// Overwrites dy with dx; returns dv.
Tensor scale_columns_backward(const Tensor& dy, const Tensor& x, const Tensor& v, bool needs_dx, bool needs_dv);
// 1 / |row of w + scale b a|, [out], of squares[out] of w's rows, wa[r, out] = a w^T, gram[r, r] = a a^T and b[out, r].
Tensor inverse_norms(const Tensor& squares, const Tensor& wa, const Tensor& gram, const Tensor& b, double scale);
void accumulate(const Tensor& y, const Tensor& x, double alpha);
// y[i] += x[i] for each of the lists, whose tensors have one dtype.
void accumulate_all(Tensors y, Tensors x);
Tensor scale(const Tensor& x, double alpha);

Tensor activation(const Tensor& x, Activation kind);
// Overwrites dy with dx.
void activation_backward(const Tensor& dy, const Tensor& x, Activation kind);
Tensor gated_activation(const Tensor& gate, const Tensor& up, Activation kind);
// Overwrites dy with dgate; returns dup.
Tensor gated_activation_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, Activation kind);
Tensor log1mexp(const Tensor& x);
Tensor log1mexp_backward(const Tensor& dy, const Tensor& x);
Tensor dropout(const Tensor& x, Dropout dropout);

Tensor sum_rows(const Tensor& x);
Tensor sum(const Tensor& x);
Tensor sum_squares(const Tensor& x);

// dtype: of the product. f32 (f64 of f64); on a GPU also bf16 or f16.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, Compute compute, DType dtype);
// With positions and table, what rope() makes of it; head_dim, interleaved: rope's.
Tensor linear(const Tensor& x, const Tensor& w, Maybe bias, Compute compute, Maybe positions, Maybe table, int head_dim,
              bool interleaved);
// Returns {y, s}; y may be turned as in linear().
Tensors lora_linear(const Tensor& x, const Tensor& w, Maybe bias, const Tensor& a, const Tensor& b, double scale,
                    Dropout dropout, Compute compute, bool exact, Maybe positions, Maybe table, int head_dim,
                    bool interleaved);
// Returns {dx, da, db}.
Tensors lora_linear_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b,
                             const Tensor& s, double scale, Dropout dropout, Compute compute, bool exact, bool needs_dx,
                             bool needs_da, bool needs_db, Maybe residual);
// lora_linear of layers that share x; each list has one element a layer, and an undefined bias is absent. The tensors
// are copies: reading the lists' elements may run JavaScript. `rope`: {positions, table} or nothing; bit i of `turned`:
// whether it is for layer i. Returns {y…, s…}, with `activated` {y…, s…, kind(y)…}.
Tensors lora_linear_group(Tensor x, Tensors weights, Tensors biases, Tensors a, Tensors b, std::vector<double> scales,
                          std::vector<Dropout> dropouts, Compute compute, bool exact, Tensors rope, int head_dim,
                          bool interleaved, int turned, bool activated, Activation kind);
// Returns {dx, da…, db…}, dx summed over the layers. With `leaves_t`, beside bf16 and f16, also t: then the da are made
// by the call that is given `earlier` = {x, t, da…} and the masks of their layers, or by lora_gradients. With
// `through`, x is kind(through), and dx the gradient of that.
Tensors lora_linear_group_backward(Tensor x, Tensors dy, Tensors weights, Tensors a, Tensors b, Tensors s,
                                   std::vector<double> scales, std::vector<Dropout> dropouts, Compute compute,
                                   bool exact, bool needs_dx, bool needs_da, bool needs_db, Maybe residual,
                                   bool leaves_t, Tensors earlier, std::vector<Dropout> earlier_dropouts, Maybe through,
                                   Activation kind);
void lora_gradients(Tensors earlier, std::vector<Dropout> dropouts, bool exact);

// lora_linear in which groups of consecutive rows, rows[i] each, have factors a[i], b[i], or undefined ones: none.
// `bias`: one or none. `rope`: as above, of all rows. `dropouts`: of each group, whose rows it counts from its first;
// on a GPU all groups share the one of the batch. Returns {y, s…}.
Tensors lora_linear_rows(Tensor x, Tensor w, Tensors bias, std::vector<double> rows, Tensors a, Tensors b,
                         std::vector<double> scales, std::vector<Dropout> dropouts, Compute compute, bool exact,
                         Tensors rope, int head_dim, bool interleaved);
// Returns {dx, da…, db…}.
Tensors lora_linear_rows_backward(Tensor dy, Tensor x, Tensor w, std::vector<double> rows, Tensors a, Tensors b,
                                  Tensors s, std::vector<double> scales, std::vector<Dropout> dropouts, Compute compute,
                                  bool exact, bool needs_dx, bool needs_da, bool needs_db);

// dtype: of the activations, or of the table's gradient.
Tensor embedding(const Tensor& table, const Tensor& ids, DType dtype);
Tensor embedding_backward(const Tensor& dy, const Tensor& ids, int64_t rows, DType dtype);

// ids i32[N].
Tensor sample(const Tensor& logits, Sampling options);

// Returns {y, h, mean, rstd}; h is undefined where it would equal x.
Tensors layer_norm(const Tensor& x, Maybe residual, const Tensor& w, Maybe b, double eps, Dropout dropout);
// Returns {dx, dresidual, dw, db}; dresidual is undefined where it equals dx (no dropout).
Tensors layer_norm_backward(const Tensor& dy, Maybe dh, const Tensor& h, const Tensor& w, const Tensor& mean,
                            const Tensor& rstd, Dropout dropout, bool needs_dresidual, bool needs_dw, bool needs_db);

// Returns {y, h, rstd}; h is undefined where it would equal x.
Tensors rms_norm(const Tensor& x, Maybe residual, const Tensor& w, double offset, double eps, Dropout dropout);
// Returns {dx, dw}.
Tensors rms_norm_backward(const Tensor& dy, Maybe dh, const Tensor& h, const Tensor& w, const Tensor& rstd,
                          double offset, bool needs_dx, bool needs_dw);

// Returns {q, k}, turned; k is undefined where there was none.
Tensors rope(const Tensor& q, Maybe k, const Tensor& positions, const Tensor& table, int head_dim, bool interleaved);
// Overwrites dy with dx.
void rope_backward(const Tensor& dy, const Tensor& positions, const Tensor& table, int head_dim, bool interleaved);

// Returns {o, lse}.
Tensors attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens, Maybe key_seqlens,
                  Maybe bias, AttentionShape shape, Dropout dropout);
// Returns {dq, dk, dv}.
Tensors attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                           const Tensor& lse, const Tensor& cu_seqlens, Maybe key_seqlens, Maybe bias,
                           AttentionShape shape, Dropout dropout);
Tensor attention_bias_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                               const Tensor& lse, const Tensor& cu_seqlens, Maybe key_seqlens, const Tensor& bias,
                               AttentionShape shape, Dropout dropout);
void cache_write(const Tensor& k_cache, const Tensor& v_cache, const Tensor& k, const Tensor& v, const Tensor& slots);
Tensor attention_decode(const Tensor& q, const Tensor& k_cache, const Tensor& v_cache, const Tensor& lengths,
                        const Tensor& pages, Maybe bias, AttentionShape shape);

// Returns {loss, lse}.
Tensors cross_entropy(const Tensor& logits, const Tensor& labels, Maybe weights, CrossEntropy options);
Tensor cross_entropy_backward(const Tensor& dloss, const Tensor& logits, const Tensor& labels, Maybe weights,
                              const Tensor& lse, CrossEntropy options);
// Returns {loss, dx}; dx lacks dloss and options.scale.
Tensors linear_cross_entropy(const Tensor& x, const Tensor& w, Maybe bias, const Tensor& labels,
                             LinearCrossEntropy options, bool needs_dx);
Tensor linear_cross_entropy_backward(const Tensor& dloss, const Tensor& dx, double scale);
Tensor bce(const Tensor& logits, const Tensor& targets, Maybe positive_weights, double scale);
Tensor bce_backward(const Tensor& dloss, const Tensor& logits, const Tensor& targets, Maybe positive_weights,
                    double scale);
Tensor mse(const Tensor& x, const Tensor& targets, double scale);
Tensor mse_backward(const Tensor& dloss, const Tensor& x, const Tensor& targets, double scale);

void adamw(const Tensor& params, const Tensor& grads, const Tensor& m, const Tensor& v, const Tensor& slices,
           const Tensor& squared_norm, AdamW options);
void adamw8(const Tensor& params, const Tensor& grads, const Tensor& m, const Tensor& v, const Tensor& m_scale,
            const Tensor& v_scale, const Tensor& slices, const Tensor& squared_norm, AdamW options);

}  // namespace lowrank::ops
