// Attention, forward and backward: causal, heads of 64 and 128, sequences of 4k and 16k, 16k tokens in all.

#include <cmath>

#include "bench/gpu/bench.cuh"

namespace lowrank::bench {
namespace {

void attend(int32_t dim, int64_t length, int64_t tokens) {
  const int32_t heads = int32_t(pick(2048, 128)) / dim;
  const int64_t sequences = tokens / length, width = int64_t(heads) * dim;
  const std::string name = text("hd %d, causal, %lldk", dim, (long long)(length / 1024));
  const Data q(DType::BF16, {tokens, width}), k(DType::BF16, {tokens, width}), v(DType::BF16, {tokens, width});
  const Data o(DType::BF16, {tokens, width}), dy(DType::BF16, {tokens, width}), lse(DType::F32, {tokens, heads});
  const Data dq(DType::BF16, {tokens, width}), dk(DType::BF16, {tokens, width}), dv(DType::BF16, {tokens, width});
  std::vector<int32_t> ends;
  for (int64_t i = 0; i <= sequences; ++i) ends.push_back(int32_t(i * length));
  const Data cu_seqlens({sequences + 1}, ends);
  AttentionShape shape = {};
  shape.heads = shape.kv_heads = heads;
  shape.head_dim = dim;
  shape.causal = 1;
  shape.max_length = shape.row_stride = length;
  shape.scale = 1 / std::sqrt(double(dim));
  const auto ms = contest(
      {{"forward", [&] { cuda::attention(o, lse, q, k, v, cu_seqlens, View{}, View{}, shape, Dropout{}); }},
       {"backward", [&] {
          cuda::attention_backward(dq, dk, dv, dy, q, k, v, o, lse, cu_seqlens, View{}, View{}, shape, Dropout{});
        }}});
  // Two products forward and five backward, half of each masked away.
  const double product = double(tokens) * double(length) * double(width);
  const std::string peer = text("attention_%d_%lld", dim, (long long)length);
  add({"attention forward " + name, "TFLOP/s", 2 * product / ms[0] * 1e-9, 0, 470, false, text("%.4g ms", ms[0]), ms[0],
       peer + "_forward"});
  add({"attention backward " + name, "TFLOP/s", 5 * product / ms[1] * 1e-9, 0, 470, false, text("%.4g ms", ms[1]),
       ms[1], peer + "_backward"});
}

}  // namespace

GPU_BENCH(attention) {
  const int64_t tokens = pick(16384, 128);
  for (const int32_t dim : {64, 128})
    for (const int64_t length : {tokens / 4, tokens}) attend(dim, length, tokens);
}

}  // namespace lowrank::bench
