// The emulator as device cuda:0 of the addon that tests load: stands in for cuda/device.cu.

#include <cstring>

#include "cuda/info.h"
#include "cuda/launch.cuh"

namespace lowrank {
namespace {

void* allocate(int, size_t bytes) { return emulator::allocate(bytes); }
void release(int, void* data, size_t) { emulator::release(data); }
void copy_bytes(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

}  // namespace

namespace cuda {

// Kernels run where they are launched: in the queue's thread, complete on return.
const Backend backend = {allocate, release, nullptr, nullptr, copy_bytes, copy_bytes};

cudaStream_t stream() { return nullptr; }

void check_cuda(cudaError_t error, const char* call) {
  check(error == cudaSuccess, Code::Cuda, call, ": ", cudaGetErrorName(error));
}

Info info() {
  Info info;
  info.count = 1;
  info.devices = {{"CUDA emulator", "9.0", size_t(0)}};
  return info;
}

int count(std::string&) { return 1; }

}  // namespace cuda
}  // namespace lowrank
