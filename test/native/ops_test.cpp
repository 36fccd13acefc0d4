// Every CPU kernel but the products: fast f32 of each instruction set against the f64 specification, 1 against 3
// threads to the bit, gradients against finite differences, guard bands, dropout bits. Exit code 1 on any failure.
#include <algorithm>
#include <functional>

#include "cpu/convert.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/philox.h"
#include "cpu/vector/rows.h"
#include "test/native/mat.h"
#include "test/native/sets.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

template <typename T>
using Mats = std::vector<Mat<T>>;
Random rnd;

// What a set has for bf16 is in its products alone.
std::vector<const char*> vector_sets() {
  std::vector<const char*> names;
  for (const char* name : instruction_sets())
    if (!std::strstr(name, "bf16")) names.push_back(name);
  return names;
}

template <typename T>
Mats<T> converted(const Mats<double>& x) {
  Mats<T> y;
  for (const auto& m : x) y.push_back(m.template as<T>());
  return y;
}

// op(inputs) -> outputs, for f32 and f64 alike.
template <typename Op>
void check_op(const std::string& name, const Mats<double>& inputs, Op op, Tolerance tolerance = {}) {
  cpu::set_threads(1);
  const Mats<double> want = op(converted<double>(inputs));
  for (const char* isa : vector_sets()) {
    cpu::set_isa(isa);
    cpu::set_threads(1);
    const Mats<float> in = converted<float>(inputs), one = op(in);
    cpu::set_threads(3);
    const Mats<float> many = op(in);
    for (size_t i = 0; i < want.size(); ++i) {
      const std::string label = name + " output " + std::to_string(i) + " on " + isa;
      compare(label, one[i], want[i], tolerance);
      expect(std::memcmp(one[i].data(), many[i].data(), one[i].size() * 4) == 0, label + ": threads change the result");
    }
    for (const auto& m : in) expect(m.guarded(), name + ": wrote outside an input");
  }
  cpu::set_isa(nullptr);
}

// Gradients of sum_i seed_i output_i in f64: backward(inputs, seed) against central differences of forward(inputs).
void check_gradient(const std::string& name, const Mats<double>& inputs,
                    const std::function<Mat<double>(const Mats<double>&)>& forward,
                    const std::function<Mats<double>(const Mats<double>&, const Mat<double>&)>& backward) {
  if (few) return;  // they are those of the specification
  const Mat<double> y = forward(inputs), seed = random_mat(rnd, y.rows, y.cols);
  const Mats<double> got = backward(inputs, seed);
  const auto loss = [&] {
    const Mat<double> out = forward(inputs);
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * seed[i];
    return sum;
  };
  for (size_t g = 0; g < got.size(); ++g) {
    Mat<double> want(got[g].rows, got[g].cols);
    for (size_t i = 0; i < want.size(); ++i) {
      double& x = inputs[g][i];
      const double before = x, step = 1e-5;
      x = before + step;
      const double up = loss();
      x = before - step;
      const double down = loss();
      x = before;
      want[i] = (up - down) / (2 * step);
    }
    compare(name + " gradient " + std::to_string(g), got[g], want, {1e-6, 1e-6});
  }
}

Dropout some_dropout(int32_t keep) {
  Dropout d;
  d.keep = keep, d.site = 0x1234567, d.step = 3, d.seed = 0xfedcba9876543210ull, d.row_offset = 77;
  return d;
}

void test_philox() {
  // Salmon et al.'s known answer for Philox4x32-7: counter and key all ones.
  Dropout ones;
  ones.seed = ~0ull, ones.site = ones.step = ~0u;
  uint32_t words[4];
  cpu::philox(ones, ~0u, ~0u, words);
  const uint32_t answer[4] = {0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662};
  expect(std::memcmp(words, answer, 16) == 0, "philox: known answer");

  for (const int32_t keep : {1, 26, 128, 230, 255})
    for (const int64_t chunks : {1, 2, 3, 4, 5, 12}) {
      const Dropout d = some_dropout(keep);
      const int64_t rows = 7, first = 5;
      for (const char* isa : vector_sets()) {
        cpu::set_isa(isa);
        std::vector<uint64_t> bits(size_t(rows * chunks) + 1, 0x5a5a);
        cpu::row_kernels().dropout_bits(cpu::dropout_key(d), 99, rows, first, chunks, bits.data());
        bool same = bits.back() == 0x5a5a;
        for (int64_t i = 0; i < rows * chunks * 64; ++i) {
          const int64_t column = first * 64 + i % (chunks * 64);
          const bool kept = cpu::dropout_byte(d, uint64_t(99 + i / (chunks * 64)), column) < keep;
          same &= kept == bool(bits[size_t(i / 64)] >> (i % 64) & 1);
        }
        expect(same, std::string("dropout bits on ") + isa);
      }
    }
  cpu::set_isa(nullptr);
}

