#include "core/device.h"

namespace lowrank {
namespace {

#define LOWRANK_CPU(name, args) table.name = cpu::name;
Kernels cpu_kernels() {
  Kernels table;
  LOWRANK_KERNELS(LOWRANK_CPU)
  return table;
}

#ifdef LOWRANK_HAS_CUDA
#define LOWRANK_CUDA(name, args) table.name = cuda::name;
Kernels cuda_kernels() {
  Kernels table;
  LOWRANK_KERNELS(LOWRANK_CUDA)
  return table;
}
#endif

const Kernels& kernels_of(DeviceKind kind) {
  static const Kernels cpu = cpu_kernels();
#ifdef LOWRANK_HAS_CUDA
  static const Kernels cuda = cuda_kernels();
  if (kind == DeviceKind::Cuda) return cuda;
#endif
  (void)kind;
  return cpu;
}

const Backend& backend_of(DeviceKind kind) {
#ifdef LOWRANK_HAS_CUDA
  if (kind == DeviceKind::Cuda) return cuda::backend;
#endif
  (void)kind;
  return cpu::backend;
}

void check_available(DeviceKind kind, int index) {
  std::string reason;
  const int count = device_count(kind, reason);
  if (kind == DeviceKind::Cpu) cpu::threads();  // throws where LOWRANK_THREADS is no number
  check(index >= 0 && index < count, Code::Device, "device: index ", index, " of ", count, " available",
        reason.empty() ? "" : "; ", reason);
}

}  // namespace

Device::Device(DeviceKind kind, int index)
    : kind(kind), index((check_available(kind, index), index)), backend(backend_of(kind)), kernels(kernels_of(kind)),
      pool(kind == DeviceKind::Meta ? nullptr : &backend, index, [this] { queue.drain(); }),
      queue({backend.enter, backend.finish, backend.begin, backend.end, backend.trail}, index) {
  if (backend.measure) measured = &backend;
}

void Device::plan_for(DeviceKind planned) {
  std::string reason;
  const bool counts = planned == DeviceKind::Cuda && device_count(planned, reason) > 0;
  kernels = kernels_of(counts ? planned : kind);
  measured = counts ? &backend_of(planned) : nullptr;
}

Device::~Device() { queue.stop(); }

std::string Device::name() const {
  if (kind == DeviceKind::Cuda) return "cuda:" + std::to_string(index);
  return kind == DeviceKind::Meta ? "meta" : "cpu";
}

#ifndef LOWRANK_HAS_CUDA
int device_count(DeviceKind kind, std::string& reason) {
  if (kind != DeviceKind::Cuda) return 1;
  reason = "this build has no CUDA backend; build with LOWRANK_CUDA=1";
  return 0;
}
#else
namespace cuda {
int count(std::string& reason);
}

int device_count(DeviceKind kind, std::string& reason) { return kind == DeviceKind::Cuda ? cuda::count(reason) : 1; }
#endif

}  // namespace lowrank
