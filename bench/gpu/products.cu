// Matrix products and the LoRA linear beside cuBLAS.

#include "bench/gpu/bench.cuh"
#include "cuda/gemm/product.h"

namespace lowrank::bench {
namespace {

constexpr auto BF16 = DType::BF16;

double tera(double flop, double ms) { return flop / ms * 1e-9; }

void plain_product(int64_t n) {
  const Data x(BF16, {n, n}), w(BF16, {n, n}), y(BF16, {n, n});
  cuda::gemm::Product product;
  product.type = BF16;
  product.m = product.n = n;
  product.segments = 1;
  product.segment[0] = {n, {View(x).data, n, true}, {View(w).data, n, true}};
  product.y = y;
  std::vector<Contestant> contestants = {{"own", [&] { cuda::gemm::multiply(product); }}};
  if (has_cublas()) contestants.push_back({"cuBLAS", [&] { cublas_product(y, x, w, true); }});
  const auto ms = contest(contestants);
  const double flop = 2.0 * double(n) * double(n) * double(n);
  const std::string what = text("bf16 GEMM %lld^3: own / cuBLAS", (long long)n);
  const std::string own = text("own %.4g ms, %.0f TFLOP/s", ms[0], tera(flop, ms[0]));
  if (ms.size() < 2) return skip(what, "no cuBLAS; " + own);
  add({what, "x", ms[1] / ms[0], 0.9, 1, false, own + text("; cuBLAS %.4g ms, %.0f TFLOP/s", ms[1], tera(flop, ms[1])),
       ms[0], ""});
}

}  // namespace

GPU_BENCH(gemm) {
  for (const int64_t n : {pick(4096, 128), pick(8192, 256)}) plain_product(n);
}

// y = x w^T + s b^T and its backward, against the two products that a frozen linear layer makes without LoRA.
GPU_BENCH(lora_linear) {
  const std::string what = "lora_linear forward + backward / two plain cuBLAS GEMMs, time";
  const int64_t m = pick(8192, 64), n = pick(4096, 64), k = n, r = 16;
  const Data x(BF16, {m, k}), w(BF16, {n, k}, 0.02), dy(BF16, {m, n}), y(BF16, {m, n}), dx(BF16, {m, k});
  const Data a(DType::F32, {r, k}, 0.02), b(DType::F32, {n, r}, 0.02), s(DType::F32, {m, r});
  const Data da(DType::F32, {r, k}), db(DType::F32, {n, r});
  Dropout dropout;
  dropout.keep = 230;
  dropout.seed = 7;
  const auto forward = [&] { cuda::lora_linear(y, s, x, w, View{}, a, b, 2.0, dropout, Compute::BF16, true, Rope{}); };
  const auto backward = [&] {
    cuda::lora_linear_backward(dx, da, db, dy, x, w, a, b, s, 2.0, dropout, Compute::BF16, true, {});
  };
  std::vector<Contestant> contestants = {
      {"forward", forward}, {"backward", backward}, {"both", [&] { forward(), backward(); }}};
  if (has_cublas())
    contestants.push_back({"cuBLAS", [&] {
                             cublas_product(y, x, w, true);
                             cublas_product(dx, dy, w, false);
                           }});
  const auto ms = contest(contestants);
  const double flop = 4.0 * double(m) * double(n) * double(k);
  const std::string own = text("forward %.4g ms, backward %.4g ms, both %.4g ms (%.0f TFLOP/s of the base)", ms[0],
                               ms[1], ms[2], tera(flop, ms[2]));
  add({"lora_linear forward + backward", "ms", ms[2], 0, 0, true, own, ms[2], "lora_linear"});
  if (ms.size() < 4) return skip(what, "no cuBLAS");
  add({what, "x", ms[2] / ms[3], 1.15, 1.04, true, own + text("; cuBLAS %.4g ms", ms[3]), ms[2], ""});
}

namespace {

// Forward of rows in `count` groups, each with factors of its own, against the same rows with one adapter.
void rows_of_adapters(int64_t m, int count, double bar) {
  const int64_t n = pick(4096, 64), k = n, r = 16;
  const Data x(BF16, {m, k}), w(BF16, {n, k}, 0.02), y(BF16, {m, n});
  const Data a(DType::F32, {r, k}, 0.02), b(DType::F32, {n, r}, 0.02), s(DType::F32, {m, r});
  LoraRows op;
  op.x = x, op.w = w, op.y = y, op.compute = Compute::BF16;
  for (op.count = 0; op.count < count; ++op.count) {
    LoraRows::Group& own = op.group[op.count];
    own.begin = m * op.count / count, own.rows = m * (op.count + 1) / count - own.begin;
    own.a = a, own.b = b, own.s = own.of(s), own.scale = 2;
  }
  const auto ms =
      contest({{"groups", [&] { cuda::lora_linear_rows(op); }},
               {"one", [&] { cuda::lora_linear(y, s, x, w, View{}, a, b, 2, {}, Compute::BF16, true, Rope{}); }}});
  add({text("lora_linear of %lld rows in %d groups / in one, time", (long long)m, count), "x", ms[0] / ms[1], bar, 1,
       true, text("%.4g ms; one %.4g ms", ms[0], ms[1]), ms[0], ""});
}

}  // namespace

GPU_BENCH(lora_linear_rows) {
  rows_of_adapters(pick(8192, 64), 8, 1.25);
  rows_of_adapters(16, 16, 2);  // as while decoding
}

}  // namespace lowrank::bench