void test_functions() {
  for (const char* isa : vector_sets()) {
    cpu::set_isa(isa);
    Mat<float> x(1, 40000), y(1, 40000);
    double exp_ulp = 0, cdf_error = 0;
    for (size_t i = 0; i < x.size(); ++i) x[i] = float(-87 + 175.0 * double(i) / double(x.size()));
    cpu::row_kernels().exp(y.data(), x.data(), int64_t(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = std::exp(double(x[i]));
      exp_ulp = std::fmax(exp_ulp, std::fabs(double(y[i]) - want) / std::ldexp(1.0, std::ilogb(want) - 23));
    }
    for (size_t i = 0; i < x.size(); ++i) x[i] = float(-6 + 12.0 * double(i) / double(x.size()));
    cpu::row_kernels().normal_cdf(y.data(), x.data(), int64_t(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = 0.5 * std::erfc(-double(x[i]) * 0.70710678118654752440);
      cdf_error = std::fmax(cdf_error, std::fabs(double(y[i]) - want) / std::fmax(want, 1e-3));
    }
    std::printf("%s: exp %.2f ulp, normal cdf %.2g relative\n", isa, exp_ulp, cdf_error);
    expect(exp_ulp <= 2, std::string("exp is off on ") + isa);
    expect(cdf_error <= 1e-6, std::string("normal cdf is off on ") + isa);
    const float edge[] = {-INFINITY, -200, -104, -100, -88, 88.7f, 89, 1000, INFINITY, NAN, 0};
    float out[11];
    cpu::row_kernels().exp(out, edge, 11);
    for (int i = 0; i < 11; ++i) {
      const float want = std::exp(edge[i]);
      const bool close = std::fabs(out[i] - want) <= 3e-7f * want + 2e-45f;
      expect(out[i] == want || close || (want != want && out[i] != out[i]), std::string("exp at an edge on ") + isa);
    }
  }
  cpu::set_isa(nullptr);
}

void test_copy() {
  const auto bf16 = [](double x) { return cpu::Convert<cpu::Bf16>::from(x).bits; };
  const auto f16 = [](double x) { return cpu::Convert<cpu::F16>::from(x).bits; };
  expect(bf16(1 + 0x1p-8) == 0x3f80 && bf16(1 + 3 * 0x1p-8) == 0x3f82, "bf16: ties go to even");
  expect(bf16(1 + 0x1p-8 + 0x1p-40) == 0x3f81, "bf16: f64 is rounded once");
  expect(bf16(INFINITY) == 0x7f80 && bf16(-1e300) == 0xff80 && (bf16(NAN) & 0x7fff) > 0x7f80, "bf16: specials");
  expect(f16(65519.9) == 0x7bff && f16(65520) == 0x7c00 && f16(0x1p-24) == 1 && f16(0x1p-25) == 0, "f16: ends");
  expect(f16(1 + 0x1p-11) == 0x3c00 && f16(1 + 0x1p-11 + 0x1p-40) == 0x3c01, "f16: ties and f64");
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t h = uint16_t(i);
    const float half = cpu::widen(cpu::F16{h}), brain = cpu::widen(cpu::Bf16{h});
    if (half == half) expect(cpu::to_f16(half).bits == h && f16(double(half)) == h, "f16: round trip");
    else expect((i & 0x7fff) > 0x7c00, "f16: NaN");
    if (brain == brain) expect(cpu::to_bf16(brain).bits == h && bf16(double(brain)) == h, "bf16: round trip");
  }
  const DType types[] = {DType::F32, DType::F64, DType::BF16, DType::F16, DType::I32, DType::I64, DType::U8};
  for (const DType from : types)
    for (const DType to : types) {
      const bool allowed = (from < DType::I32 || from == DType::F16) ? (to < DType::I32 || to == DType::F16)
                                                                     : to == from || to == DType::F32;
      Mat<double> source(1, 19), target(1, 19), back(1, 19);
      View a = source.view(), b = target.view(), c = back.view();
      a.dtype = from, b.dtype = to, c.dtype = DType::F32;
      bool threw = false;
      try {
        cpu::fill(a, 3);
        cpu::copy(b, a);
        cpu::copy(c, b);
        for (int i = 0; i < 19; ++i) expect(c.as<float>()[i] == 3, "copy: value");
      } catch (const Error&) {
        threw = true;
      }
      expect(threw != allowed, std::string("copy from ") + name_of(from) + " to " + name_of(to));
    }
}

void test_elementwise() {
  for (const int64_t n : values({1, 7, 64, 1000, 70001}, {1, 7, 64, 1003})) {
    const Mats<double> in = {random_mat(rnd, 1, n), random_mat(rnd, 1, n)};
    check_op("elementwise", in,
             [](const auto& x) {
               std::decay_t<decltype(x)> y(4, x[0]);
               for (auto& m : y) m = std::decay_t<decltype(m)>(m.rows, m.cols);
               cpu::add(y[0].view(), x[0].view(), x[1].view());
               cpu::multiply(y[1].view(), x[0].view(), x[1].view());
               cpu::scale(y[2].view(), x[0].view(), -1.7);
               cpu::scale(y[3].view(), x[0].view(), 1);
               cpu::accumulate(y[3].view(), x[1].view(), 0.3);
               return y;
             },
             {1e-6, 1e-7});
    check_op("sums", in,
             [](const auto& x) {
               using M = std::decay_t<decltype(x[0])>;
               std::vector<M> y = {M(1, 1), M(1, 1), M(1, 1), M(1, x[0].cols)};
               cpu::sum(y[0].view(), x[0].view());
               cpu::sum_squares(y[1].view(), x[0].view());
               cpu::mse(y[2].view(), x[0].view(), x[1].view(), 0.01);
               auto one = M(1, 1);
               one[0] = 2;
               cpu::mse_backward(y[3].view(), one.view(), x[0].view(), x[1].view(), 0.01);
               return y;
             },
             {1e-6, 2e-4 / std::sqrt(double(n))});
  }
}

void test_activations() {
  Mat<double> x = random_mat(rnd, 3, 4001, 2.5), dy = random_mat(rnd, 3, 4001);
  const float nasty[] = {0,   -0.0f, 1e-42f, -1e-42f, 1e-20f,  20,   -20,  90,
                         -90, 1e4f,  -1e4f,  0.625f,  -0.625f, 5.5f, -5.5f};
  for (size_t i = 0; i < 15; ++i) x[i] = double(nasty[i]);
  for (int kind = 0; kind < 5; ++kind) {
    const auto op = [&](const auto& in) {
      using M = std::decay_t<decltype(in[0])>;
      std::vector<M> y = {M(3, 4001), in[1].template as<std::decay_t<decltype(in[0][0])>>()};
      cpu::activation(y[0].view(), in[0].view(), Activation(kind));
      cpu::activation_backward(y[1].view(), y[1].view(), in[0].view(), Activation(kind));  // in place
      return y;
    };
    check_op("activation " + std::to_string(kind), {x, dy}, op, {1e-6, 1e-7});
    const Mats<double> smooth = {random_mat(rnd, 1, 40)};
    check_gradient(
        "activation " + std::to_string(kind), smooth,
        [&](const Mats<double>& in) {
          Mat<double> y(1, 40);
          cpu::activation(y.view(), in[0].view(), Activation(kind));
          return y;
        },
        [&](const Mats<double>& in, const Mat<double>& seed) {
          Mat<double> dx(1, 40);
          cpu::activation_backward(dx.view(), seed.view(), in[0].view(), Activation(kind));
          return Mats<double>{dx};
        });
  }
}

void test_gated_activations() {
  const int64_t n = 3001;
  const Mats<double> in = {random_mat(rnd, 2, n, 2.5), random_mat(rnd, 2, n), random_mat(rnd, 2, n)};
  const float nasty[] = {0, -0.0f, 1e-42f, 1e-20f, 20, -20, 90, -90, 1e4f, -1e4f};
  for (size_t i = 0; i < 10; ++i) in[0][i] = double(nasty[i]);
  for (int kind = 0; kind < 5; ++kind) {
    check_op("gated activation " + std::to_string(kind), in,
             [&](const auto& x) {
               using M = std::decay_t<decltype(x[0])>;
               std::vector<M> y = {M(2, n), x[2].template as<std::decay_t<decltype(x[0][0])>>(), M(2, n)};
               cpu::gated_activation(y[0].view(), x[0].view(), x[1].view(), Activation(kind));
               cpu::gated_activation_backward(y[1].view(), y[2].view(), y[1].view(), x[0].view(), x[1].view(),
                                              Activation(kind));  // dgate in dy's place
               return y;
             },
             {1e-6, 1e-7});
  }
}

void test_rope() {
  const int64_t rows = 70, head_dim = 52;
  Mat<int32_t> positions(1, rows);
  for (size_t i = 0; i < size_t(rows); ++i) positions[i] = int32_t(rnd.uniform() * 9);
  for (const int64_t rotary : {2, 20, 34, 52})
    for (const bool interleaved : {false, true}) {
      const Mats<double> in = {random_mat(rnd, rows, 3 * head_dim), random_mat(rnd, rows, head_dim),
                               random_mat(rnd, 9, rotary)};
      check_op("rope of " + std::to_string(rotary), in, [&](const auto& x) {
        using M = std::decay_t<decltype(x[0])>;
        std::vector<M> y = {M(rows, 3 * head_dim), x[1].template as<std::decay_t<decltype(x[0][0])>>()};
        cpu::rope(y[0].view(), y[1].view(), x[0].view(), y[1].view(), positions.flat(), x[2].view(), head_dim,
                  interleaved, rotary > 20);  // keys in place
        return y;
      });
    }
}

void test_rows() {
  for (const int64_t cols : {1, 5, 64, 100, 768})
    for (const int32_t keep : {256, 230}) {
      const Mats<double> in = {random_mat(rnd, 131, cols)};
      check_op("dropout and sum of rows", in,
               [&](const auto& x) {
                 using M = std::decay_t<decltype(x[0])>;
                 std::vector<M> y = {M(131, cols), M(1, cols)};
                 cpu::dropout(y[0].view(), x[0].view(), some_dropout(keep));
                 cpu::sum_rows(y[1].flat(), x[0].view());
                 return y;
               },
               {1e-6, 1e-6});
    }
}

void test_embedding() {
  Mat<int32_t> ids(1, 150);
  for (size_t i = 0; i < 150; ++i) ids[i] = int32_t(rnd.uniform() * 40);
  const Mats<double> in = {random_mat(rnd, 40, 100), random_mat(rnd, 150, 100)};
  check_op("embedding", in,
           [&](const auto& x) {
             using M = std::decay_t<decltype(x[0])>;
             std::vector<M> y = {M(150, 100), M(40, 100)};
             cpu::embedding(y[0].view(), x[0].view(), ids.flat());
             cpu::embedding_backward(y[1].view(), x[1].view(), ids.flat());
             return y;
           },
           {1e-6, 1e-6});
}

void test_adamw() {
  const int64_t n = 70000;
  Mats<double> in = {random_mat(rnd, 1, n), random_mat(rnd, 1, n), random_mat(rnd, 1, n, 0.1), random_mat(rnd, 1, n)};
  for (size_t i = 0; i < size_t(n); ++i) in[3][i] = std::fabs(in[3][i]) * 0x1p-10;
  const Mat<double> slices(3, 4, {0, 37, 1, 1, 64, 40000, 0.5, 0, 40000, 69999, 2, 0.25});
  for (const double clip : {0.0, 1.0, 1e9}) {
    check_op("adamw", in,
             [&](const auto& x) {
               using T = std::decay_t<decltype(x[0][0])>;
               Mats<T> y =
                   converted<T>({x[0].template as<double>(), x[2].template as<double>(), x[3].template as<double>()});
               Mat<double> norm(1, 1);
               cpu::sum_squares(norm.view(), x[1].view());
               cpu::adamw(y[0].view(), x[1].view(), y[1].view(), y[2].view(), slices.view(), norm.view(),
                          {0.01, 0.9, 0.999, 1e-8, 0.1, clip, 3});
               return y;
             },
             {2e-6, 1e-6});
  }
}

}  // namespace

void test_layer_norm();
void test_rms_norm();
void test_losses();
void test_attention();

#include "test/native/ops_cases.h"

int main(int count, char** arguments) {
  read_arguments(count, arguments);
  test_philox();
  test_functions();
  if (!few) test_copy();
  test_elementwise();
  test_activations();
  test_gated_activations();
  test_rope();
  test_rows();
  test_embedding();
  test_adamw();
  test_layer_norm();
  test_rms_norm();
  test_losses();
  test_attention();
  std::printf(failures ? "%d failed\n" : "ops: all passed\n", failures);
  return failures ? 1 : 0;
}
