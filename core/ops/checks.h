#pragma once
#include <cmath>

#include "core/ops.h"

// Checks that several ops share. `op` is the JavaScript name.
namespace lowrank::ops {

inline void check_same_device(const char* op, const Tensor& a, const Tensor& b) {
  check(&a.device() == &b.device(), Code::Device, op, ": one input is on ", a.device().name(), ", another on ",
        b.device().name());
}

inline void check_dtype(const char* op, const char* what, const Tensor& t, DType dtype) {
  check(t.dtype == dtype, Code::DType, op, ": ", what, " is ", name_of(t.dtype), ", expected ", name_of(dtype));
}

inline bool is_half(DType dtype) { return dtype == DType::BF16 || dtype == DType::F16; }

// Activations: f32, f64 or bf16, and on a GPU f16 too.
inline bool is_activation(DType dtype, const Device& device) {
  return dtype == DType::F32 || dtype == DType::F64 || dtype == DType::BF16 ||
         (dtype == DType::F16 && device.kind != DeviceKind::Cpu);
}

inline void check_float(const char* op, const char* what, const Tensor& t) {
  check(is_activation(t.dtype, t.device()), Code::DType, op, ": ", what, " is ", name_of(t.dtype),
        ", expected f32, f64", t.device().kind == DeviceKind::Cpu ? " or bf16" : ", bf16 or f16");
}

// What sums over activations are kept in: losses, statistics, gradients of biases.
inline DType sums_of(DType dtype) { return dtype == DType::F64 ? DType::F64 : DType::F32; }

inline void check_shape(const char* op, const char* what, const Tensor& t, const Shape& shape) {
  check(t.shape == shape, Code::Shape, op, ": ", what, " ", t.shape, ", expected ", shape);
}

inline void check_matrix(const char* op, const char* what, const Tensor& t) {
  check(t.shape.rank == 2, Code::Shape, op, ": ", what, " ", t.shape, ", expected two dimensions");
}

// `t` is on x's device and has x's dtype.
inline void check_like(const char* op, const char* what, const Tensor& t, const Tensor& x) {
  check_same_device(op, t, x);
  check_dtype(op, what, t, x.dtype);
}

inline void check_twin(const char* op, const char* what, const Tensor& t, const Tensor& x) {
  check_like(op, what, t, x);
  check_shape(op, what, t, x.shape);
}

// A parameter beside activations (bias, norm, low-rank factor, class weights) has their dtype; beside bf16 or f16 it
// may be f32, as all that trains is.
inline void check_parameter(const char* op, const char* what, const Tensor& p, const Tensor& x) {
  check_same_device(op, p, x);
  check(p.dtype == x.dtype || (is_half(x.dtype) && p.dtype == DType::F32), Code::DType, op, ": ", what, " is ",
        name_of(p.dtype), ", activations are ", name_of(x.dtype));
}

// A weight has the activations' dtype, or is bf16 storage under f32; beside bf16 or f16 it is any float but f64. A
// quantised one goes with all but f64.
inline void check_weight(const char* op, const char* what, const Tensor& w, const Tensor& x) {
  check_same_device(op, w, x);
  const bool narrow = w.dtype == DType::BF16 && x.dtype == DType::F32;
  const bool mixed = is_half(x.dtype) && w.dtype != DType::F64 && is_activation(w.dtype, x.device());
  const bool quantized = is_quantized(w.dtype) && x.dtype != DType::F64;
  check(w.dtype == x.dtype || narrow || mixed || quantized, Code::DType, op, ": ", what, " is ", name_of(w.dtype),
        ", activations are ", name_of(x.dtype));
}

// `t`: any of the tensors of the product.
inline void check_compute(const char* op, Compute compute, const Tensor& t) {
  check(compute != Compute::TF32 || t.device().kind != DeviceKind::Cpu, Code::Unsupported, op, ": compute tf32 on ",
        t.device().name(), ", tensor cores have it; use f32 or bf16");
}

inline void check_linear(const char* op, const Tensor& x, const Tensor& w) {
  check_float(op, "x", x);
  check_matrix(op, "x", x);
  check_matrix(op, "weight", w);
  check_weight(op, "weight", w, x);
  check(w.shape[1] == x.shape[1], Code::Shape, op, ": weight ", w.shape, " does not match x ", x.shape);
}

inline void check_bias(const char* op, Maybe bias, const Tensor& x, int64_t out) {
  if (!bias) return;
  check_parameter(op, "bias", *bias, x);
  check_shape(op, "bias", *bias, {out});
}

// The factors of a low-rank adapter beside the weight w.
inline void check_factors(const char* op, const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
  check_parameter(op, "A", a, x);
  check_parameter(op, "B", b, x);
  check_matrix(op, "A", a);
  check(a.shape[1] == w.shape[1], Code::Shape, op, ": A ", a.shape, " does not match weight ", w.shape);
  check_shape(op, "B", b, {w.shape[0], a.shape[0]});
}

inline View view_of(Maybe t) { return t ? t->view() : View{}; }

// The gradient of a loss: one number of any float type.
inline void check_dloss(const char* op, const Tensor& dloss, const Tensor& x) {
  check_same_device(op, dloss, x);
  check(dloss.dtype == DType::F32 || dloss.dtype == DType::F64, Code::DType, op, ": dloss is ", name_of(dloss.dtype),
        ", expected f32 or f64");
  check_shape(op, "dloss", dloss, {1});
}

// Counters of dropout have 32 bits for the row; past them masks would repeat.
inline void check_dropout_rows(const char* op, const Dropout& dropout, int64_t rows) {
  constexpr int64_t MOST = int64_t(1) << 32;
  if (!dropout.active()) return;
  check(dropout.row_offset >= 0 && rows <= MOST && dropout.row_offset <= MOST - rows, Code::Option, op, ": dropout of ",
        rows, " rows from ", dropout.row_offset, " on, expected at most ", MOST, " rows in one step; lower accumulate");
}

// Indices are data, checked by whoever uploads them. Where a wrong one would reach foreign memory, the CPU's queue
// looks again, ahead of the kernel: a bad one is a fault of `op`, and the kernel is skipped. Kernels of CUDA look
// themselves (cuda/indices.cuh).
template <typename F>
void check_in_queue(Device& device, const char* op, F&& body) {
  if (device.kind == DeviceKind::Cpu) device.queue.push(op, std::forward<F>(body));
}

inline void check_indices(const char* op, const char* what, const Tensor& indices, int64_t limit,
                          int64_t also = INT64_MAX) {
  check_in_queue(indices.device(), op, [what, view = indices.view(), limit, also] {
    const auto* list = view.as<int32_t>();
    for (int64_t i = 0; i < view.size(); ++i)
      check((list[i] >= 0 && list[i] < limit) || list[i] == also, Code::Option, what, " ", list[i], " at index ", i,
            ", expected 0 to ", limit - 1);
  });
}

inline void check_loss_inputs(const char* op, const Tensor& logits, const Tensor& targets) {
  check_float(op, "logits", logits);
  check_matrix(op, "logits", logits);
  check_parameter(op, "targets", targets, logits);
  check_shape(op, "targets", targets, logits.shape);
}

inline void check_class_weights(const char* op, Maybe weights, const Tensor& logits) {
  if (!weights) return;
  check_parameter(op, "weights", *weights, logits);
  check_shape(op, "weights", *weights, {logits.cols()});
}

inline Tensor like(const Tensor& x) { return Tensor::empty(x.device(), x.shape, x.dtype); }

inline Tensor scalar_like(const Tensor& x) { return Tensor::empty(x.device(), {1}, sums_of(x.dtype)); }

}  // namespace lowrank::ops
