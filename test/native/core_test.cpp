// Pool, queue and tensors without Node. Exit code 1 on any failure.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/ops.h"
#include "cpu/parallel.h"

using namespace lowrank;

namespace {

int failures = 0, checks = 0;

void expect(bool ok, const std::string& what) {
  ++checks;
  if (ok) return;
  ++failures;
  std::printf("FAIL %s\n", what.c_str());
}

template <typename F>
std::string error_of(F&& body) {
  try {
    body();
  } catch (const Error& e) {
    return std::string(name_of(e.code)) + " " + e.what();
  }
  return "";
}

template <typename F>
void expect_error(F&& body, const std::string& start, const std::string& what) {
  const std::string error = error_of(body);
  expect(error.compare(0, start.size(), start) == 0, what + ": \"" + error + "\", expected \"" + start + "\"");
}

// What a wait at this place of the queue is told.
std::string fault_of(Queue& queue) {
  std::string text;
  queue.after(
      [&](const Fault* fault) { text = fault ? std::string(name_of(fault->code)) + " " + fault->message : ""; });
  queue.drain();
  return text;
}

void queue_order() {
  Queue queue({}, 0);
  // The ring has 512 slots: it wraps about 200 times, and the caller is held up.
  uint64_t hash = 0, expected = 0;
  for (uint64_t i = 0; i < 100000; ++i) {
    queue.push("hash", [&hash, i] { hash = hash * 31 + i; });
    expected = expected * 31 + i;
  }
  queue.drain();
  expect(hash == expected, "100,000 tasks run once each, in order");
  // A task larger than a slot, between small ones.
  struct Large {
    uint64_t words[1500];
  };
  for (uint64_t i = 0; i < 1000; ++i) {
    Large large{};
    large.words[1499] = i;
    queue.push("large", [&hash, large] { hash = hash * 31 + large.words[1499]; });
    queue.push("small", [&hash, i] { hash = hash * 31 + i; });
    expected = (expected * 31 + i) * 31 + i;
  }
  queue.drain();
  expect(hash == expected, "tasks larger than a slot run in their place");
  queue.push("op", [] { throw Fault{Code::Option, "another: what it says"}; });
  expect(fault_of(queue) == "ERR_OPTION another: what it says", "a fault that names its op");
}

void queue_ownership() {
  const auto counted = std::make_shared<int>(0);
  {
    Queue queue({}, 0);
    for (int i = 0; i < 1000; ++i) queue.push("count", [counted] { ++*counted; });
    queue.drain();
    expect(*counted == 1000 && counted.use_count() == 1, "a task is destroyed when it has run");
    queue.push("throw", [counted] { throw std::runtime_error("no"); });
    for (int i = 0; i < 100; ++i) queue.push("skipped", [counted] { ++*counted; });
    queue.drain();
    expect(*counted == 1000 && counted.use_count() == 1, "so is one that throws, or is skipped");
  }
  std::atomic<bool> started{false};
  {
    Queue queue({}, 0);
    queue.push("slow", [&started, counted] {
      started = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ++*counted;
    });
    for (int i = 0; i < 400; ++i) queue.push("dropped", [counted] { ++*counted; });
    queue.after([counted](const Fault*) { ++*counted; });
    while (!started) std::this_thread::yield();
    queue.stop();
    expect(*counted == 1001, "stop waits for the present task and drops the rest");
    expect(counted.use_count() == 1, "dropped tasks and waits are destroyed");
    expect_error([&] { queue.push("late", [] {}); }, "ERR_DEVICE device:", "a stopped queue takes nothing");
    queue.stop();
  }
  struct Thrower {
    Thrower() = default;
    Thrower(const Thrower&) { throw std::runtime_error("copy"); }
    void operator()() const {}
  };
  Queue queue({}, 0);
  const Thrower thrower;
  bool thrown = false, ran = false;
  try {
    queue.push("thrower", thrower);
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  queue.push("next", [&ran] { ran = true; });
  queue.drain();
  expect(thrown && ran, "a task whose copy throws leaves the ring as it was");
}

void queue_faults() {
  Queue queue({}, 0);
  int ran = 0;
  queue.push("good", [&] { ++ran; });
  queue.push("bad", [] { throw Error(Code::Shape, "no such shape"); });
  queue.push("other", [] { throw Error(Code::DType, "never reached"); });
  queue.push("good", [&] { ++ran; });
  expect(fault_of(queue) == "ERR_SHAPE bad: no such shape", "the first fault, with its op: " + fault_of(queue));
  expect(ran == 1, "work after a fault is skipped");
  queue.push("good", [&] { ++ran; });
  queue.reset();
  queue.push("good", [&] { ++ran; });
  expect(fault_of(queue).empty() && ran == 2, "reset takes its place in the order");
  queue.push("memory", [] { throw std::bad_alloc(); });
  expect(fault_of(queue).rfind("ERR_MEMORY memory: ", 0) == 0, "bad_alloc is ERR_MEMORY");
  queue.reset();
  queue.push("odd", [] { throw 7; });
  expect(fault_of(queue) == "ERR_UNSUPPORTED odd: unknown exception", "whatever is thrown is a fault");
  queue.reset();
  queue.after([](const Fault*) { throw std::runtime_error("from a wait"); });
  expect(fault_of(queue) == "ERR_UNSUPPORTED wait: from a wait", "a wait that throws is a fault, not the end");

  Queue broken({[](int) { throw Error(Code::Cuda, "no stream"); }}, 0);
  expect(fault_of(broken) == "ERR_CUDA device: no stream", "a queue that can't start says so at every wait");
  QueueHooks hooks;
  hooks.finish = [](int) { throw Error(Code::Cuda, "launch failed"); };
  Queue failing(hooks, 0);
  expect(fault_of(failing) == "ERR_CUDA device: launch failed", "what finish throws is a fault");
}

std::string bracketed;
void queue_brackets() {
  QueueHooks hooks;
  hooks.begin = [](int index, const char* op) { bracketed += std::to_string(index) + op + "("; };
  hooks.end = [](int) { bracketed += ")"; };
  hooks.trail = [](int) { return std::string("; after ") + bracketed; };
  Queue queue(hooks, 3);
  queue.push("one", [] { bracketed += "1"; });
  queue.push("two", [] { throw Error(Code::Cuda, "broken"); });
  expect(fault_of(queue) == "ERR_CUDA two: broken; after 3one(1)3two()", "begin and end enclose a task: " + bracketed);
}

void queue_synchronous() {
  setenv("LOWRANK_SYNC", "1", 1);
  Queue queue({}, 0);
  unsetenv("LOWRANK_SYNC");
  const auto here = std::this_thread::get_id();
  bool same = false;
  queue.push("where", [&] { same = std::this_thread::get_id() == here; });
  expect(same, "LOWRANK_SYNC=1 runs in the calling thread, at once");
  expect_error([&] { queue.push("bad", [] { throw std::runtime_error("no"); }); }, "ERR_UNSUPPORTED bad: no",
               "and throws there");
  expect(fault_of(queue).empty(), "what was thrown is not told again");
}

void many_queues() {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&right] {
      Device device(DeviceKind::Cpu, 0);
      double sum = 0;
      for (int i = 0; i < 200; ++i) {
        auto x = Tensor::empty(device, {1000, 70}, DType::F32);
        ops::fill(x, 0.5);
        auto y = ops::sum(ops::add(x, x));
        device.queue.push("read", [view = y.view(), &sum] { sum += *view.as<float>(); });
      }
      device.queue.drain();
      if (sum == 200.0 * 70000) ++right;
    });
  for (auto& thread : threads) thread.join();
  expect(right == 4, "four devices at once share the worker pool");
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool SANITIZED = true;  // no block is cut then
#else
constexpr bool SANITIZED = false;
#endif

void expect_disjoint(std::vector<Tensor> tensors) {
  const auto begin = [](const Tensor& t) { return static_cast<const char*>(t.view().data); };
  std::sort(tensors.begin(), tensors.end(), [&](const Tensor& a, const Tensor& b) { return begin(a) < begin(b); });
  for (size_t i = 1; i < tensors.size(); ++i)
    expect(begin(tensors[i - 1]) + tensors[i - 1].size() <= begin(tensors[i]), "live blocks don't overlap");
}

void pool_counters() {
  Device device(DeviceKind::Cpu, 0), meta(DeviceKind::Meta, 0);
  for (Device* d : {&device, &meta}) {
    auto a = Tensor::empty(*d, {1}, DType::F32), b = Tensor::empty(*d, {65}, DType::F32);
    expect(d->pool.live() == 256 + 512 && d->pool.peak() == 256 + 512, "blocks are counted in steps of 256 bytes");
    const void* data = b.view().data;
    b = Tensor();
    auto c = Tensor::empty(*d, {70}, DType::F32);
    expect(c.view().data == data, "a freed block is used again");
    expect(d->pool.live() == 768 && d->pool.peak() == 768, "live and peak");
    c = Tensor();
    d->pool.reset_peak();
    expect(d->pool.peak() == 256, "resetPeak");
  }
  expect(meta.pool.reserved() == 0, "meta holds nothing");
  expect(device.pool.reserved() >= 768, "freed blocks stay reserved");
  device.pool.trim();
  expect(device.pool.reserved() == 0, "trim gives them back");
  const auto whole = Tensor::empty(meta, {8}, DType::F32);
  auto part = whole;
  part.offset = 16;
  const char* const begin = static_cast<const char*>(whole.view().data);
  expect(begin != nullptr && part.view().data == begin + 16,
         "a meta tensor stands at an address that is never read: host code of kernels counts by it");
}

// Sizes that never repeat: what is reserved stays near the peak, no two live blocks overlap, and all of it can go back.
void pool_ragged() {
  Device device(DeviceKind::Cpu, 0);
  std::vector<Tensor> live;
  uint32_t state = 12345;
  const auto draw = [&](uint32_t n) { return (state = state * 1664525u + 1013904223u, (state >> 8) % n); };
  for (int i = 0; i < (SANITIZED ? 500 : 20000); ++i) {
    if (live.size() > 40 || (!live.empty() && draw(2) == 0)) live.erase(live.begin() + draw(uint32_t(live.size())));
    live.push_back(Tensor::empty(device, {int64_t(1 + draw(300000))}, DType::U8));
    std::memset(live.back().view().data, i & 255, size_t(live.back().size()));
    if (i % 500 == 0) expect_disjoint(live);
  }
  const size_t peak = device.pool.peak();
  const bool is_exact = SANITIZED || device.pool.reserved() <= peak + peak / 2 + (2 << 20);
  expect(is_exact, std::to_string(device.pool.reserved()) + " bytes reserved for a peak of " + std::to_string(peak));
  live.clear();
  device.pool.trim();
  expect(device.pool.live() == 0 && device.pool.reserved() == 0, "all free blocks join and go back");
}

void pool_limit() {
  setenv("LOWRANK_MEMORY_LIMIT", "100000", 1);
  Device device(DeviceKind::Cpu, 0);
  unsetenv("LOWRANK_MEMORY_LIMIT");
  auto a = Tensor::empty(device, {10000}, DType::F32);
  expect_error([&] { Tensor::empty(device, {20000}, DType::F32); },
               "ERR_MEMORY out of memory: 80128 bytes requested, 40192 in use, 40192 reserved, limit 100000; ",
               "past the limit");
  a = Tensor();
  ops::fill(Tensor::empty(device, {20000}, DType::F32), 1);
  expect(device.pool.reserved() <= 100000, "cached blocks of other sizes make room");
  setenv("LOWRANK_MEMORY_LIMIT", "1e9", 1);
  expect_error([&] { Device(DeviceKind::Cpu, 0); }, "ERR_OPTION LOWRANK_MEMORY_LIMIT: \"1e9\"", "a limit that is none");
  unsetenv("LOWRANK_MEMORY_LIMIT");
}

// Under the address sanitizer a block freed too early is a report.
void trim_with_queued_work() {
  Device device(DeviceKind::Cpu, 0);
  for (int i = 0; i < 20; ++i) {
    device.queue.push("slow", [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); });
    { ops::fill(Tensor::empty(device, {100000}, DType::F64), i); }
    device.pool.trim();
  }
  { ops::fill(Tensor::empty(device, {100000}, DType::F64), 1); }
}

