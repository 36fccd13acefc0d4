// Tests the CPU products against their f64 specification, for every instruction set this machine has. Every buffer ends
// or begins at a page that must not be touched. The bound: an error of at most twice that of the plain loops of the
// same precision. Prints what fails; exit code 1.

#include "cpu/gemm/gemm.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/kernels.h"
#include "core/quantized.h"
#include "cpu/convert.h"
#include "cpu/gemm/spec.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "test/native/guarded.h"
#include "test/native/sets.h"

using namespace lowrank;
using lowrank::test::few;
using lowrank::test::Guarded;
using lowrank::test::instruction_sets;

namespace {

int failures = 0, cases = 0;
std::mt19937 generator(7);

void expect(bool ok, const std::string& what) {
  ++cases;
  if (ok) return;
  if (++failures <= 40) std::printf("FAIL %s\n", what.c_str());
}

struct Matrix {
  Matrix(int64_t rows, int64_t cols, DType dtype = DType::F32)
      : memory(size_t(rows * cols) * (dtype == DType::F64   ? 8
                                      : dtype == DType::F32 ? 4
                                                            : 2),
               flip = !flip) {
    view.data = memory.data;
    view.dtype = dtype;
    view.rank = 2;
    view.dims[0] = rows, view.dims[1] = cols;
    if (dtype == DType::F32)
      for (int64_t i = 0; i < view.size(); ++i) view.as<float>()[i] = std::nanf("");
  }
  Matrix& random(float size = 1) {
    std::normal_distribution<float> normal(0, size);
    for (int64_t i = 0; i < view.size(); ++i) {
      const float v = normal(generator);
      uint32_t bits;
      std::memcpy(&bits, &v, 4);
      if (view.dtype == DType::BF16) view.as<uint16_t>()[i] = uint16_t(bits >> 16);
      else view.as<float>()[i] = v;
    }
    return *this;
  }
  static inline bool flip = false;
  Guarded memory;
  View view;
};

// Largest difference and largest value.
struct Error2 {
  double error = 0, size = 0;
};

Error2 difference(const View& got, const View& want) {
  Error2 e;
  for (int64_t i = 0; i < want.size(); ++i) {
    const double d = std::fabs(double(got.as<float>()[i]) - want.as<double>()[i]);
    if (!(d <= e.error)) e.error = std::isnan(d) ? INFINITY : d;
    e.size = std::fmax(e.size, std::fabs(want.as<double>()[i]));
  }
  return e;
}

void close(const View& got, const View& plain, const View& want, const std::string& what, double relative = 1e-6) {
  const Error2 mine = difference(got, want), theirs = difference(plain, want);
  const double allowed = 2 * theirs.error + relative * mine.size;
  expect(mine.error <= allowed,
         what + ": error " + std::to_string(mine.error) + ", allowed " + std::to_string(allowed));
}

// Runs f for every instruction set, with 1 and 3 threads; the outputs must be the same bytes.
template <typename F, typename Check>
void everywhere(const std::vector<View>& outputs, F&& f, Check&& check_outputs) {
  for (const char* name : instruction_sets()) {
    cpu::set_isa(name);
    std::vector<std::vector<char>> first;
    for (const int threads : {1, 3}) {
      cpu::set_threads(threads);
      for (const View& o : outputs)
        if (o) std::memset(o.data, 0xFF, size_t(o.size()) * 4);
      f();
      for (size_t i = 0; i < outputs.size(); ++i) {
        const size_t bytes = outputs[i] ? size_t(outputs[i].size()) * 4 : 0;
        const char* data = outputs[i].as<char>();
        if (threads == 1) first.emplace_back(data, data + bytes);
        else
          expect(bytes == 0 || std::memcmp(first[i].data(), data, bytes) == 0,
                 std::string(name) + ": threads change bits");
      }
      if (threads == 1) check_outputs(std::string(name));
    }
  }
  cpu::set_isa(nullptr);
}

using lowrank::name_of;
const char* name_of(Compute c) { return c == Compute::BF16 ? "bf16" : "f32"; }

void test_matmul(int64_t m, int64_t n, int64_t k, bool ta, bool tb, DType b_type, Compute compute) {
  Matrix a(ta ? k : m, ta ? m : k), b(tb ? n : k, tb ? k : n, b_type), y(m, n), plain(m, n), want(m, n, DType::F64);
  a.random(), b.random();
  cpu::spec::matmul<double>(want.view, a.view, b.view, ta, tb, Compute::F32);
  cpu::spec::matmul<float>(plain.view, a.view, b.view, ta, tb, compute);
  char text[128];
  std::snprintf(text, sizeof text, " matmul %ldx%ldx%ld %c%c b %s compute %s", long(m), long(n), long(k),
                ta ? 'T' : 'N', tb ? 'T' : 'N', b_type == DType::BF16 ? "bf16" : "f32", name_of(compute));
  everywhere(
      {y.view}, [&] { cpu::matmul(y.view, a.view, b.view, ta, tb, compute); },
      [&](const std::string& isa) { close(y.view, plain.view, want.view, isa + text); });
}

void test_linear(int64_t m, int64_t n, int64_t k, DType w_type, Compute compute, bool has_bias) {
  Matrix x(m, k), w(n, k, w_type), bias(1, n), y(m, n), plain(m, n), want(m, n, DType::F64), wide(1, n, DType::F64);
  x.random(), w.random(), bias.random();
  for (int64_t i = 0; i < n; ++i) wide.view.as<double>()[i] = bias.view.as<float>()[i];
  const View none;
  cpu::spec::linear<double>(want.view, x.view, w.view, has_bias ? wide.view : none, Compute::F32);
  cpu::spec::linear<float>(plain.view, x.view, w.view, has_bias ? bias.view : none, compute);
  char text[128];
  std::snprintf(text, sizeof text, " linear %ldx%ldx%ld w %s compute %s bias %d", long(m), long(n), long(k),
                w_type == DType::BF16 ? "bf16" : "f32", name_of(compute), has_bias);
  everywhere(
      {y.view}, [&] { cpu::linear(y.view, x.view, w.view, has_bias ? bias.view : none, compute, Rope{}); },
      [&](const std::string& isa) { close(y.view, plain.view, want.view, isa + text); });
}

#include "test/native/gemm_lora.h"

// A product of bf16 rows that is written as bf16 is the f32 one, rounded once, with what it is added to.
void test_rounded(int64_t m, int64_t n, int64_t k, int64_t r, Compute compute) {
  Matrix x(m, k, DType::BF16), w(n, k), a(m, r), b(n, r), bias(1, n), sums(m, n), y(m, n, DType::BF16);
  x.random(), w.random(), a.random(), b.random(), bias.random();
  char text[128];
  std::snprintf(text, sizeof text, "rounded product %ldx%ldx%ld r %ld compute %s", long(m), long(n), long(k), long(r),
                name_of(compute));
  cpu::gemm::Product p = {m, n, k, cpu::gemm::operand(x.view, true), cpu::gemm::operand(w.view, true), nullptr};
  p.bias = bias.view.as<float>(), p.compute = compute;
  p.slab.r = r, p.slab.a = a.view.as<float>(), p.slab.b = b.view.as<float>(), p.slab.b_along_r = true;
  const auto run = [&](const View& to, bool added) {
    p.rounded = nullptr;
    cpu::gemm::write_to(p, to);
    p.residual = added ? p.rounded : nullptr;
    cpu::gemm::multiply(p);
  };
  const auto matches = [&](bool added) {
    for (int64_t i = 0; i < m * n; ++i) {
      const float want = sums.view.as<float>()[i] + (added ? 1.5f : 0.0f);
      if (y.view.as<uint16_t>()[i] != cpu::to_bf16(want).bits) return false;
    }
    return true;
  };
  everywhere(
      {},
      [&] {
        run(sums.view, false);
        run(y.view, false);
        expect(matches(false), text);
        std::fill(y.view.as<uint16_t>(), y.view.as<uint16_t>() + m * n, cpu::to_bf16(1.5f).bits);
        run(y.view, true);
        expect(matches(true), std::string(text) + " and a residual in place");
      },
      [](const std::string&) {});
}

// The cut of a product looks at the number of threads; its bits don't.
void test_thread_counts(int64_t m, int64_t n, int64_t k, Compute compute) {
  Matrix x(m, k), w(n, k), a(8, k), b(n, 8), s(m, 8), y(m, n);
  x.random(), w.random(), a.random(), b.random();
  std::vector<char> first;
  for (const int count : {1, 2, 3, 8, 16, 64}) {
    cpu::set_threads(count);
    cpu::lora_linear(y.view, s.view, x.view, w.view, View{}, a.view, b.view, 2, Dropout(), compute, true, Rope{});
    const char* data = y.view.as<char>();
    if (first.empty()) first.assign(data, data + m * n * 4);
    expect(std::memcmp(first.data(), data, first.size()) == 0, std::to_string(count) + " threads change bits");
  }
}

// Products in f32 have other tiles on AMX's processors than on the rest with AVX-512, and rows that are read in place
// or packed, but the same sums.
void test_tilings(int64_t m, int64_t n, int64_t k) {
  Matrix x(m, k), w(n, k), a(8, k), b(n, 8), s(m, 8), y(m, n), dx(m, k), da(8, k), db(n, 8);
  x.random(), w.random(), a.random(), b.random();
  Dropout dropout;
  dropout.keep = 200, dropout.site = 3, dropout.seed = 5;
  std::vector<char> first;
  for (const char* name : instruction_sets()) {
    if (std::strncmp(name, "avx512", 6) && std::strcmp(name, "amx")) continue;
    cpu::set_isa(name);
    cpu::lora_linear(y.view, s.view, x.view, w.view, View{}, a.view, b.view, 2, dropout, Compute::F32, true, Rope{});
    cpu::lora_linear_backward(dx.view, da.view, db.view, y.view, x.view, w.view, a.view, b.view, s.view, 2, dropout,
                              Compute::F32, true, View{});
    std::vector<char> bytes(y.view.as<char>(), y.view.as<char>() + m * n * 4);
    bytes.insert(bytes.end(), dx.view.as<char>(), dx.view.as<char>() + m * k * 4);
    if (first.empty()) first = bytes;
    expect(first == bytes, std::string(name) + ": its tiles change bits");
  }
  cpu::set_isa(nullptr);
}

// The bits of every instruction set are those of the scalar definition.
void test_dropout_bits() {
  Dropout d;
  d.keep = 200, d.site = 77, d.step = 3, d.seed = 0xFEDCBA9876543210ull;
  for (const char* name : instruction_sets()) {
    cpu::set_isa(name);
    for (const int64_t columns : {1, 64, 255, 256, 257, 1000}) {
      Guarded bits(size_t((columns + 255) / 256 * 32), true);
      for (const uint32_t row : {0u, 5u, 4294967295u}) {
        cpu::gemm::skinny().dropout_bits(cpu::dropout_key(d), row, columns, reinterpret_cast<uint8_t*>(bits.data));
        int wrong = 0;
        std::vector<float> factors(static_cast<size_t>(columns));
        cpu::dropout_row_multipliers(d, row, 0, columns, factors.data());
        for (int64_t c = 0; c < columns; ++c) {
          const bool kept = bits.data[c / 8] >> (c % 8) & 1;
          wrong += kept != (cpu::dropout_byte(d, row, c) < d.keep) || kept != (factors[size_t(c)] != 0);
        }
        expect(wrong == 0, std::string(name) + ": dropout bits");
      }
    }
  }
  cpu::set_isa(nullptr);
  uint32_t words[4];
  cpu::philox(Dropout(), 0, 0, words);  // the published vector of philox4x32-7 for zero key and counter
  expect(words[0] == 0x5f6fb709 && words[1] == 0x0d893f64 && words[2] == 0x4f121f81 && words[3] == 0x4f730a48,
         "philox");
}

// NaN and infinity must come through, also where bf16 rounding could lose them.
void test_special_values() {
  for (const Compute compute : {Compute::F32, Compute::BF16})
    for (const char* name : instruction_sets()) {
      cpu::set_isa(name);
      Matrix a(40, 50), b(50, 40), y(40, 40);
      a.random(), b.random();
      a.view.as<float>()[50 * 3 + 7] = std::nanf("");
      a.view.as<float>()[50 * 5 + 49] = INFINITY;
      cpu::matmul(y.view, a.view, b.view, false, false, compute);
      const float* v = y.view.as<float>();
      expect(std::isnan(v[40 * 3]) && std::isnan(v[40 * 3 + 39]), std::string(name) + ": NaN lost");
      expect(std::isinf(v[40 * 5]) && std::isinf(v[40 * 5 + 39]), std::string(name) + ": infinity lost");
      expect(std::isfinite(v[40 * 4]) && std::isfinite(v[40 * 39 + 39]), std::string(name) + ": NaN spread");
    }
  cpu::set_isa(nullptr);
}

void test_isa_names() {
  for (const char* name : {"avx1024", "AVX2", "x"}) {
    bool thrown = false;
    try {
      cpu::set_isa(name);
    } catch (const Error& e) {
      thrown = e.code == Code::Option;
    }
    expect(thrown, std::string("instruction set accepted: ") + name);
  }
}

constexpr DType f32 = DType::F32, bf16 = DType::BF16;

// Every edge of the tiles and panels of 128-bit sets, and one product of several K blocks.
void test_few() {
  for (const Compute compute : {Compute::F32, Compute::BF16}) {
    for (const int64_t m : {1, 5, 13, 26})
      for (const int64_t n : {1, 7, 12, 17})
        for (const int64_t k : {1, 2, 3, 6, 33})
          for (int form = 0; form < 4; ++form)
            test_matmul(m, n, k, form & 1, form & 2, (m + n + k) % 2 ? bf16 : f32, compute);
    test_matmul(35, 20, 1601, false, true, bf16, compute);
    test_matmul(35, 20, 769, true, false, f32, compute);
    test_linear(33, 9, 63, bf16, compute, true);
    for (const int keep : {256, 230})
      for (const int64_t r : {3, 16}) test_lora(29, 21, 70, r, r == 3 ? f32 : bf16, compute, keep);
    for (const DType type : {f32, bf16, DType::I8, DType::NF4})
      for (const int64_t m : {1, 7}) test_few_rows(m, 21, m == 7 ? 100 : 192, m == 7 ? 17 : 8, type, compute);
    for (const int64_t m : {3, 60}) test_thread_counts(m, 300, 800, compute);
    for (const int64_t m : {5, 29}) test_rounded(m, 37, 70, 3, compute);
  }
}

void test_all() {
  for (const int64_t m : {0, 1, 2, 5, 14, 15, 33, 61})
    for (const int64_t n : {0, 1, 3, 7, 16, 17, 31, 32, 50})
      for (const int64_t k : {0, 1, 2, 15, 33, 64})
        for (int form = 0; form < 4; ++form) {
          const bool ta = form & 1, tb = form & 2;
          test_matmul(m, n, k, ta, tb, (m + n + k) % 2 ? bf16 : f32, Compute::F32);
          test_matmul(m, n, k, ta, tb, (m + n + k) % 2 ? f32 : bf16, Compute::BF16);
        }
  // Several K blocks, phases of K, blocks of columns, strips of rows.
  const int64_t large[][3] = {{35, 70, 769},  {37, 40, 1601},  {3, 33, 17001},
                              {34, 2800, 40}, {40, 3001, 801}, {700, 40, 70}};
  for (const auto& s : large)
    for (const Compute compute : {Compute::F32, Compute::BF16}) {
      test_matmul(s[0], s[1], s[2], false, false, f32, compute);
      test_matmul(s[0], s[1], s[2], false, true, bf16, compute);
      if (s[2] < 2000) test_matmul(s[0], s[1], s[2], true, false, f32, compute);
    }
  for (const int64_t m : {1, 4, 16, 33, 130})
    for (const int64_t n : {1, 2, 9, 16, 64, 100})
      for (const int64_t k : {1, 8, 63, 192})
        for (const bool bias : {false, true}) {
          test_linear(m, n, k, f32, Compute::F32, bias);
          test_linear(m, n, k, bf16, Compute::F32, bias);
          test_linear(m, n, k, bf16, Compute::BF16, bias);
        }
  for (const int64_t r : {1, 2, 3, 7, 8, 16, 17, 64, 256})
    for (const int keep : {256, 230})
      for (const Compute compute : {Compute::F32, Compute::BF16}) {
        test_lora(33, 45, 70, r, compute == Compute::F32 ? f32 : bf16, compute, keep);
        test_lora(1, 3, 5, r, f32, compute, keep);
      }
  for (const int keep : {256, 128}) {
    test_lora(300, 50, 300, 8, f32, Compute::F32, keep);
    test_lora(70, 33, 1601, 4, bf16, Compute::BF16, keep);
    test_lora(17, 900, 40, 5, bf16, Compute::F32, keep);
    for (int wanted = 0; wanted < 7; ++wanted) test_lora(150, 40, 33, 6, f32, Compute::F32, keep, wanted);
  }
  // Wide enough that one thread takes b panel by panel, and three share packed ones.
  for (const Compute compute : {Compute::F32, Compute::BF16}) {
    test_lora(40, 1100, 96, 8, f32, compute, 230);
    test_lora(40, 96, 1100, 8, bf16, compute, 230);
  }
  // Blocks of rows whose thin products go before their packing: several pieces, a last one that is not whole, two
  // blocks of K, more ranks than a tile has.
  for (const int keep : {256, 230}) {
    test_lora(331, 130, 200, 16, bf16, Compute::BF16, keep);
    test_lora(200, 40, 1700, 20, bf16, Compute::BF16, keep);
    test_lora(150, 1650, 70, 33, f32, Compute::BF16, keep);
    for (int wanted = 0; wanted < 7; ++wanted) test_lora(150, 40, 33, 6, f32, Compute::BF16, keep, wanted);
    test_stored(331, 130, 200, 16, keep);
    test_stored(150, 70, 1650, 20, keep);
    test_stored(77, 1650, 33, 33, keep);
  }
  for (const DType type : {f32, bf16, DType::I8, DType::NF4})
    for (const Compute compute : {Compute::F32, Compute::BF16})
      for (const int64_t m : {1, 2, 3, 7, 16})
        for (const int64_t k : {64, 100, 192, 320})
          test_few_rows(m, m == 3 ? 3 : 45, k, m == 7 ? 17 : 8, type, compute);
  test_few_rows(5, 1030, 576, 16, DType::NF4, Compute::F32);
  test_few_rows(1, 9, 4992, 16, DType::NF4, Compute::BF16);  // several segments of scales
  for (const Compute compute : {Compute::F32, Compute::BF16})
    for (const int64_t m : {1, 16, 40, 300}) test_thread_counts(m, 2000, 900, compute);
  for (const int64_t k : {70, 1100, 2048}) test_tilings(133, 197, k);
  // Few rows; one K block; several; several phases of K; b panel by panel.
  const int64_t rounded[][3] = {{5, 33, 40}, {70, 100, 96}, {300, 70, 3300}, {20, 2800, 3300}, {20, 1100, 96}};
  for (const auto& s : rounded)
    for (const Compute compute : {Compute::F32, Compute::BF16}) test_rounded(s[0], s[1], s[2], 4, compute);
}

}  // namespace

int main(int count, char** arguments) {
  test::read_arguments(count, arguments);
  test_isa_names();
  test_dropout_bits();
  test_special_values();
  few ? test_few() : test_all();
  test_lora(0, 8, 8, 4, f32, Compute::F32, 256);
  std::printf("gemm_test: %d checks, %d failed (%s)\n", cases, failures, cpu::isa_name());
  return failures ? 1 : 0;
}
