#include "core/ops/checks.h"
#include "core/ops/rope.h"

namespace lowrank::ops {
namespace {

constexpr const char* OP = "loraLinearGroup";

void check_lengths(size_t count, std::initializer_list<size_t> lengths) {
  check(count >= 1 && count <= size_t(LoraLayers::MOST), Code::Option, OP, ": ", count, " layers, expected 1 to ",
        LoraLayers::MOST);
  for (const size_t length : lengths)
    check(length == count, Code::Option, OP, ": a list of ", length, ", expected ", count, ", one for each layer");
}

Maybe maybe(const Tensor& t) { return t.defined() ? &t : nullptr; }

void check_defined(const Tensors& tensors) {
  for (const Tensor& t : tensors) check(t.defined(), Code::Option, OP, ": a tensor is missing");
}

void check_half(const Tensor& x) {
  check(is_half(x.dtype) && x.device().kind != DeviceKind::Cpu, Code::DType, OP,
        ": gradients of a in a later call, of x ", name_of(x.dtype), " on ", x.device().name(),
        ", expected bf16 or f16 on a GPU");
  check_matrix(OP, "x", x);
}

void check_layer(const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b, const Dropout& dropout) {
  check_linear(OP, x, w);
  check_factors(OP, x, w, a, b);
  check_dropout_rows(OP, dropout, x.shape[0]);
}

// An adapter's columns of t.
int64_t padded_rank(int64_t r) { return (r + LoraGradients::STEP - 1) / LoraGradients::STEP * LoraGradients::STEP; }

Tensor room_of_t(const Tensor& x, const Tensors& a) {
  check_half(x);
  int64_t ranks = 0;
  for (const Tensor& own : a) ranks += padded_rank(own.shape[0]);
  return Tensor::empty(x.device(), {x.shape[0], ranks}, DType::F32);
}

// What an earlier call left: {x, t, da…}.
LoraGradients gradients_of(const Tensors& list, const std::vector<Dropout>& dropouts) {
  LoraGradients all;
  if (list.empty()) return all;
  check_defined(list);
  const size_t count = dropouts.size();
  check(list.size() == count + 2 && count >= 1 && count <= size_t(LoraLayers::MOST), Code::Option, OP,
        ": what an earlier call left is a list of ", list.size(), " beside ", count,
        " masks, expected x, t and one da a mask");
  const Tensor &x = list[0], &t = list[1];
  check_half(x);
  check_same_device(OP, t, x);
  check_dtype(OP, "t", t, DType::F32);
  int64_t ranks = 0;
  for (size_t i = 0; i < count; ++i) {
    const Tensor& da = list[i + 2];
    check_parameter(OP, "da", da, x);
    check_matrix(OP, "da", da);
    check(da.shape[1] == x.shape[1], Code::Shape, OP, ": da ", da.shape, " does not match x ", x.shape);
    check_dropout_rows(OP, dropouts[i], x.shape[0]);
    ranks += padded_rank(da.shape[0]);
    all.layer[all.count++] = {da.view(), dropouts[i]};
  }
  check_shape(OP, "t", t, {x.shape[0], ranks});
  all.x = x.view(), all.t = t.view();
  return all;
}

}  // namespace

Tensors lora_linear_group(Tensor x, Tensors weights, Tensors biases, Tensors a, Tensors b, std::vector<double> scales,
                          std::vector<Dropout> dropouts, Compute compute, bool exact, Tensors rope, int head_dim,
                          bool interleaved, int turned, bool activated, Activation kind) {
  const size_t count = weights.size();
  check(rope.empty() || rope.size() == 2, Code::Option, OP, ": rope of ", rope.size(), " tensors, expected 0 or 2");
  check_defined(rope);
  check_lengths(count, {biases.size(), a.size(), b.size(), scales.size(), dropouts.size()});
  check(!activated || rope.empty(), Code::Option, OP, ": an activation beside rope, expected one of them");
  for (const Tensors* list : {&weights, &a, &b}) check_defined(*list);
  check_compute(OP, compute, x);
  LoraLayers layers;
  layers.count = int32_t(count);
  Rope turn;
  Tensors made(activated ? 3 * count : 2 * count);
  for (size_t i = 0; i < count; ++i) {
    check_layer(x, weights[i], a[i], b[i], dropouts[i]);
    check_bias(OP, maybe(biases[i]), x, weights[i].shape[0]);
  }
  for (size_t i = 0; i < count; ++i) {
    made[i] = Tensor::empty(x.device(), {x.shape[0], weights[i].shape[0]}, x.dtype);
    made[count + i] = Tensor::empty(x.device(), {x.shape[0], a[i].shape[0]}, sums_of(x.dtype));
    LoraLayer& layer = layers.layer[i];
    layer.y = made[i].view(), layer.s = made[count + i].view();
    layer.w = weights[i].view(), layer.bias = view_of(maybe(biases[i]));
    layer.a = a[i].view(), layer.b = b[i].view();
    layer.scale = scales[i], layer.dropout = dropouts[i];
    if (activated) layer.activated = {(made[2 * count + i] = like(made[i])).view(), kind};
    layer.turned = !rope.empty() && (turned >> i & 1);
    if (layer.turned) turn = rope_of(OP, made[i], &rope[0], &rope[1], head_dim, interleaved);
  }
  run(x.device(), OP, x.device().kernels.lora_linear_group, x.view(), layers, compute, exact, turn);
  return made;
}

Tensors lora_linear_group_backward(Tensor x, Tensors dy, Tensors weights, Tensors a, Tensors b, Tensors s,
                                   std::vector<double> scales, std::vector<Dropout> dropouts, Compute compute,
                                   bool exact, bool needs_dx, bool needs_da, bool needs_db, Maybe residual,
                                   bool leaves_t, Tensors earlier, std::vector<Dropout> earlier_dropouts, Maybe through,
                                   Activation kind) {
  const size_t count = weights.size();
  check_lengths(count, {dy.size(), a.size(), b.size(), s.size(), scales.size(), dropouts.size()});
  for (const Tensors* list : {&dy, &weights, &a, &b, &s}) check_defined(*list);
  check_compute(OP, compute, x);
  if (residual) check_twin(OP, "the gradient so far", *residual, x);
  if (through) check_twin(OP, "what was activated", *through, x);
  LoraLayers layers;
  layers.count = int32_t(count), layers.through = {view_of(through), kind};
  for (size_t i = 0; i < count; ++i) {
    check_layer(x, weights[i], a[i], b[i], dropouts[i]);
    check_like(OP, "dy", dy[i], x);
    check_shape(OP, "dy", dy[i], {x.shape[0], weights[i].shape[0]});
    check_same_device(OP, s[i], x);
    check_dtype(OP, "s", s[i], sums_of(x.dtype));
    check_shape(OP, "s", s[i], {x.shape[0], a[i].shape[0]});
  }
  const LoraGradients before = gradients_of(earlier, earlier_dropouts);
  if (before.count > 0) check_like(OP, "what an earlier call left", earlier[0], x);
  leaves_t = leaves_t && needs_da;
  Tensors made(1 + 2 * count);
  if (needs_dx) made[0] = like(x);
  for (size_t i = 0; i < count; ++i) {
    if (needs_da) made[1 + i] = like(a[i]);
    if (needs_db) made[1 + count + i] = like(b[i]);
    LoraLayer& layer = layers.layer[i];
    layer.w = weights[i].view(), layer.a = a[i].view(), layer.b = b[i].view(), layer.s = s[i].view();
    layer.dy = dy[i].view(), layer.da = made[1 + i].view(), layer.db = made[1 + count + i].view();
    layer.scale = scales[i], layer.dropout = dropouts[i];
  }
  const Tensor t = leaves_t ? room_of_t(x, a) : Tensor();
  run(x.device(), "loraLinearGroupBackward", x.device().kernels.lora_linear_group_backward, made[0].view(), x.view(),
      layers, compute, exact, view_of(residual), t.view(), before);
  if (leaves_t) made.push_back(t);
  return made;
}

void lora_gradients(Tensors earlier, std::vector<Dropout> dropouts, bool exact) {
  check(!earlier.empty(), Code::Option, OP, ": nothing is left by an earlier call");
  const LoraGradients left = gradients_of(earlier, dropouts);
  Device& device = earlier[0].device();
  run(device, "loraGradients", device.kernels.lora_linear_group_backward, View{}, left.x, LoraLayers{}, Compute::F32,
      exact, View{}, View{}, left);
}

}  // namespace lowrank::ops
