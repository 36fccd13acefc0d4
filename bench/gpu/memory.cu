// What is bound by bandwidth, beside what copies reach: norms, AdamW, quantised weights.

#include "bench/gpu/bench.cuh"
#include "core/quantized.h"

namespace lowrank::bench {
namespace {

// The share of the bandwidth of copies at which `run` moves `bytes`.
void against_copies(const std::string& what, int64_t bytes, const std::function<void()>& run,
                    const std::string& peer = "") {
  const double ms = contest({{what, run}})[0], rate = double(bytes) / ms * 1e3;
  add({what + ": share of copy bandwidth", "x", rate / copy_bandwidth(), 0.8, 0.9, false,
       text("%.4g ms, %.0f GB/s", ms, rate * 1e-9), ms, peer});
}

}  // namespace

GPU_BENCH(layer_norm) {
  const int64_t rows = pick(16384, 32), d = pick(4096, 64);
  const Data x(DType::BF16, {rows, d}), residual(DType::BF16, {rows, d}), y(DType::BF16, {rows, d});
  const Data h(DType::BF16, {rows, d}), dy(DType::BF16, {rows, d}), dx(DType::BF16, {rows, d});
  const Data w(DType::F32, {d}), b(DType::F32, {d}), mean(DType::F32, {rows}), rstd(DType::F32, {rows});
  const Dropout off;
  against_copies("layer_norm", x.bytes() * 2,
                 [&] { cuda::layer_norm(y, View{}, mean, rstd, x, View{}, w, b, 1e-5, off); });
  against_copies("layer_norm with residual", x.bytes() * 4,
                 [&] { cuda::layer_norm(y, h, mean, rstd, x, residual, w, b, 1e-5, off); });
  against_copies("layer_norm backward, frozen weights", x.bytes() * 3,
                 [&] { cuda::layer_norm_backward(dx, View{}, View{}, View{}, dy, View{}, x, w, mean, rstd, off); });
}

GPU_BENCH(rms_norm) {
  const int64_t rows = pick(16384, 32), d = pick(4096, 64);
  const Data x(DType::BF16, {rows, d}), y(DType::BF16, {rows, d}), dy(DType::BF16, {rows, d}),
      dx(DType::BF16, {rows, d});
  const Data w(DType::F32, {d}), rstd(DType::F32, {rows});
  against_copies("rms_norm", x.bytes() * 2,
                 [&] { cuda::rms_norm(y, View{}, rstd, x, View{}, w, 0.0, 1e-6, Dropout{}); });
  against_copies("rms_norm backward, frozen weight", x.bytes() * 3,
                 [&] { cuda::rms_norm_backward(dx, View{}, dy, View{}, x, w, rstd, 0.0); });
}

GPU_BENCH(adamw) {
  const int64_t n = pick(int64_t(64) << 20, 4096);
  const Data p(DType::F32, {n}), g(DType::F32, {n}), m(DType::F32, {n}), v(DType::F32, {n});
  const Data slices(DType::F64, {1, 4}), squared_norm(DType::F32, {1});
  const double slice[] = {0, double(n), 1, 1};
  cuda::backend.upload(View(slices).data, slice, sizeof slice);
  AdamW options = {};
  options.lr = 1e-4, options.beta1 = 0.9, options.beta2 = 0.999, options.eps = 1e-8, options.step = 1;
  cuda::backend.upload(View(v).data, std::vector<float>(size_t(n), 1.0f).data(), size_t(v.bytes()));
  against_copies("adamw, f32 states", n * 28, [&] { cuda::adamw(p, g, m, v, slices, squared_norm, options); });
}

GPU_BENCH(dequantize) {
  const int64_t out = pick(8192, 64), in = pick(8192, 128);
  const Data floats(DType::F32, {out, in}, 0.02), wide(DType::BF16, {out, in});
  for (const DType dtype : {DType::NF4, DType::I8}) {
    const Data packed(DType::U8, {int64_t(quantized_layout(dtype, out, in).bytes)});
    View w = floats;
    w.dtype = dtype, w.data = View(packed).data;
    cuda::quantize(w, floats);
    against_copies(std::string("dequantize ") + name_of(dtype), packed.bytes() + wide.bytes(),
                   [&] { cuda::dequantize(wide, w); });
  }
}

GPU_BENCH(elementwise) {
  const int64_t rows = pick(16384, 32), d = pick(4096, 64);
  const Data x(DType::BF16, {rows, d}), y(DType::BF16, {rows, d}), z(DType::BF16, {rows, d});
  against_copies("add", x.bytes() * 3, [&] { cuda::add(z, x, y); });
  against_copies("gelu", x.bytes() * 2, [&] { cuda::activation(y, x, Activation::Gelu); });
}

}  // namespace lowrank::bench
