#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "core/error.h"

namespace lowrank {

// What a queue tells of work that failed. A backend may throw one, which names its op.
struct Fault {
  Code code;
  std::string message;
};

// What a queue asks of its backend, on the thread that runs its tasks. Any may be null.
struct QueueHooks {
  void (*enter)(int index) = nullptr;                  // once, before any work
  void (*finish)(int index) = nullptr;                 // waits for all launched work and throws its error
  void (*begin)(int index, const char* op) = nullptr;  // before each task
  void (*end)(int index) = nullptr;                    // after it, also where it threw
  std::string (*trail)(int index) = nullptr;           // what ERR_CUDA adds: the work that came last
};

// The order of a device's work. One executor thread takes tasks from a ring and runs them; they are stored in the ring
// itself, so handing over allocates nothing (but for the largest tasks, of many layers). A full ring blocks the caller.
// After a fault every later task is skipped, and whoever waits is told the fault, until reset(). LOWRANK_SYNC=1 runs
// each task in the calling thread and waits for it, so that its error is thrown where the op was called.
//
// One thread hands over, waits and stops; only the executor (or, with LOWRANK_SYNC=1, that thread) touches the fault.
class Queue {
 public:
  Queue(const QueueHooks& hooks, int index);
  ~Queue() { stop(); }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // Work that a fault skips. `op` lives as long as the program.
  template <typename F>
  void push(const char* op, F&& task) {
    put(op, Kind::Work, std::forward<F>(task));
  }

  // Runs when all earlier work is complete, with its fault, if any: done(const Fault*). Dropped by stop().
  template <typename F>
  void after(F&& done) {
    put("wait", Kind::Marker, [this, done = std::forward<F>(done)]() mutable { done(complete()); });
  }

  // Forgets the fault. Takes its place in the order: work handed over before it stays skipped.
  void reset();
  // Blocks until all earlier work is complete or skipped.
  void drain();
  // Returns after the present task; later ones are dropped.
  void stop();

 private:
  enum class Kind : uint8_t { Work, Marker };
  // A training step of a 12-layer encoder is about a thousand tasks. Slots are left uninitialised: an idle queue
  // touches no memory.
  static constexpr size_t SLOTS = 4096, SLOT_BYTES = 2048;
  struct Slot {
    void (*run)(void* task, bool execute);  // destroys the task, after running it if asked to
    const char* op;
    Kind kind;
    alignas(16) unsigned char task[SLOT_BYTES - 32];
  };

  template <typename F>
  void put(const char* op, Kind kind, F&& task) {
    using Task = std::decay_t<F>;
    if constexpr (sizeof(Task) > sizeof(Slot::task)) {
      put(op, kind, [task = std::make_unique<Task>(std::forward<F>(task))] { (*task)(); });
    } else {
      put_small(op, kind, std::forward<F>(task));
    }
  }
  template <typename F>
  void put_small(const char* op, Kind kind, F&& task) {
    using Task = std::decay_t<F>;
    if (synchronous_) {
      Task local(std::forward<F>(task));
      return run_here(
          op, kind, [](void* memory) { (*static_cast<Task*>(memory))(); }, &local);
    }
    Slot& slot = acquire();
    new (slot.task) Task(std::forward<F>(task));
    slot.run = [](void* memory, bool execute) {
      Task& stored = *static_cast<Task*>(memory);
      struct Destroy {
        Task& task;
        ~Destroy() { task.~Task(); }
      } destroy{stored};
      if (execute) stored();
    };
    slot.op = op;
    slot.kind = kind;
    publish();
  }

  void run_here(const char* op, Kind kind, void (*call)(void* task), void* task);
  Slot& acquire();
  void publish();
  void loop();
  void execute(Slot& slot);
  const Fault* complete();
  Fault caught(const char* op) const;
  void record_caught(const char* op);

  const QueueHooks hooks_;
  const int index_;
  const bool synchronous_;
  std::unique_ptr<Slot[]> ring_;
  std::mutex mutex_;
  std::condition_variable filled_, freed_;
  uint64_t head_ = 0, tail_ = 0;  // next to run, next to fill
  bool stopping_ = false;
  std::optional<Fault> fault_;
  std::thread executor_;
};

}  // namespace lowrank
