// The pool of workers: every piece runs once and is seen by the caller, with any number of threads, inside one another,
// from several callers at once, where pieces throw; and a step of training has the same bits with 1 … 64 threads.
// With the argument `races` that step is the portable one and of fewer thread counts: for ThreadSanitizer
// (scripts/test-emulator.mjs --races), which sees nothing of the other instruction sets.

#include "cpu/parallel.h"

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "core/error.h"
#include "core/kernels.h"
#include "cpu/gemm/cut.h"
#include "cpu/isa.h"
#include "cpu/pages.h"
#include "cpu/pieces.h"
#include "test/native/mat.h"
#include "test/native/sets.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr int MOST_THREADS = 64;

int64_t checks = 0;
bool races = false;

void check_that(bool ok, const std::string& what) {
  ++checks;
  expect(ok, what);
}

// Plain memory, written by pieces and read by the caller.
void every_piece_once() {
  for (int threads = 1; threads <= MOST_THREADS; ++threads) {
    cpu::set_threads(threads);
    for (const int64_t pieces : {0, 1, 2, 63, 64, 65, 1000}) {
      std::vector<int> ran(static_cast<size_t>(pieces), 0);
      cpu::parallel_for(pieces, [&](int64_t piece) { ++ran[size_t(piece)]; });
      int64_t right = 0;
      for (const int count : ran) right += count == 1;
      check_that(right == pieces, std::to_string(threads) + " threads: each of " + std::to_string(pieces) +
                                      " pieces runs once, " + std::to_string(right) + " did");
    }
  }
}

// One kernel after the other, each of which reads what the one before wrote, by other threads.
void kernels_in_a_row() {
  for (const int threads : {2, 3, 8, MOST_THREADS}) {
    cpu::set_threads(threads);
    const int64_t size = 64;
    std::vector<int64_t> from(size, 1), to(size);
    for (int i = 0; i < 300; ++i) {
      cpu::parallel_for(size, [&](int64_t piece) { to[size_t(piece)] = from[size_t(size - 1 - piece)] + 1; });
      std::swap(from, to);
    }
    int64_t sum = 0;
    for (const int64_t value : from) sum += value;
    check_that(sum == size * 301, std::to_string(threads) + " threads: kernels in a row, sum " + std::to_string(sum));
  }
}

void nested() {
  for (const int threads : {1, 2, 8, MOST_THREADS}) {
    cpu::set_threads(threads);
    std::vector<int> ran(20 * 30, 0);
    cpu::parallel_for(20, [&](int64_t outer) {
      const auto self = std::this_thread::get_id();
      cpu::parallel_for(
          30, [&](int64_t inner) { ran[size_t(outer * 30 + inner)] += std::this_thread::get_id() == self ? 1 : 100; });
    });
    int64_t sum = 0;
    for (const int count : ran) sum += count;
    check_that(sum == 600, "inside a piece all runs in its thread, once: " + std::to_string(sum));
  }
}

void exceptions() {
  for (const int threads : {1, 2, 7, MOST_THREADS}) {
    cpu::set_threads(threads);
    for (int i = 0; i < 100; ++i) {
      std::string caught;
      try {
        cpu::parallel_for(100, [&](int64_t piece) {
          if (piece % 50 == i % 50) throw Error(Code::Memory, "piece " + std::to_string(i % 50));
          if (i % 3 == 0)
            cpu::parallel_for(2, [&](int64_t inner) {
              if (inner == 1 && piece == i) throw std::runtime_error("inner");
            });
        });
      } catch (const std::exception& error) {
        caught = error.what();
      }
      const std::string expected = "piece " + std::to_string(i % 50);
      check_that(caught == expected || caught == "inner", "an exception of any thread comes through: " + caught);
      std::atomic<int64_t> sum{0};
      cpu::parallel_for(50, [&](int64_t piece) { sum += piece; });
      check_that(sum == 1225, "and the next kernel is whole");
    }
  }
}

// Environments of one process: one has the pool, the others go on alone.
void callers_at_once() {
  cpu::set_threads(8);
  std::vector<std::thread> callers;
  std::atomic<int> right{0};
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      bool good = true;
      for (int i = 0; i < 200; ++i) {
        std::vector<int64_t> ran(40, 0);
        cpu::parallel_for(40, [&](int64_t piece) { ran[size_t(piece)] += piece; });
        int64_t sum = 0;
        for (const int64_t value : ran) sum += value;
        good = good && sum == 780;
      }
      right += good;
    });
  for (std::thread& caller : callers) caller.join();
  check_that(right == 4, "four callers at once");
}

// The number of threads changes between kernels, as workers of more of them still go to sleep.
void changing_counts() {
  for (int i = 0; i < 300; ++i) {
    const int threads = 1 + i * 37 % MOST_THREADS;
    cpu::set_threads(threads);
    std::mutex mutex;
    std::vector<std::thread::id> seen;
    cpu::parallel_for(200, [&](int64_t) {
      std::lock_guard lock(mutex);
      const auto self = std::this_thread::get_id();
      for (const auto id : seen)
        if (id == self) return;
      seen.push_back(self);
    });
    check_that(int(seen.size()) <= threads,
               std::to_string(seen.size()) + " threads worked, of " + std::to_string(threads));
  }
}

// Rows of a batch, width, and rank of the step below.
constexpr int64_t N = 300, D = 96, WIDE = 256, R = 8;

// A layer forward and backward: a packed product with its slab, thin products, norms, attention, and an update.
struct Step {
  explicit Step(Random& random)
      : x(make(random, N, D)), w(make(random, WIDE, D)), a(make(random, R, D)), b(make(random, WIDE, R)),
        norm(make(random, 1, D)), dy(make(random, N, WIDE)), qkv(make(random, N, D)) {}
  static Mat<float> make(Random& random, int64_t rows, int64_t cols) {
    return random_mat(random, rows, cols, 0.3).as<float>();
  }

