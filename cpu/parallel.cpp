// The worker pool of the process. Between kernels each worker sleeps on a bell of its own, and whoever wakes up wakes
// two more; pieces are taken from an atomic counter, so which thread runs a piece varies, but never what the piece is.

#include "cpu/parallel.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "cpu/pages.h"

namespace lowrank::cpu {
namespace {

constexpr int MAX_THREADS = 1024;

int default_threads() {
  const char* text = std::getenv("LOWRANK_THREADS");
  if (text && *text) {
    char* end;
    const long count = std::strtol(text, &end, 10);
    check(*end == 0 && count >= 1 && count <= MAX_THREADS, Code::Option, "LOWRANK_THREADS: \"", text,
          "\", expected 1 to ", MAX_THREADS);
    return int(count);
  }
#ifdef __linux__  // macOS has no mask of processors; what std::thread counts is all there
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return std::max(1, int(std::thread::hardware_concurrency()));
}

std::atomic<int> thread_count{0};
std::atomic<size_t> scratch_total{0};
thread_local bool inside = false;

// Which of these processors' caches share lines in pairs: two lines keep neighbours apart.
constexpr size_t APART = 128;
// Looks at a bell before sleeping, 1 to 2 us in all. A product's dispatches follow one another faster than that; more
// looks would save wake-ups, and cost more CPU seconds than those.
constexpr int LOOKS = 30;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// One thread sleeps on it, any may ring. A ring between two waits is not lost.
struct alignas(APART) Bell {
  void ring() {
    rings.fetch_add(1);
    if (!asleep.load()) return;
    { std::lock_guard lock(mutex); }
    wake.notify_one();
  }
  // Returns the count of rings once it is no longer `heard`.
  uint32_t wait(uint32_t heard) {
    for (int i = 0; i < LOOKS; ++i) {
      if (const uint32_t now = rings.load(std::memory_order_acquire); now != heard) return now;
      pause();
    }
    std::unique_lock lock(mutex);
    asleep = true;
    wake.wait(lock, [&] { return rings.load() != heard; });
    asleep = false;
    return rings;
  }

  std::atomic<uint32_t> rings{0};
  std::atomic<bool> asleep{false};
  std::mutex mutex;
  std::condition_variable wake;
};

struct Pool {
  // `state`: workers in the present kernel, and whether it takes no more. What describes a kernel is written while
  // there is none, and read by those who have joined.
  static constexpr uint32_t CLOSED = 1u << 31;

  std::mutex one_kernel;                     // held by the environment whose kernel runs
  std::vector<std::unique_ptr<Bell>> bells;  // of workers 1, 2, …; worker 0 is the caller
  Bell done;
  detail::Body body = nullptr;
  void* context = nullptr;
  int64_t pieces = 0;
  int helpers = 0;  // workers asked for
  std::mutex failing;
  std::exception_ptr error;  // the first one that a piece threw
  alignas(APART) std::atomic<int64_t> next{0};
  alignas(APART) std::atomic<uint32_t> state{CLOSED};

  void work() {
    inside = true;
    try {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) body(context, i);
    } catch (...) {
      std::lock_guard lock(failing);
      if (!error) error = std::current_exception();
      next.store(pieces, std::memory_order_relaxed);
    }
    inside = false;
  }

  bool join() {
    uint32_t seen = state.load();
    while (!(seen & CLOSED))
      if (state.compare_exchange_weak(seen, seen + 1)) return true;
    return false;
  }

  // Each wakes two more, while there is work left: no one wakes all, and no lock is taken by all.
  void wake_next(int worker) {
    for (int i = 2 * worker + 1; i <= 2 * worker + 2 && i <= helpers; ++i)
      if (next.load(std::memory_order_relaxed) < pieces) bells[size_t(i) - 1]->ring();
  }

  void loop(int worker, Bell& bell) {
    for (uint32_t heard = 0;;) {
      heard = bell.wait(heard);
      if (!join()) continue;
      if (worker <= helpers) {
        wake_next(worker);
        work();
      }
      if (state.fetch_sub(1) == (CLOSED | 1)) done.ring();
    }
  }

  void run(int64_t count, detail::Body f, void* ctx, int extra) {
    body = f, context = ctx, pieces = count;
    helpers = std::min(extra, grow(extra));
    next.store(0, std::memory_order_relaxed);
    state.store(0);
    wake_next(0);
    work();
    // A worker that has not come yet finds no piece left: it is not waited for.
    uint32_t heard = done.rings;
    if (state.fetch_or(CLOSED) != 0)
      while (state.load() != CLOSED) heard = done.wait(heard);
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
  }

  // Up to `wanted` workers; fewer where the system gives no more threads, which changes no result.
  int grow(int wanted) {
    try {
      while (int(bells.size()) < wanted) {
        bells.push_back(std::make_unique<Bell>());
        std::thread([this, worker = int(bells.size()), bell = bells.back().get()] { loop(worker, *bell); }).detach();
      }
    } catch (const std::system_error&) {
      bells.pop_back();
    }
    return int(bells.size());
  }
};

// Never destroyed: its workers sleep in it until the process ends.
Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

struct Scratch {
  ~Scratch() {
    for (int i = 0; i < SCRATCH_SLOTS; ++i) release(i);
  }
  void release(int slot) {
    if (!data[slot]) return;
    release_pages(data[slot], size[slot]);
    scratch_total -= size[slot];
    data[slot] = nullptr;
    size[slot] = 0;
  }
  void* data[SCRATCH_SLOTS] = {};
  size_t size[SCRATCH_SLOTS] = {};
};
thread_local Scratch scratches;

}  // namespace

int threads() {
  int count = thread_count.load(std::memory_order_relaxed);
  if (count == 0) thread_count = count = default_threads();
  return count;
}

void set_threads(int count) {
  check(count >= 0 && count <= MAX_THREADS, Code::Option, "threads: ", count, ", expected 1 to ", MAX_THREADS,
        ", or 0 for the default");
  thread_count = count > 0 ? count : default_threads();
}

void detail::run(int64_t pieces, Body body, void* context) {
  const int extra = int(pieces < threads() ? pieces : threads()) - 1;
  std::unique_lock lock(pool().one_kernel, std::defer_lock);
  if (extra < 1 || inside || !lock.try_lock()) {
    for (int64_t i = 0; i < pieces; ++i) body(context, i);
    return;
  }
  pool().run(pieces, body, context, extra);
}

void* scratch(int slot, size_t bytes) {
  if (scratches.size[slot] < bytes) {
    scratches.release(slot);
    scratches.data[slot] = allocate_pages(bytes);
    if (!scratches.data[slot]) throw std::bad_alloc();
    scratches.size[slot] = bytes;
    scratch_total += bytes;
  }
  return scratches.data[slot];
}

size_t scratch_bytes() { return scratch_total; }

}  // namespace lowrank::cpu
