// What more threads bring. `threads_bench dispatch`: what one dispatch of the pool costs with 1 to 64 threads: of no
// work, and in CPU seconds beyond the work where 64 pieces of 2 us are shared.
// `threads_bench model [LEVEL_US]`: a model of a training step of bert-base (16 sequences of 128 tokens, LoRA r 8 on
// all linear layers, dropout 0.1) for any number of cores. One layer runs here, every piece of every dispatch timed by
// itself (CPU seconds, the least of some repetitions), cut as for that many threads; then the pieces are handed out to
// cores that wake up as the pool's do, LEVEL_US later at each level of its tree. It knows nothing of memory that cores
// share, nor of frequencies that fall. `threads_bench layer CORES`: each dispatch of a bf16 layer there, and what it
// loses. `threads_bench layers`: CPU seconds of those layers here.
// All print one JSON object.

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "core/kernels.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

using namespace lowrank;

namespace {

double seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// ---- What a dispatch costs

void work_for(double duration) {
  const double end = seconds(CLOCK_MONOTONIC) + duration;
  while (seconds(CLOCK_MONOTONIC) < end) {
  }
}

struct Cost {
  double wall = 1, cpu = 1;  // seconds a dispatch; the least of the rounds
};

Cost dispatch(int threads, int64_t pieces, double duration) {
  constexpr int ROUNDS = 15, REPEATS = 200;
  cpu::set_threads(threads);
  Cost least;
  for (int round = 0; round < ROUNDS; ++round) {
    const double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < REPEATS; ++i) cpu::parallel_for(pieces, [&](int64_t) { work_for(duration); });
    least.wall = std::min(least.wall, (seconds(CLOCK_MONOTONIC) - wall) / REPEATS);
    least.cpu = std::min(least.cpu, (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / REPEATS);
  }
  return least;
}

void print_dispatches() {
  std::printf("{\"threads\": [");
  const double alone = dispatch(1, 64, 2e-6).cpu;
  for (const int threads : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}) {
    const Cost empty = dispatch(threads, 2 * threads, 0), busy = dispatch(threads, 64, 2e-6);
    std::printf("%s\n  {\"threads\": %d, \"empty_us\": %.2f, \"empty_cpu_us\": %.2f, \"shared_cpu_us\": %.2f}",
                threads == 1 ? "" : ",", threads, empty.wall * 1e6, empty.cpu * 1e6, (busy.cpu - alone) * 1e6);
    std::fflush(stdout);
  }
  std::printf("\n]}\n");
}

// ---- The model

struct Dispatch {
  double before = 0;           // seconds since the dispatch before
  std::vector<double> pieces;  // seconds
};

using Trace = std::vector<Dispatch>;

Trace* trace = nullptr;
double last = 0;  // when the last dispatch ended
bool inside = false;

// What it costs to ask this thread's clock.
double asking() {
  static const double cost = [] {
    double least = 1;
    for (int i = 0; i < 1000; ++i) {
      const double start = seconds(CLOCK_THREAD_CPUTIME_ID);
      least = std::min(least, seconds(CLOCK_THREAD_CPUTIME_ID) - start);
    }
    return least;
  }();
  return cost;
}

void record(int64_t pieces, cpu::detail::Body body, void* context) {
  Dispatch own;
  own.before = seconds(CLOCK_MONOTONIC) - last;
  for (int64_t i = 0; i < pieces; ++i) {
    const double start = seconds(CLOCK_THREAD_CPUTIME_ID);
    inside = true;
    body(context, i);
    inside = false;
    own.pieces.push_back(std::max(0.0, seconds(CLOCK_THREAD_CPUTIME_ID) - start - asking()));
  }
  trace->push_back(std::move(own));
  last = seconds(CLOCK_MONOTONIC);
}

struct Matrix {
  Matrix(int64_t rows, int64_t cols) : values(size_t(rows * cols)) {
    static std::mt19937 generator(1);
    std::uniform_real_distribution<float> value(-0.1f, 0.1f);
    for (float& v : values) v = value(generator);
    view.data = values.data(), view.rank = 2, view.dims[0] = rows, view.dims[1] = cols;
  }
  View flat() const {
    View v = view;
    v.rank = 1, v.dims[0] = view.size();
    return v;
  }
  std::vector<float> values;
  View view;
};

constexpr int64_t TOKENS = 2048, LENGTH = 128, WIDTH = 768, HIDDEN = 3072, RANK = 8, HEADS = 12, LAYERS = 12;

struct Linear {
  Linear(int64_t in, int64_t out, Compute compute)
      : compute(compute), w(out, in), bias(1, out), a(RANK, in), b(out, RANK), s(TOKENS, RANK), y(TOKENS, out),
        dx(TOKENS, in), da(RANK, in), db(out, RANK) {}
  void forward(const View& x) {
    cpu::lora_linear(y.view, s.view, x, w.view, bias.flat(), a.view, b.view, 2, {}, compute, true, {});
  }
  void backward(const View& dy, const View& x) {
    cpu::lora_linear_backward(dx.view, da.view, db.view, dy, x, w.view, a.view, b.view, s.view, 2, {}, compute, true,
                              {});
  }
  Compute compute;
  Matrix w, bias, a, b, s, y, dx, da, db;
};