  std::vector<Mat<float>> run(Compute compute) const {
    Dropout dropout;
    dropout.keep = 230, dropout.seed = 7, dropout.site = 3;
    Mat<float> y(N, WIDE), s(N, R), dx(N, D), da(R, D), db(WIDE, R), dw(WIDE, D);
    cpu::lora_linear(y.view(), s.view(), x.view(), w.view(), {}, a.view(), b.view(), 2, dropout, compute, true, {});
    cpu::activation(y.view(), y.view(), Activation::Gelu);
    cpu::lora_linear_backward(dx.view(), da.view(), db.view(), dy.view(), x.view(), w.view(), a.view(), b.view(),
                              s.view(), 2, dropout, compute, true, {});
    cpu::matmul(dw.view(), dy.view(), x.view(), true, false, compute);
    Mat<float> h(N, D), mean(1, N), rstd(1, N), dh(N, D), dnorm(1, D), dbias(1, D), total(1, 1);
    cpu::layer_norm(h.view(), {}, mean.flat(), rstd.flat(), dx.view(), {}, norm.flat(), norm.flat(), 1e-5, {});
    cpu::layer_norm_backward(dh.view(), {}, dnorm.flat(), dbias.flat(), h.view(), {}, dx.view(), norm.flat(),
                             mean.flat(), rstd.flat(), {});
    cpu::sum_squares(total.flat(), dh.view());
    Mat<float> o(N, D), lse(N, 2), dq(N, D), dk(N, D), dv(N, D);
    Mat<int32_t> starts(1, 4, {0, 70, 200, int32_t(N)});
    const AttentionShape shape = {2, 2, int32_t(D / 2), 0, 130, 130, 0.1};
    cpu::attention(o.view(), lse.view(), qkv.view(), qkv.view(), qkv.view(), starts.flat(), {}, {}, shape, dropout);
    cpu::attention_backward(dq.view(), dk.view(), dv.view(), x.view(), qkv.view(), qkv.view(), qkv.view(), o.view(),
                            lse.view(), starts.flat(), {}, {}, shape, dropout);
    return {y, s, dx, da, db, dw, h, dh, dnorm, dbias, total, o, dq, dk, dv};
  }

  Mat<float> x, w, a, b, norm, dy, qkv;
};

void bits_of_a_step() {
  Random random;
  const Step step(random);
  for (const char* isa : races ? std::vector{"portable"} : instruction_sets()) {
    cpu::set_isa(isa);
    for (const Compute compute : {Compute::F32, Compute::BF16}) {
      cpu::set_threads(1);
      const auto alone = step.run(compute);
      for (int threads = 2; threads <= MOST_THREADS; threads += few || races ? 7 : 1) {
        cpu::set_threads(threads);
        const auto many = step.run(compute);
        for (size_t i = 0; i < alone.size(); ++i)
          check_that(std::memcmp(alone[i].data(), many[i].data(), alone[i].size() * 4) == 0,
                     std::string(isa) + ": result " + std::to_string(i) + " of a step differs with " +
                         std::to_string(threads) + " threads");
      }
    }
  }
  cpu::set_isa(nullptr);
}

// Cuts take every tile once by construction; what they may not do is leave threads without work that there is.
void cuts(double pack, double load) {
  using cpu::gemm::cut;
  for (const int threads : {1, 2, 4, 16, MOST_THREADS})
    for (const int64_t rows : {1, 3, 23, 147, 586})
      for (const int64_t columns : {1, 6, 24, 96}) {
        const auto grid = cut({rows, columns, 10, 1 << 20, pack, load}, threads);
        const std::string what = std::to_string(rows) + " x " + std::to_string(columns) + " panels for " +
                                 std::to_string(threads) + " threads";
        const bool fits = grid.strips >= 1 && grid.strips <= rows && grid.cuts >= 1 && grid.cuts <= columns &&
                          cpu::ceil_div(rows, grid.strips) <= 10;
        check_that(fits, what + ": no strip is empty or too high");
        const int64_t parts = rows * std::max<int64_t>(1, columns / 4);
        check_that(grid.strips * grid.cuts >= std::min<int64_t>(parts / 2, 3 * threads / 4), what + ": too few pieces");
      }
  const auto small = cut({40, 8, 40, 3, pack, load}, MOST_THREADS);
  check_that(small.strips * small.cuts <= 3, "no more pieces than pay");
}

void pages() {
  for (const size_t bytes : {size_t(1), cpu::HUGE_PAGE, 2 * cpu::HUGE_PAGE, 5 * cpu::HUGE_PAGE + 12345}) {
    auto* data = static_cast<char*>(cpu::allocate_pages(bytes));
    check_that(data && reinterpret_cast<uintptr_t>(data) % size_t(cpu::alignment_of(bytes)) == 0, "aligned");
    data[0] = data[bytes - 1] = 1;
    cpu::release_pages(data, bytes);
  }
}

}  // namespace

int main(int count, char** arguments) {
  read_arguments(count, arguments);
  races = count > 1 && std::strcmp(arguments[1], "races") == 0;
  every_piece_once();
  kernels_in_a_row();
  nested();
  exceptions();
  callers_at_once();
  changing_counts();
  bits_of_a_step();
  cuts(0.7, 0.5), cuts(8, 3);
  pages();
  std::printf("%lld passed, %d failed\n", static_cast<long long>(checks - failures), failures);
  return failures ? 1 : 0;
}
