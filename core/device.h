#pragma once
#include <string>

#include "core/kernels.h"
#include "core/pool.h"
#include "core/queue.h"

namespace lowrank {

enum class DeviceKind : uint8_t { Cpu, Cuda, Meta };

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

  const DeviceKind kind;
  const int index;
  const Backend& backend;
  const Kernels& kernels;
  Pool pool;
  Queue queue;
};

// Hands a kernel over to the device's queue: run(device, "add", device.kernels.add, y, a, b).
template <typename... Params, typename... Args>
void run(Device& device, const char* op, void (*kernel)(Params...), Args... args) {
  if (device.kind == DeviceKind::Meta) return;
  check(kernel != nullptr, Code::Unsupported, op, ": no kernel on ", device.name(), "; use device 'cpu'");
  device.queue.push(op, [kernel, args...] { kernel(Params(args)...); });
}

}  // namespace lowrank