struct Norm {
  Norm()
      : w(1, WIDTH), b(1, WIDTH), y(TOKENS, WIDTH), h(TOKENS, WIDTH), mean(1, TOKENS), rstd(1, TOKENS),
        dx(TOKENS, WIDTH), dresidual(TOKENS, WIDTH) {
    dropout.keep = 230;
  }
  void forward(const View& x, const View& residual) {
    cpu::layer_norm(y.view, h.view, mean.flat(), rstd.flat(), x, residual, w.flat(), b.flat(), 1e-12, dropout);
  }
  void backward(const View& dy) {
    cpu::layer_norm_backward(dx.view, dresidual.view, {}, {}, dy, {}, h.view, w.flat(), mean.flat(), rstd.flat(),
                             dropout);
  }
  Matrix w, b, y, h, mean, rstd, dx, dresidual;
  Dropout dropout;
};

struct Layer {
  explicit Layer(Compute compute)
      : q(WIDTH, WIDTH, compute), k(WIDTH, WIDTH, compute), v(WIDTH, WIDTH, compute), out(WIDTH, WIDTH, compute),
        up(WIDTH, HIDDEN, compute), down(HIDDEN, WIDTH, compute), x(TOKENS, WIDTH), o(TOKENS, WIDTH),
        lse(TOKENS, HEADS), dq(TOKENS, WIDTH), dk(TOKENS, WIDTH), dv(TOKENS, WIDTH), act(TOKENS, HIDDEN),
        dact(TOKENS, HIDDEN) {
    for (int64_t i = 0; i <= TOKENS / LENGTH; ++i) lengths.push_back(int32_t(i * LENGTH));
    starts.data = lengths.data(), starts.dtype = DType::I32, starts.rank = 1, starts.dims[0] = int64_t(lengths.size());
    dropout.keep = 230;
  }
  void run() {
    for (Linear* each : {&q, &k, &v}) each->forward(x.view);
    cpu::attention(o.view, lse.view, q.y.view, k.y.view, v.y.view, starts, {}, {}, shape, dropout);
    out.forward(o.view);
    first.forward(out.y.view, x.view);
    up.forward(first.y.view);
    cpu::activation(act.view, up.y.view, Activation::Gelu);
    down.forward(act.view);
    second.forward(down.y.view, first.y.view);

    second.backward(x.view);
    down.backward(second.dx.view, act.view);
    cpu::activation_backward(dact.view, down.dx.view, up.y.view, Activation::Gelu);
    up.backward(dact.view, first.y.view);
    cpu::accumulate(up.dx.view, second.dresidual.view, 1);
    first.backward(up.dx.view);
    out.backward(first.dx.view, o.view);
    cpu::attention_backward(dq.view, dk.view, dv.view, out.dx.view, q.y.view, k.y.view, v.y.view, o.view, lse.view,
                            starts, {}, {}, shape, dropout);
    q.backward(dq.view, x.view);
    for (Linear* each : {&k, &v}) {
      each->backward(each == &k ? dk.view : dv.view, x.view);
      cpu::accumulate(q.dx.view, each->dx.view, 1);
    }
    cpu::accumulate(q.dx.view, first.dresidual.view, 1);
  }
  Linear q, k, v, out, up, down;
  Matrix x, o, lse, dq, dk, dv, act, dact;
  Norm first, second;
  std::vector<int32_t> lengths;
  View starts;
  const AttentionShape shape = {HEADS, HEADS, int32_t(WIDTH / HEADS), 0, LENGTH, LENGTH, 0.125};
  Dropout dropout;
};

// Each piece's least time over some runs: what other programs do is not the kernels' doing.
Trace measure(Layer& layer, int threads) {
  constexpr int RUNS = 6;
  cpu::set_threads(threads);
  asking();
  Trace least;
  for (int run = 0; run < RUNS; ++run) {
    Trace own;
    trace = &own;
    last = seconds(CLOCK_MONOTONIC);
    layer.run();
    trace = nullptr;
    if (run == 0) least = own;
    for (size_t i = 0; i < least.size(); ++i) {
      least[i].before = std::min(least[i].before, own[i].before);
      for (size_t j = 0; j < least[i].pieces.size(); ++j)
        least[i].pieces[j] = std::min(least[i].pieces[j], own[i].pieces[j]);
    }
  }
  return least;
}

