#include "core/queue.h"

#include <cstdlib>
#include <cstring>

namespace lowrank {
namespace {

bool wants_synchronous() {
  const char* text = std::getenv("LOWRANK_SYNC");
  return text && std::strcmp(text, "0") != 0 && *text;
}

}  // namespace

Queue::Queue(Hook enter, Hook finish, int index)
    : enter_(enter), finish_(finish), index_(index), synchronous_(wants_synchronous()) {
  if (synchronous_) {
    if (enter_) enter_(index_);
  } else {
    ring_ = std::make_unique<Slot[]>(SLOTS);
  }
}

Queue::Slot& Queue::acquire() {
  std::unique_lock lock(mutex_);
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
    if (enter_) enter_(index_);
  } catch (const Error& e) {
    record(e.code, "device", e.what());
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
  bool skip;
  {
    std::lock_guard lock(mutex_);
    skip = slot.kind == Kind::Work && fault_;
  }
  try {
    slot.run(slot.task, !skip);
  } catch (const Error& e) {
    record(e.code, slot.op, e.what());
  } catch (const std::bad_alloc&) {
    record(Code::Memory, slot.op, "out of memory in a kernel");
  } catch (const std::exception& e) {
    record(Code::Unsupported, slot.op, e.what());
  }
}

void Queue::record(Code code, const char* op, const char* what) {
  std::lock_guard lock(mutex_);
  if (!fault_) fault_ = Fault{code, std::string(op) + ": " + what};
}

const Fault* Queue::complete() {
  try {
    if (finish_) finish_(index_);
  } catch (const Error& e) {
    record(e.code, "device", e.what());
  }
  std::lock_guard lock(mutex_);
  return fault_ ? &*fault_ : nullptr;
}

void Queue::reset() {
  std::lock_guard lock(mutex_);
  fault_.reset();
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
