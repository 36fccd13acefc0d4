// The emulator as device cuda:0 of the addon that tests load: stands in for cuda/device.cu.

#include "core/device.h"

#include <cstdlib>
#include <cstring>

#include "cuda/counters.h"
#include "cuda/indices.cuh"
#include "cuda/info.h"
#include "cuda/launch.cuh"
#include "cuda/recent.h"

namespace lowrank {
namespace {

// LOWRANK_EMU_DEVICES, by default 1.
int count_of_devices() {
  const char* text = std::getenv("LOWRANK_EMU_DEVICES");
  return text ? std::atoi(text) : 1;
}

void* allocate(int, size_t bytes) { return emulator::allocate(bytes); }
void release(int, void* data, size_t) { emulator::release(data); }
thread_local cuda::Recent recent;
thread_local cuda::IndexFault fault;
void finish(int) { cuda::check_indices(fault); }
thread_local unsigned counters_of_blocks[cuda::COUNTERS];
// A launch that failed left its counts, and another may come.
void begin(int, const char* op) {
  recent.begin(op);
  std::memset(counters_of_blocks, 0, sizeof(counters_of_blocks));
}
std::string trail(int) {
  return recent.text([](const void*) { return "a kernel"; });
}
void copy_bytes(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

}  // namespace

namespace cuda {

// Kernels run where they are launched: in the queue's thread, complete on return.
const Backend backend = {allocate, release, nullptr, finish,  copy_bytes, copy_bytes,
                         begin,    nullptr, trail,   nullptr, measure,    lend};

cudaStream_t stream() { return nullptr; }
IndexFault* index_fault() { return is_measuring() ? nullptr : &fault; }

unsigned* counters() { return is_measuring() ? nullptr : counters_of_blocks; }

void allow_shared(const void*, size_t) {}  // the emulator checks sizes itself

void note_launch(const void* kernel, const Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  recent.note({"", kernel, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, launch.shared});
}

void check_cuda(cudaError_t error, const char* call) {
  check(error == cudaSuccess, Code::Cuda, call, ": ", cudaGetErrorName(error));
}

// Exact bounds, undefined contents, and nobody's memory afterwards.
void* allocate_scratch(size_t bytes) { return emulator::allocate(bytes); }
void release_scratch(void* data) { emulator::release(data); }
bool watches_scratch() { return true; }

// Few multiprocessors: persistent kernels come round more than once.
const Properties& properties() { return properties_on(0); }
const Properties& properties_on(int) {
  static const Properties emulated = {3, 90, size_t(227) << 10, size_t(50) << 20, has_hopper_code(nullptr)};
  return emulated;
}

namespace {
bool hopper_allowed = [] {
  const char* isa = std::getenv("LOWRANK_CUDA_ISA");
  return !isa || std::strcmp(isa, "portable") != 0;
}();
}

bool overlaps_kernels() { return true; }

bool hopper() { return hopper_allowed && properties().hopper_code; }
void allow_hopper(bool allowed) { hopper_allowed = allowed; }

Info info() {
  Info info;
  info.count = count_of_devices();
  for (int i = 0; i < info.count; ++i) info.devices.push_back({"CUDA emulator", "9.0", size_t(0)});
  return info;
}

int generation(int) { return emulator::options().generation; }

int count(std::string&) { return count_of_devices(); }

}  // namespace cuda
}  // namespace lowrank