void shapes() {
  Device meta(DeviceKind::Meta, 0);
  const int64_t big = int64_t(1) << 40;
  for (const Shape& shape : {Shape{big, big}, Shape{0, big, big}, Shape{INT64_MAX, 2}, Shape{INT64_MAX}, Shape{-1}})
    expect_error([&] { Tensor::empty(meta, shape, DType::F64); }, "ERR_SHAPE tensor: ", "a shape past any memory");
  const auto x = Tensor::empty(meta, {big, 0}, DType::F32), w = Tensor::empty(meta, {big, 0}, DType::F32);
  expect_error([&] { ops::linear(x, w, nullptr, Compute::F32, nullptr, nullptr, 0, false); },
               "ERR_SHAPE tensor: ", "a product past any memory");
  expect_error([] { Shape{1, 1, 1, 1, 1}; }, "ERR_SHAPE shape: rank 5", "five dimensions");
}

void dropout_rows() {
  Device meta(DeviceKind::Meta, 0);
  const auto x = Tensor::empty(meta, {64, 2}, DType::F32);
  Dropout dropout;
  dropout.keep = 128;
  dropout.row_offset = (int64_t(1) << 32) - 64;
  expect(error_of([&] { ops::dropout(x, dropout); }).empty(), "the last rows that dropout can count");
  dropout.row_offset += 1;
  expect_error([&] { ops::dropout(x, dropout); }, "ERR_OPTION dropout: dropout of 64 rows from ", "row 2^32");
  dropout.row_offset = INT64_MAX;
  expect_error([&] { ops::dropout(x, dropout); }, "ERR_OPTION dropout: ", "a row offset near the end of int64");
  const auto q = Tensor::empty(meta, {8, 6}, DType::F32), cu = Tensor::empty(meta, {3}, DType::I32);
  AttentionShape shape = {2, 2, 3, 0, 8, 1 << 20, 1.0};
  const auto attend = [&] { ops::attention(q, q, q, cu, nullptr, nullptr, shape, dropout); };
  dropout.row_offset = (1 << 11) - 2;  // sequences: 2^32 / (2 heads * 2^20 rows) = 2^11
  expect(error_of(attend).empty(), "the last sequences that dropout can count");
  dropout.row_offset += 1;
  expect_error(attend, "ERR_OPTION attention: dropout of 2 sequences from 2047 on", "attention row 2^32");
  shape.row_stride = 4;
  expect_error(attend, "ERR_OPTION attention: a sequence of 8 tokens", "a sequence longer than the rows counted");
  shape.max_length = shape.row_stride = 0;
  expect_error(attend, "ERR_OPTION attention: a sequence of 0 tokens", "no rows counted at all");
}

void worker_exceptions() {
  cpu::set_threads(3);
  for (int i = 0; i < 200; ++i) {
    std::atomic<int> ran{0};
    bool caught = false;
    try {
      cpu::parallel_for(50, [&](int64_t piece) {
        ++ran;
        if (piece == i % 50) throw Error(Code::Memory, "piece");
      });
    } catch (const Error&) {
      caught = true;
    }
    expect(caught && ran > 0, "an exception of any thread reaches the caller");
    int64_t sum = 0;
    std::mutex mutex;
    cpu::parallel_for(50, [&](int64_t piece) {
      std::lock_guard lock(mutex);
      sum += piece;
    });
    expect(sum == 1225, "and the pool goes on");
  }
  expect_error([] { cpu::set_threads(-1); }, "ERR_OPTION threads: -1", "threads below 0");
}

}  // namespace

int main() {
  queue_order();
  queue_ownership();
  queue_faults();
  queue_brackets();
  queue_synchronous();
  many_queues();
  pool_counters();
  pool_ragged();
  pool_limit();
  trim_with_queued_work();
  shapes();
  dropout_rows();
  worker_exceptions();
  std::printf("core_test: %d checks, %d failed\n", checks, failures);
  return failures ? 1 : 0;
}
