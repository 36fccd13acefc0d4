#include "core/queue.h"

#include <cstdlib>
#include <cstring>

namespace lowrank {
namespace {

bool wants_synchronous() {
  const char* text = std::getenv("LOWRANK_SYNC");
  return text && std::strcmp(text, "0") != 0 && *text;
}

// Between a backend's begin and end.
struct Bracket {
  Bracket(const QueueHooks& hooks, int index, const char* op) : hooks(hooks), index(index) {
    if (hooks.begin) hooks.begin(index, op);
  }
  ~Bracket() {
    if (hooks.end) hooks.end(index);
  }
  const QueueHooks& hooks;
  const int index;
};

}  // namespace

Queue::Queue(const QueueHooks& hooks, int index) : hooks_(hooks), index_(index), synchronous_(wants_synchronous()) {
  if (synchronous_) {
    if (hooks_.enter) hooks_.enter(index_);
  } else {
    ring_.reset(new Slot[SLOTS]);
  }
}

// The exception in flight, as the fault of `op`.
Fault Queue::caught(const char* op) const {
  const std::string prefix = std::string(op) + ": ";
  try {
    throw;
  } catch (const Fault& fault) {
    return fault;
  } catch (const Error& e) {
    return {e.code, prefix + e.what() + (e.code == Code::Cuda && hooks_.trail ? hooks_.trail(index_) : "")};
  } catch (const std::bad_alloc&) {
    return {Code::Memory, prefix + "no memory for the kernel's scratch; lower batchSize or maxLength"};
  } catch (const std::exception& e) {
    return {Code::Unsupported, prefix + e.what()};
  } catch (...) {
    return {Code::Unsupported, prefix + "unknown exception"};
  }
}

void Queue::run_here(const char* op, Kind kind, void (*call)(void* task), void* task) {
  if (kind == Kind::Work && fault_) throw Error(fault_->code, fault_->message);
  try {
    const Bracket bracket(hooks_, index_, op);
    call(task);
    if (kind == Kind::Work && hooks_.finish) hooks_.finish(index_);
  } catch (...) {
    const Fault fault = caught(op);
    throw Error(fault.code, fault.message);
  }
}

Queue::Slot& Queue::acquire() {
  std::unique_lock lock(mutex_);
  check(!stopping_, Code::Device, "device: its queue has stopped");
  if (!executor_.joinable()) executor_ = std::thread([this] { loop(); });
  freed_.wait(lock, [&] { return tail_ - head_ < SLOTS; });
  return ring_[tail_ % SLOTS];
}

void Queue::publish() {
  {
    std::lock_guard lock(mutex_);
    ++tail_;
  }
  filled_.notify_one();
}

void Queue::loop() {
  try {
    if (hooks_.enter) hooks_.enter(index_);
  } catch (...) {
    record_caught("device");
  }
  std::unique_lock lock(mutex_);
  for (;;) {
    filled_.wait(lock, [&] { return stopping_ || head_ != tail_; });
    if (stopping_) return;
    Slot& slot = ring_[head_ % SLOTS];
    lock.unlock();
    execute(slot);
    lock.lock();
    ++head_;
    freed_.notify_one();
  }
}

void Queue::execute(Slot& slot) {
  const bool skip = slot.kind == Kind::Work && fault_;
  try {
    const Bracket bracket(hooks_, index_, slot.op);
    slot.run(slot.task, !skip);
  } catch (...) {
    record_caught(slot.op);
  }
}

void Queue::record_caught(const char* op) {
  if (!fault_) fault_ = caught(op);
}

const Fault* Queue::complete() {
  try {
    if (hooks_.finish) hooks_.finish(index_);
  } catch (...) {
    record_caught("device");
  }
  return fault_ ? &*fault_ : nullptr;
}

void Queue::reset() {
  put("reset", Kind::Marker, [this] { fault_.reset(); });
}

void Queue::drain() {
  if (synchronous_) complete();
  if (!executor_.joinable()) return;
  std::mutex mutex;
  std::condition_variable reached;
  bool done = false;
  after([&](const Fault*) {
    std::lock_guard lock(mutex);
    done = true;
    reached.notify_one();
  });
  std::unique_lock lock(mutex);
  reached.wait(lock, [&] { return done; });
}

void Queue::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  filled_.notify_one();
  if (executor_.joinable()) executor_.join();
  if (!ring_) return;
  for (; head_ != tail_; ++head_) ring_[head_ % SLOTS].run(ring_[head_ % SLOTS].task, false);
}

}  // namespace lowrank
