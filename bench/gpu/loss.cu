// The loss of a language model's head, logits never whole: 8k tokens, 128k classes.

#include "bench/gpu/bench.cuh"

namespace lowrank::bench {
GPU_BENCH(linear_cross_entropy) {
  const int64_t tokens = pick(8192, 32), classes = pick(131072, 128), d = pick(4096, 64);
  const Data x(DType::BF16, {tokens, d}), w(DType::BF16, {classes, d}, 0.02), dx(DType::BF16, {tokens, d});
  const Data loss(DType::F32, {1});
  std::vector<int32_t> label(size_t(tokens), 0);
  for (int64_t i = 0; i < tokens; ++i) label[size_t(i)] = int32_t(i * 7919 % classes);
  const Data labels({tokens}, label);
  LinearCrossEntropy options = {};
  options.ignore_index = -100;
  options.scale = 1.0 / double(tokens);
  // What core/ops chooses: as many rows as 512 MB of bf16 logits hold.
  options.chunk = pick((int64_t(512) << 20) / (classes * 2) / 128 * 128, 16);
  options.compute = Compute::BF16;
  auto call = [&] { cuda::linear_cross_entropy(loss, dx, x, w, View{}, labels, options); };
  const double ms = contest({{"forward and dx", call}})[0];
  const Needs needs = cuda::measure(
      0, [](void* f) { (*static_cast<decltype(call)*>(f))(); }, &call);
  const double bytes = double(needs.scratch);
  const double flop = 4.0 * double(tokens) * double(classes) * double(d);
  add({"linear + cross-entropy, loss and dx", "TFLOP/s", flop / ms * 1e-9, 600, 600, false, text("%.4g ms", ms), ms,
       ""});
  add({"linear + cross-entropy, workspace", "MB", bytes * 1e-6, 512, 512, true, "scratch, of the pool", 0, ""});
}

}  // namespace lowrank::bench
