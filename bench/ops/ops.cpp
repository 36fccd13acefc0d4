// Measures every CPU kernel but the products: best CPU seconds of one call, bytes that must move and useful FLOPs.
//   build/test/ops_bench COMMIT [encoder | decoder | attention | decode [DTYPE]]        (LOWRANK_THREADS, LOWRANK_ISA)
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/kernels.h"
#include "core/quantized.h"
#include "cpu/isa.h"
#include "cpu/pages.h"
#include "cpu/parallel.h"

using namespace lowrank;

namespace {

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double wall_seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// In pages as tensors have them: huge ones are read half as fast again.
struct Array {
  Array(int64_t rows, int64_t cols, DType dtype = DType::F32)
      : bytes(size_t(rows * cols) * bytes_of(dtype) + 64), memory(static_cast<char*>(cpu::allocate_pages(bytes))),
        rows(rows), cols(cols), dtype(dtype) {
    std::memset(memory, 0, bytes);
    uint32_t state = 12345;
    for (int64_t i = 0; dtype == DType::F32 && i < rows * cols; ++i) {
      state = state * 1664525 + 1013904223;
      reinterpret_cast<float*>(data())[i] = float(int32_t(state)) * 0x1p-30f;
    }
  }
  ~Array() { cpu::release_pages(memory, bytes); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  char* data() { return memory; }
  operator View() {
    View v;
    v.data = data(), v.dtype = dtype, v.rank = 2, v.dims[0] = rows, v.dims[1] = cols;
    return v;
  }
  View flat() {
    View v = *this;
    v.rank = 1, v.dims[0] = rows * cols;
    return v;
  }
  const size_t bytes;
  char* const memory;
  int64_t rows, cols;
  DType dtype;
};

std::string line_break;

// gigabytes: least traffic of one call; gflop: useful arithmetic (0: the op is bound by memory).
void measure(const char* size, const std::string& op, double gigabytes, double gflop, const std::function<void()>& f) {
  f();
  double best = 1e30, best_wall = 1e30, spent = 0;
  for (int repeats = 1; spent < 0.4;) {
    const double cpu = cpu_seconds(), wall = wall_seconds();
    for (int i = 0; i < repeats; ++i) f();
    const double took = cpu_seconds() - cpu, wall_took = wall_seconds() - wall;
    spent += took;
    if (took < 2e-3) repeats *= 4;  // the clock ticks in microseconds
    else best = std::min(best, took / repeats), best_wall = std::min(best_wall, wall_took / repeats);
  }
  std::printf("%s  {\"size\": \"%s\", \"op\": \"%s\", \"cpu_us\": %.1f, \"wall_us\": %.1f, \"gb_s_core\": %.1f",
              line_break.c_str(), size, op.c_str(), best * 1e6, best_wall * 1e6, gigabytes / best);
  if (gflop > 0) std::printf(", \"gflop_s_core\": %.1f", gflop / best);
  std::printf("}");
  std::fflush(stdout);
  line_break = ",\n";
}

void rows_ops(const char* name, int64_t tokens, int64_t hidden, int64_t inner) {
  Dropout off, on;
  on.keep = 230, on.seed = 42;
  {
    Array x(tokens, inner), y(tokens, inner), dy(tokens, inner);
    const double gb = double(tokens * inner) * 4e-9;
    measure(name, "gelu", 2 * gb, 0, [&] { cpu::activation(y, x, Activation::Gelu); });
    measure(name, "gelu backward", 3 * gb, 0, [&] { cpu::activation_backward(dy, y, x, Activation::Gelu); });
    measure(name, "gelu tanh", 2 * gb, 0, [&] { cpu::activation(y, x, Activation::GeluTanh); });
  }
  Array x(tokens, hidden), y(tokens, hidden), h(tokens, hidden), r(tokens, hidden), g(tokens, hidden),
      d(tokens, hidden);
  Array mean(1, tokens), rstd(1, tokens), w(1, hidden), b(1, hidden);
  const double gb = double(tokens * hidden) * 4e-9;
  measure(name, "add", 3 * gb, 0, [&] { cpu::add(y, x, r); });
  measure(name, "dropout", 2 * gb, 0, [&] { cpu::dropout(y, x, on); });
  measure(name, "sum of rows", gb, 0, [&] { cpu::sum_rows(w.flat(), x); });
  measure(name, "sum of squares", gb, 0, [&] { cpu::sum_squares(b.flat(), x); });
  for (const bool drop : {false, true}) {
    const std::string suffix = drop ? ", dropout" : "";
    const Dropout dropout = drop ? on : off;
    measure(name, "layer norm + residual" + suffix, 4 * gb, 0,
            [&] { cpu::layer_norm(y, h, mean.flat(), rstd.flat(), x, r, w.flat(), b.flat(), 1e-12, dropout); });
    measure(name, "layer norm backward" + suffix, (drop ? 5 : 4) * gb, 0, [&] {
      cpu::layer_norm_backward(d, drop ? View(g) : View{}, {}, {}, x, r, h, w.flat(), mean.flat(), rstd.flat(),
                               dropout);
    });
  }
  Array dw(1, hidden), db(1, hidden);
  measure(name, "layer norm backward, dw db", 4 * gb, 0, [&] {
    cpu::layer_norm_backward(d, {}, dw.flat(), db.flat(), x, r, h, w.flat(), mean.flat(), rstd.flat(), off);
  });
  Array table(30522, hidden), dtable(30522, hidden), ids(1, tokens, DType::I32);
  for (int64_t i = 0; i < tokens; ++i) reinterpret_cast<int32_t*>(ids.data())[i] = int32_t(i * 7919 % 30522);
  measure(name, "embedding", 2 * gb, 0, [&] { cpu::embedding(y, table, ids.flat()); });
  measure(name, "embedding backward", 30522 * double(hidden) * 4e-9 + 3 * gb, 0,
          [&] { cpu::embedding_backward(dtable, y, ids.flat()); });
}

void attention_ops(const char* name, int32_t sequences, int32_t length, int32_t heads, int32_t dim) {
  const int64_t tokens = int64_t(sequences) * length, width = int64_t(heads) * dim;
  Array q(tokens, width), k(tokens, width), v(tokens, width), o(tokens, width), dy(tokens, width), dq(tokens, width);
  Array dk(tokens, width), dv(tokens, width), lse(tokens, heads), starts(1, sequences + 1, DType::I32);
  for (int32_t i = 0; i <= sequences; ++i) reinterpret_cast<int32_t*>(starts.data())[i] = i * length;
  const double gb = double(tokens * width) * 4e-9, gflop = 4e-9 * double(tokens) * length * double(width);
  for (const bool causal : {false, true})
    for (const int32_t keep : {256, 230}) {
      const AttentionShape shape = {heads, heads, dim, causal, length, 512, 0.125};
      Dropout dropout;
      dropout.keep = keep, dropout.seed = 42;
      const std::string suffix = std::string(causal ? ", causal" : "") + (keep < 256 ? ", dropout" : "");
      const double share = causal ? 0.5 : 1;
      measure(name, "attention" + suffix, 4 * gb, gflop * share,
              [&] { cpu::attention(o, lse, q, k, v, starts.flat(), {}, {}, shape, dropout); });
      measure(name, "attention backward" + suffix, 8 * gb, 2.5 * gflop * share,
              [&] { cpu::attention_backward(dq, dk, dv, dy, q, k, v, o, lse, starts.flat(), {}, {}, shape, dropout); });
    }
}

// Position bias as in T5, soft-caps as in Gemma 2, a window as in Mistral.
void attention_features(const char* name, int32_t sequences, int32_t length, int32_t heads, int32_t dim) {
  const int64_t tokens = int64_t(sequences) * length, width = int64_t(heads) * dim;
  Array q(tokens, width), k(tokens, width), v(tokens, width), o(tokens, width), dy(tokens, width), dq(tokens, width);
  Array dk(tokens, width), dv(tokens, width), lse(tokens, heads), starts(1, sequences + 1, DType::I32);
  Array bias(heads, 2 * length - 1);
  for (int32_t i = 0; i <= sequences; ++i) reinterpret_cast<int32_t*>(starts.data())[i] = i * length;
  const double gb = double(tokens * width) * 4e-9, gflop = 4e-9 * double(tokens) * length * double(width);
  const auto both = [&](const std::string& what, AttentionShape shape, View table, View keys, double share) {
    measure(name, "attention" + what, 4 * gb, gflop * share,
            [&] { cpu::attention(o, lse, q, k, v, starts.flat(), keys, table, shape, {}); });
    measure(name, "attention" + what + " backward", 8 * gb, 2.5 * gflop * share,
            [&] { cpu::attention_backward(dq, dk, dv, dy, q, k, v, o, lse, starts.flat(), keys, table, shape, {}); });
  };
  const AttentionShape plain = {heads, heads, dim, 0, length, 512, 0.125, length};
  both(" with position bias", plain, bias, {}, 1);
  both(" to other sequences", plain, {}, starts.flat(), 1);
  AttentionShape capped = plain, windowed = plain;
  capped.softcap = 50, capped.causal = 1;
  both(" soft-capped, causal", capped, {}, {}, 0.5);
  windowed.window = length / 4, windowed.causal = 1;
  both(" in a window of a quarter, causal", windowed, {}, {}, 0.25 - 0.25 * 0.25 / 2);
}

void adamw_op(const char* name, int64_t count) {
  Array p(1, count), g(1, count), m(1, count), v(1, count), slices(1, 4, DType::F64), norm(1, 1, DType::F64);
  for (int64_t i = 0; i < count; ++i) {
    float& x = reinterpret_cast<float*>(v.data())[i];
    x = x < 0 ? -x : x;
  }
  const double slice[4] = {0, double(count), 1, 1};
  std::memcpy(slices.data(), slice, sizeof slice);
  measure(name, "adamw", double(count) * 28e-9, 0, [&] {
    cpu::adamw(p.flat(), g.flat(), m.flat(), v.flat(), slices, norm.flat(), {1e-4, 0.9, 0.999, 1e-8, 0.01, 1, 10});
  });
}

void loss_op(const char* name, int64_t rows, int64_t classes) {
  Array x(rows, classes), dx(rows, classes), lse(1, rows), labels(1, rows, DType::I32), loss(1, 1);
  const CrossEntropy options = {-100, 0, 1.0 / double(rows)};
  const double gb = double(rows * classes) * 4e-9;
  measure(name, "cross entropy", gb, 0, [&] { cpu::cross_entropy(loss, lse.flat(), x, labels.flat(), {}, options); });
  measure(name, "cross entropy backward", 2 * gb, 0,
          [&] { cpu::cross_entropy_backward(dx, loss, x, labels.flat(), {}, lse.flat(), options); });
}

// What a decoder adds: rows of a Llama-type block, and its head with loss.
void decoder_ops(const char* name, int64_t tokens, int64_t hidden, int64_t inner, int64_t heads, int64_t kv_heads,
                 int64_t classes) {
  {
    Array gate(tokens, inner), up(tokens, inner), y(tokens, inner), dgate(tokens, inner), dup(tokens, inner);
    const double gb = double(tokens * inner) * 4e-9;
    for (const Activation kind : {Activation::Silu, Activation::GeluTanh}) {
      const std::string which = kind == Activation::Silu ? "silu" : "gelu tanh";
      measure(name, "gated " + which, 3 * gb, 0, [&] { cpu::gated_activation(y, gate, up, kind); });
      measure(name, "gated " + which + " backward", 5 * gb, 0,
              [&] { cpu::gated_activation_backward(dgate, dup, y, gate, up, kind); });
    }
  }
  const int64_t dim = hidden / heads;
  Array x(tokens, hidden), y(tokens, hidden), h(tokens, hidden), r(tokens, hidden), d(tokens, hidden);
  Array k(tokens, kv_heads * dim), ky(tokens, kv_heads * dim), rstd(1, tokens), w(1, hidden);
  Array positions(1, tokens, DType::I32), angles(tokens, dim), labels(1, tokens, DType::I32), loss(1, 1);
  for (int64_t i = 0; i < tokens; ++i) {
    reinterpret_cast<int32_t*>(positions.data())[i] = int32_t(i);
    reinterpret_cast<int32_t*>(labels.data())[i] = int32_t(i * 7919 % classes);
  }
  const double gb = double(tokens * hidden) * 4e-9;
  measure(name, "rms norm + residual", 4 * gb, 0,
          [&] { cpu::rms_norm(y, h, rstd.flat(), x, r, w.flat(), 0, 1e-6, Dropout{}); });
  measure(name, "rms norm backward", 4 * gb, 0,
          [&] { cpu::rms_norm_backward(d, {}, x, r, h, w.flat(), rstd.flat(), 0); });
  measure(name, "rope", 2 * gb * double(heads + kv_heads) / double(heads), 0,
          [&] { cpu::rope(y, ky, x, k, positions.flat(), angles, dim, false, false); });
  Array head(classes, hidden);
  const double gflop = 2e-9 * double(tokens) * double(classes) * double(hidden);
  const LinearCrossEntropy options = {-100, 0, 1.0 / double(tokens), 0, 0, 128, Compute::F32};
  measure(name, "head and loss", double(classes * hidden) * 4e-9, gflop,
          [&] { cpu::linear_cross_entropy(loss.flat(), {}, x, head, {}, labels.flat(), options); });
  measure(name, "head and loss, with gradient", double(classes * hidden) * 8e-9, 2 * gflop,
          [&] { cpu::linear_cross_entropy(loss.flat(), d, x, head, {}, labels.flat(), options); });
}

// Bytes of one weight [out, in] as it is stored.
int64_t stored_bytes(DType dtype, int64_t out, int64_t in) {
  if (is_blocks(dtype)) return out * in / block_format(dtype).elements * block_format(dtype).bytes;
  return is_quantized(dtype) ? int64_t(quantized_layout(dtype, out, in).bytes) : out * in * int64_t(bytes_of(dtype));
}

// One token's products in eight layers of Qwen2.5-0.5B, each with an adapter of rank 16, beside reading the same bytes:
// the share of the memory's rate is the ratio of their CPU seconds, measured in turn.
void decode_op(DType dtype, int64_t tokens) {
  const int64_t shapes[7][2] = {{896, 896}, {128, 896}, {128, 896}, {896, 896}, {4864, 896}, {4864, 896}, {896, 4864}};
  const int64_t layers = 8, r = 16;
  int64_t bytes = 0;
  for (const auto& s : shapes) bytes += (stored_bytes(dtype, s[0], s[1]) + 255) / 256 * 256 * layers;
  Array weights(1, bytes, DType::U8), x(tokens, 4864), y(tokens, 4864), s(tokens, r), a(r, 4864), b(4864, r);
  Array source(4864, 896);
  std::vector<View> views;
  int64_t at = 0;
  for (int64_t layer = 0; layer < layers; ++layer)
    for (const auto& shape : shapes) {
      View w = source, from = source;
      w.data = weights.data() + at, w.dtype = dtype, w.dims[0] = from.dims[0] = shape[0];
      w.dims[1] = from.dims[1] = shape[1];
      at += (stored_bytes(dtype, shape[0], shape[1]) + 255) / 256 * 256;
      if (is_blocks(dtype)) std::memset(w.data, 0x2c, size_t(stored_bytes(dtype, shape[0], shape[1])));
      else if (is_quantized(dtype)) cpu::quantize(w, from);
      else cpu::copy(w, from);
      views.push_back(w);
    }
  const auto narrow = [](View v, int64_t rows, int64_t cols) {
    v.dims[0] = rows, v.dims[1] = cols;
    return v;
  };
  const auto decode = [&] {
    for (const View& w : views)
      cpu::lora_linear(narrow(y, tokens, w.dims[0]), narrow(s, tokens, r), narrow(x, tokens, w.dims[1]), w, {},
                       narrow(a, r, w.dims[1]), narrow(b, w.dims[0], r), 1, {}, Compute::BF16, true, {});
  };
  std::vector<double> sums(64);
  const auto read = [&] {
    cpu::parallel_for(64, [&](int64_t piece) {
      const auto* words = reinterpret_cast<const uint64_t*>(weights.data()) + bytes / 8 * piece / 64;
      uint64_t sum[16] = {};
      for (int64_t i = 0; i + 16 <= bytes / 8 / 64; i += 16)
        for (int j = 0; j < 16; ++j) sum[j] += words[i + j];
      for (const uint64_t each : sum) sums[size_t(piece)] += double(each);
    });
  };
  double decoded = 1e30, done = 1e30;
  for (int round = 0; round < 8; ++round) {
    double start = cpu_seconds();
    decode();
    if (round) decoded = std::min(decoded, cpu_seconds() - start);
    start = cpu_seconds();
    read();
    if (round) done = std::min(done, cpu_seconds() - start);
  }
  std::printf(
      "%s  {\"size\": \"8 layers of Qwen2.5-0.5B, r 16\", \"op\": \"decode %lld, %s\", \"cpu_us\": %.1f, "
      "\"read_cpu_us\": %.1f, \"share\": %.2f}",
      line_break.c_str(), static_cast<long long>(tokens), name_of(dtype), decoded * 1e6, done * 1e6, done / decoded);
  line_break = ",\n";
}

std::string machine() {
  std::string model = "unknown";
  if (FILE* file = std::fopen("/proc/cpuinfo", "r")) {
    char line[256];
    while (std::fgets(line, sizeof line, file))
      if (const char* colon = std::strstr(line, ": "); colon && std::strncmp(line, "model name", 10) == 0) {
        model = std::string(colon + 2);
        model.pop_back();
        break;
      }
    std::fclose(file);
  }
  return model;
}

void encoder_ops() {
  rows_ops("bert-base 16x128", 2048, 768, 3072);
  attention_ops("bert-base 16x128", 16, 128, 12, 64);
  adamw_op("1.3 M", 1'340'000);
  adamw_op("108 M", 108'310'000);
  loss_op("2048 x 30522", 2048, 30522);
  rows_ops("hidden 384, 512 tokens", 512, 384, 1536);
  attention_ops("4x128, 12 heads of 32", 4, 128, 12, 32);
  attention_ops("1x512, 6 heads of 32", 1, 512, 6, 32);
  attention_ops("1x2048, 12 heads of 64", 1, 2048, 12, 64);
}

}  // namespace

int main(int argc, char** argv) {
  const auto wants = [&](const char* group) { return argc < 3 || std::strcmp(argv[2], group) == 0; };
  std::printf("{\"machine\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"commit\": \"%s\", \"ops\": [\n",
              machine().c_str(), cpu::isa_name(), cpu::threads(), argc > 1 ? argv[1] : "unknown");
  if (wants("decoder")) decoder_ops("Qwen2.5-0.5B 1x512", 512, 896, 4864, 14, 2, 151936);
  if (wants("attention")) attention_features("4x512, 8 heads of 64", 4, 512, 8, 64);
  if (wants("decode"))
    for (const DType dtype : {DType::F32, DType::BF16, DType::I8, DType::NF4, DType::Q8_0, DType::Q4_0, DType::Q5_1,
                              DType::Q4_K, DType::Q6_K})
      for (const int64_t tokens : {1, 4, 16})
        if (argc < 4 || std::strcmp(argv[3], name_of(dtype)) == 0) decode_op(dtype, tokens);
  if (wants("encoder")) encoder_ops();
  std::printf("\n]}\n");
  return 0;
}
