// Our products beside oneDNN's on the same work: process CPU time, both sides in turn, fewest seconds of all rounds.
// Development only; oneDNN (libdnnl) is never part of the package. Prints one JSON object.
// With --threads 2, set OMP_WAIT_POLICY=passive: else the threads of oneDNN spin on into our turn.
// Options: --rounds N (default 12), --threads N (default 1), --only TEXT (cases whose name contains it).

#include <omp.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/kernels.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

using namespace lowrank;

namespace {

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

struct Matrix {
  Matrix(int64_t rows, int64_t cols, DType dtype = DType::F32) {
    const size_t bytes = size_t(rows * cols) * (dtype == DType::BF16 ? 2 : 4);
    view.data = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    view.dtype = dtype, view.rank = 2, view.dims[0] = rows, view.dims[1] = cols;
    static std::mt19937 generator(1);
    std::uniform_real_distribution<float> value(-1, 1);
    for (int64_t i = 0; i < view.size(); ++i) {
      const float v = value(generator);
      uint32_t bits;
      std::memcpy(&bits, &v, 4);
      if (dtype == DType::BF16) view.as<uint16_t>()[i] = uint16_t(bits >> 16);
      else view.as<float>()[i] = v;
    }
  }
  ~Matrix() { std::free(view.data); }
  Matrix(const Matrix&) = delete;
  View view;
};

// oneDNN's matmul, weights in the layout that it likes best (reordered before, outside the clock) or as they are.
struct Yardstick {
  using Type = dnnl::memory::data_type;
  using Tag = dnnl::memory::format_tag;
  Yardstick(int64_t m, int64_t n, int64_t k, bool bf16, bool transposed_a, bool transposed_b, bool prepacked, float* y)
      : engine(dnnl::engine::kind::cpu, 0), stream(engine) {
    const Type type = bf16 ? Type::bf16 : Type::f32;
    const dnnl::memory::desc x({m, k}, type, transposed_a ? Tag::ba : Tag::ab);
    const dnnl::memory::desc w({k, n}, type, prepacked ? Tag::any : transposed_b ? Tag::ba : Tag::ab);
    const dnnl::memory::desc out({m, n}, Type::f32, Tag::ab);
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(x, w, out), engine);
    matmul = dnnl::matmul(description);
    a = dnnl::memory(x, engine), b = dnnl::memory(description.weights_desc(), engine), c = dnnl::memory(out, engine, y);
    fill(a, size_t(m * k), bf16), fill(b, description.weights_desc().get_size() / (bf16 ? 2 : 4), bf16);
  }
  static void fill(dnnl::memory& memory, size_t count, bool bf16) {
    for (size_t i = 0; i < count; ++i) {
      if (bf16) static_cast<uint16_t*>(memory.get_data_handle())[i] = uint16_t(0x3F80 + i % 61);
      else static_cast<float*>(memory.get_data_handle())[i] = float(i % 61) / 61 - 0.5f;
    }
  }
  void run() {
    matmul.execute(stream, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}});
    stream.wait();
  }
  dnnl::engine engine;
  dnnl::stream stream;
  dnnl::matmul matmul;
  dnnl::memory a, b, c;
};

struct Case {
  std::string name;
  double flops;
  std::vector<std::pair<std::string, std::function<void()>>> sides;
};

int rounds = 12;
const char* only = "";
bool first = true;

void measure(const Case& c) {
  if (c.name.find(only) == std::string::npos) return;
  std::vector<double> best(c.sides.size(), 1e9);
  for (int round = 0; round <= rounds; ++round)
    for (size_t i = 0; i < c.sides.size(); ++i) {
      const int repeats = int(2e9 / (c.flops + 1e7)) + 1;
      const double start = cpu_seconds();
      for (int j = 0; j < repeats; ++j) c.sides[i].second();
      const double t = (cpu_seconds() - start) / repeats;
      if (round > 0 && t < best[i]) best[i] = t;
    }
  std::printf("%s\n    {\"case\": \"%s\", \"gflop\": %.3f", first ? "" : ",", c.name.c_str(), c.flops * 1e-9);
  first = false;
  const int threads = cpu::threads();
  for (size_t i = 0; i < c.sides.size(); ++i)
    std::printf(", \"%s_ms\": %.4f, \"%s_gflops\": %.1f", c.sides[i].first.c_str(), best[i] * 1e3,
                c.sides[i].first.c_str(), threads * c.flops / best[i] * 1e-9);
  std::printf(", \"ratio\": %.3f}", best[1] / best[0]);
  std::fflush(stdout);
}