// Seconds from the first piece to the last, on cores that take pieces in order as they are free.
double span(const Dispatch& dispatch, int threads, double level) {
  std::vector<double> free(size_t(std::min<int64_t>(threads, int64_t(dispatch.pieces.size()))), 0);
  for (size_t i = 1; i < free.size(); ++i) free[i] = free[(i - 1) / 2] + level;
  double end = 0;
  for (const double piece : dispatch.pieces) {
    double& next = *std::min_element(free.begin(), free.end());
    next += piece;
    end = std::max(end, next);
  }
  return end;
}

void print_model(double level) {
  std::printf("{\"isa\": \"%s\", \"level_us\": %.1f, \"cores\": [", cpu::isa_name(), level * 1e6);
  bool any = false;
  for (const Compute compute : {Compute::F32, Compute::BF16}) {
    Layer layer(compute);
    double alone = 0;
    for (const int threads : {1, 2, 4, 8, 16, 32, 64}) {
      double spans = 0, sum = 0, waking = 0, serial = 0;
      const Trace own = measure(layer, threads);
      for (const Dispatch& each : own) {
        spans += span(each, threads, level);
        waking += span(each, threads, level) - span(each, threads, 0);
        serial += each.before;
        for (const double piece : each.pieces) sum += piece;
      }
      const double step = double(LAYERS) * (spans + serial);
      if (threads == 1) alone = step;
      std::printf(
          "%s\n  {\"compute\": \"%s\", \"cores\": %d, \"dispatches\": %d, \"step_s\": %.4f, \"cpu_s\": %.3f, "
          "\"serial_s\": %.4f, \"waking_s\": %.4f, \"share_of_ideal\": %.3f}",
          any ? "," : "", compute == Compute::F32 ? "f32" : "bf16", threads, int(LAYERS) * int(own.size()), step,
          double(LAYERS) * (sum + serial), double(LAYERS) * serial, double(LAYERS) * waking, alone / threads / step);
      std::fflush(stdout);
      any = true;
    }
  }
  std::printf("\n]}\n");
}

// Every dispatch of a bf16 layer on so many cores: what it takes longer than its pieces divided by the cores.
void print_dispatches_of_layer(int threads, double level) {
  Layer layer(Compute::BF16);
  const Trace own = measure(layer, threads);
  std::printf("{\"isa\": \"%s\", \"cores\": %d, \"dispatches\": [", cpu::isa_name(), threads);
  for (size_t i = 0; i < own.size(); ++i) {
    double sum = 0, longest = 0;
    for (const double piece : own[i].pieces) sum += piece, longest = std::max(longest, piece);
    const double took = span(own[i], threads, level), ideal = sum / threads;
    std::printf(
        "%s\n  {\"dispatch\": %d, \"pieces\": %d, \"longest_us\": %.1f, \"took_us\": %.1f, \"lost_us\": %.1f, "
        "\"before_us\": %.1f}",
        i ? "," : "", int(i), int(own[i].pieces.size()), longest * 1e6, took * 1e6, (took - ideal) * 1e6,
        own[i].before * 1e6);
  }
  std::printf("\n]}\n");
}

// CPU seconds of the step's layers with LOWRANK_THREADS, the least of some runs.
void print_layers() {
  constexpr int RUNS = 6;
  std::printf("{\"isa\": \"%s\", \"threads\": %d", cpu::isa_name(), cpu::threads());
  for (const Compute compute : {Compute::F32, Compute::BF16}) {
    Layer layer(compute);
    double least = 1e9;
    for (int run = 0; run < RUNS; ++run) {
      const double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
      layer.run();
      least = std::min(least, seconds(CLOCK_PROCESS_CPUTIME_ID) - start);
    }
    std::printf(", \"%s_cpu_s\": %.3f", compute == Compute::F32 ? "f32" : "bf16", double(LAYERS) * least);
  }
  std::printf("}\n");
}

}  // namespace

// The linker puts this in place of cpu::detail::run.
extern "C" {
void __real__ZN7lowrank3cpu6detail3runElPFvPvlES2_(int64_t pieces, cpu::detail::Body body, void* context);
void __wrap__ZN7lowrank3cpu6detail3runElPFvPvlES2_(int64_t pieces, cpu::detail::Body body, void* context) {
  if (trace && !inside) return record(pieces, body, context);
  if (!trace) return __real__ZN7lowrank3cpu6detail3runElPFvPvlES2_(pieces, body, context);
  for (int64_t i = 0; i < pieces; ++i) body(context, i);
}
}

int main(int argc, char** argv) {
  if (argc > 1 && !std::strcmp(argv[1], "dispatch")) print_dispatches();
  else if (argc > 1 && !std::strcmp(argv[1], "model")) print_model(argc > 2 ? std::atof(argv[2]) * 1e-6 : 5e-6);
  else if (argc > 2 && !std::strcmp(argv[1], "layer")) print_dispatches_of_layer(std::atoi(argv[2]), 5e-6);
  else if (argc > 1 && !std::strcmp(argv[1], "layers")) print_layers();
  else return std::fprintf(stderr, "threads_bench dispatch | model [LEVEL_US] | layer CORES | layers\n"), 1;
}
