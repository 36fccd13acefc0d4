#pragma once
#include <string>

#include "core/kernels.h"
#include "core/pool.h"
#include "core/queue.h"

namespace lowrank {

enum class DeviceKind : uint8_t { Cpu, Cuda, Meta };

// What an op takes beyond its tensors.
struct Needs {
  size_t scratch = 0;    // bytes
  int64_t launches = 0;  // of kernels
};

// What a backend provides besides its kernels. All but allocate and release run on the thread of the device's queue.
struct Backend {
  void* (*allocate)(int index, size_t bytes) = nullptr;  // null when there is no memory left
  void (*release)(int index, void* data, size_t bytes) = nullptr;
  void (*enter)(int index) = nullptr;   // once, by the queue's thread, before any work
  void (*finish)(int index) = nullptr;  // waits for all launched work and throws its error
  void (*upload)(void* to, const void* host, size_t bytes) = nullptr;
  void (*download)(void* host, const void* from, size_t bytes) = nullptr;  // complete on return
  void (*begin)(int index, const char* op) = nullptr;                      // before each task of the queue
  void (*end)(int index) = nullptr;                                        // after it
  std::string (*trail)(int index) = nullptr;                               // what ERR_CUDA tells of recent work
  size_t (*available)(int index) = nullptr;                                // free bytes of the device, on any thread
  // Where scratch comes from the pool, else null. measure: what kernel(argument) will need, on the thread that hands it
  // over; nothing runs. lend: the scratch of the kernel that runs next on the queue's thread.
  Needs (*measure)(int index, void (*kernel)(void*), void* argument) = nullptr;
  void (*lend)(void* data, size_t bytes) = nullptr;
};

namespace cpu {
extern const Backend backend;
const char* isa_name();
int threads();
void set_threads(int count);
size_t scratch_bytes();
}  // namespace cpu
namespace cuda {
extern const Backend backend;
}

// Devices that this build and machine have; `reason` says why not.
int device_count(DeviceKind kind, std::string& reason);

// One device as one Node environment sees it: its own queue and pool. Nothing is shared between environments but the
// CPU's worker pool.
struct Device {
  Device(DeviceKind kind, int index);
  ~Device();
  std::string name() const;
  // Of the meta device: counts what the kernels of CUDA take too, where this machine has a GPU, or of the CPU, nothing.
  void plan_for(DeviceKind kind);
  // Bytes of scratch that a kernel needs; counts its launches.
  template <typename F>
  size_t measure(F& kernel);

  const DeviceKind kind;
  const int index;
  const Backend& backend;
  Kernels kernels;
  const Backend* measured = nullptr;  // whose kernels are measured before they are handed over
  int64_t launches = 0;               // of kernels, so far
  Pool pool;
  Queue queue;
};

template <typename F>
size_t Device::measure(F& kernel) {
  const Needs needs = measured->measure(
      index, [](void* argument) { (*static_cast<F*>(argument))(); }, &kernel);
  launches += needs.launches;
  return needs.scratch;
}

// Hands a kernel over to the device's queue: run(device, "add", device.kernels.add, y, a, b).
template <typename... Params, typename... Args>
void run(Device& device, const char* op, void (*kernel)(Params...), Args... args) {
  auto call = [kernel, args...] { kernel(Params(args)...); };
  if (!device.measured) {
    if (device.kind != DeviceKind::Meta) device.queue.push(op, call);
    return;
  }
  const size_t bytes = device.measure(call);
  void* const scratch = bytes ? device.pool.allocate(bytes) : nullptr;
  if (device.kind != DeviceKind::Meta)
    device.queue.push(op, [lend = device.backend.lend, scratch, bytes, call] {
      lend(scratch, bytes);
      call();
    });
  // Later work of the queue may have it.
  if (scratch) device.pool.release(scratch, bytes);
}

}  // namespace lowrank