// ratio: time of the second side over that of the first; above 1 the first (ours) is faster.
void product(int64_t m, int64_t n, int64_t k, bool bf16, char form) {
  // N: y = x w^T (forward)   D: dx = dy w   W: dw = dy^T x
  const DType weight = bf16 && form != 'W' ? DType::BF16 : DType::F32;
  const Compute compute = bf16 ? Compute::BF16 : Compute::F32;
  Matrix y(m, n), a(form == 'W' ? k : m, form == 'W' ? m : k), b(form == 'N' ? n : k, form == 'N' ? k : n, weight);
  Case c;
  c.name = std::string(bf16 ? "bf16 " : "f32 ") +
           (form == 'N'   ? "x w^T "
            : form == 'D' ? "dy w "
                          : "dy^T x ") +
           std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
  c.flops = 2.0 * double(m) * double(n) * double(k);
  if (c.name.find(only) == std::string::npos) return;
  std::unique_ptr<Yardstick> any;
  try {
    any = std::make_unique<Yardstick>(m, n, k, bf16, form == 'W', form == 'N', form != 'W', y.view.as<float>());
  } catch (const dnnl::error& e) {
    if (e.status != dnnl_unimplemented) throw;
    std::fprintf(stderr, "skipped, oneDNN has no such product on this instruction set: %s\n", c.name.c_str());
    return;
  }
  const View none;
  c.sides.emplace_back("ours", [&] {
    if (form == 'N') cpu::linear(y.view, a.view, b.view, none, compute, Rope{});
    else cpu::matmul(y.view, a.view, b.view, form == 'W', false, compute);
  });
  c.sides.emplace_back("onednn", [&] { any->run(); });
  measure(c);
}

// What is bf16: of a layer; then products are too.
enum class Half { Nothing, Weight, All };  // All: activations and their gradients besides

void lora(int64_t m, int64_t n, int64_t k, int64_t r, Half half, int keep) {
  const DType weight = half == Half::Nothing ? DType::F32 : DType::BF16;
  const DType activation = half == Half::All ? DType::BF16 : DType::F32;
  const Compute compute = half == Half::Nothing ? Compute::F32 : Compute::BF16;
  Matrix x(m, k, activation), w(n, k, weight), y(m, n, activation), a(r, k), b(n, r), s(m, r), dx(m, k, activation);
  Matrix da(r, k), db(n, r);
  Dropout dropout;
  dropout.keep = keep, dropout.site = 3, dropout.seed = 5;
  const View none;
  const std::string kind = half == Half::All ? "all bf16 " : half == Half::Weight ? "bf16 " : "f32 ";
  const std::string name = kind + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + " r " +
                           std::to_string(r) + (keep < 256 ? " dropout" : "");
  Case forward{"lora forward " + name, 2.0 * double(m) * double(n) * double(k), {}};
  forward.sides.emplace_back("plain", [&] { cpu::linear(y.view, x.view, w.view, none, compute, Rope{}); });
  forward.sides.emplace_back("lora", [&] {
    cpu::lora_linear(y.view, s.view, x.view, w.view, none, a.view, b.view, 2, dropout, compute, true, Rope{});
  });
  measure(forward);
  Case backward{"lora backward " + name, forward.flops, {}};
  backward.sides.emplace_back("plain", [&] { cpu::matmul(dx.view, y.view, w.view, false, false, compute); });
  backward.sides.emplace_back("lora", [&] {
    cpu::lora_linear_backward(dx.view, da.view, db.view, y.view, x.view, w.view, a.view, b.view, s.view, 2, dropout,
                              compute, true, {});
  });
  measure(backward);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--rounds")) rounds = std::atoi(argv[i + 1]);
    if (!std::strcmp(argv[i], "--threads")) threads = std::atoi(argv[i + 1]);
    if (!std::strcmp(argv[i], "--only")) only = argv[i + 1];
  }
  cpu::set_threads(threads);
  omp_set_num_threads(threads);
  std::printf("{\"isa\": \"%s\", \"threads\": %d, \"rounds\": %d, \"cases\": [", cpu::isa_name(), threads, rounds);
  const int64_t shapes[][2] = {{768, 768}, {3072, 768}, {768, 3072}, {4864, 896}};
  for (const bool bf16 : {false, true})
    for (const char form : {'N', 'D'})
      for (const auto& s : shapes) product(2048, form == 'N' ? s[0] : s[1], form == 'N' ? s[1] : s[0], bf16, form);
  for (const bool bf16 : {false, true})
    for (const auto& s : shapes) product(s[0], s[1], 2048, bf16, 'W');
  product(320, 30522, 768, false, 'N');
  product(320, 30522, 768, true, 'N');
  for (const bool bf16 : {false, true})
    for (const int64_t d : {192, 256, 384}) {
      product(512, d, d, bf16, 'N');
      product(512, 4 * d, d, bf16, 'N');
      product(512, d, 4 * d, bf16, 'N');
    }
  for (const Half half : {Half::Nothing, Half::Weight, Half::All}) {
    for (const auto& s : shapes)
      for (const int64_t r : {8, 16}) lora(2048, s[0], s[1], r, half, 256);
    for (const auto& s : shapes) lora(2048, s[0], s[1], 8, half, 230);
    for (const int64_t d : {192, 384}) lora(512, d, d, 8, half, 256), lora(512, 4 * d, d, 8, half, 230);
  }
  std::printf("\n]}\n");
}
