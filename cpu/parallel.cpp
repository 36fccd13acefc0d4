// The worker pool of the process. Workers sleep on a condition variable between kernels; pieces are taken from an
// atomic counter, so which thread runs a piece varies, but never what the piece is.

#include "cpu/parallel.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"

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

struct Pool {
  std::mutex one_kernel;  // held by the environment whose kernel runs
  std::mutex mutex;
  std::condition_variable wake, done;
  std::vector<std::thread> workers;
  uint64_t generation = 0;
  int helpers = 0;  // workers asked to join the present kernel
  int active = 0;   // workers still in it
  detail::Body body = nullptr;
  void* context = nullptr;
  int64_t pieces = 0;
  alignas(64) std::atomic<int64_t> next{0};  // on a line of its own: all write it, and only read what is above
  alignas(64) std::exception_ptr error;      // the first one that a piece threw

  void work() {
    inside = true;
    try {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) body(context, i);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = pieces;
    }
    inside = false;
  }

  void loop() {
    uint64_t seen = 0;
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return generation != seen && helpers > 0; });
      seen = generation;
      --helpers;
      lock.unlock();
      work();
      lock.lock();
      if (--active == 0) done.notify_one();
    }
  }

  void run(int64_t count, detail::Body f, void* ctx, int extra) {
    {
      std::lock_guard lock(mutex);
      extra = std::min(extra, grow(extra));
      body = f, context = ctx, pieces = count;
      next = 0;
      helpers = active = extra;
      ++generation;
    }
    if (extra > 0) extra == 1 ? wake.notify_one() : wake.notify_all();
    work();
    std::unique_lock lock(mutex);
    // A worker that has not woken yet finds no piece left: don't wait for it.
    active -= helpers;
    helpers = 0;
    done.wait(lock, [&] { return active == 0; });
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
  }

  // Up to `wanted` workers; fewer where the system gives no more threads, which changes no result.
  int grow(int wanted) {
    try {
      while (int(workers.size()) < wanted) workers.emplace_back([this] { loop(); });
    } catch (const std::system_error&) {
    }
    return int(workers.size());
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
    ::operator delete(data[slot], std::align_val_t(64));
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
    scratches.data[slot] = ::operator new(bytes, std::align_val_t(64));
    scratches.size[slot] = bytes;
    scratch_total += bytes;
  }
  return scratches.data[slot];
}

size_t scratch_bytes() { return scratch_total; }

}  // namespace lowrank::cpu
