// CUDA as a backend: one stream per queue, uploads through pinned staging, errors, and what the machine has. Each task
// of a queue is an NVTX range, for profilers.

#include <cxxabi.h>
#include <nvtx3/nvToolsExt.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/device.h"
#include "cuda/counters.h"
#include "cuda/indices.cuh"
#include "cuda/info.h"
#include "cuda/launch.cuh"
#include "cuda/recent.h"

namespace lowrank {
namespace conformance {
int code_generation(cudaStream_t stream);  // cuda/conformance/generation.cu
}
namespace {

using cuda::check_cuda;

// Uploads are cut into pieces of a pinned ring: the caller's memory is free on return, and the stream is not waited for
// unless a whole ring is on its way.
struct Staging {
  static constexpr size_t SLOTS = 16, BYTES = size_t(256) << 10;

  void open() {
    check_cuda(cudaMallocHost(&memory, SLOTS * BYTES), "cudaMallocHost");
    for (cudaEvent_t& event : copied)
      check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  }

  void close() {
    for (cudaEvent_t event : copied)
      if (event) cudaEventDestroy(event);
    cudaFreeHost(memory);
  }

  void* memory = nullptr;
  cudaEvent_t copied[SLOTS] = {};
  size_t next = 0;
};

cuda::Properties properties_of(int index) {
  const auto attribute = [index](cudaDeviceAttr which) {
    int value = 0;
    check_cuda(cudaDeviceGetAttribute(&value, which, index), "cudaDeviceGetAttribute");
    return value;
  };
  cuda::Properties p;
  p.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  p.capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor);
  p.shared_block = size_t(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  p.l2 = size_t(attribute(cudaDevAttrL2CacheSize));
  p.hopper_code = p.capability == 90 && cuda::has_hopper_code(nullptr);
  return p;
}

// What a queue has on its device.
struct Context {
  explicit Context(int index) : device(index), properties(cuda::properties_on(index)) {
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    staging.open();
    check_cuda(cudaMallocHost(&fault, sizeof(*fault)), "cudaMallocHost");
    *fault = {};
    check_cuda(cudaMalloc(&counters, COUNTER_BYTES), "cudaMalloc");
    check_cuda(cudaMemsetAsync(counters, 0, COUNTER_BYTES, stream), "cudaMemsetAsync");
  }

  ~Context() {
    if (!stream || cudaSetDevice(device) != cudaSuccess) return;
    cudaStreamSynchronize(stream);
    staging.close();
    cudaFreeHost(fault);
    cudaFree(counters);
    cudaStreamDestroy(stream);
  }

  const int device;
  const cuda::Properties& properties;
  cudaStream_t stream = nullptr;
  Staging staging;
  cuda::IndexFault* fault = nullptr;
  static constexpr size_t COUNTER_BYTES = sizeof(unsigned) * cuda::COUNTERS;
  unsigned* counters = nullptr;
  cuda::Recent recent;
};

// Of this thread: one, or with LOWRANK_SYNC=1, when all queues run on the JavaScript thread, one a device.
struct Contexts {
  void use(int index) {
    check_cuda(cudaSetDevice(index), "cudaSetDevice");
    if (current && current->device == index) return;
    current = nullptr;
    for (const auto& each : all)
      if (each->device == index) current = each.get();
    if (current) return;
    all.push_back(std::make_unique<Context>(index));
    current = all.back().get();
  }

  std::vector<std::unique_ptr<Context>> all;
  Context* current = nullptr;
};
thread_local Contexts contexts;

Context& context() {
  check(contexts.current != nullptr, Code::Device, "this thread has no CUDA stream");
  return *contexts.current;
}

// Of a __global__ function, without its parameters.
std::string kernel_name([[maybe_unused]] const void* kernel) {
  const char* mangled = nullptr;
#if CUDART_VERSION >= 12030
  if (!kernel || cudaFuncGetName(&mangled, kernel) != cudaSuccess) mangled = nullptr;
#endif
  if (!mangled) return "a kernel";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                     std::free);
  const std::string name = status == 0 ? plain.get() : mangled;
  return name.substr(0, name.find('('));
}

// Called on the JavaScript thread, whose current device is not the queue's.
void* allocate(int index, size_t bytes) {
  check_cuda(cudaSetDevice(index), "cudaSetDevice");
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // else the next launch would report it
    return nullptr;
  }
  check_cuda(error, "cudaMalloc");
  return data;
}

// cudaFree waits for launched work. Its errors are those of earlier work, which the queue reports.
void release(int index, void* data, size_t) {
  if (cudaSetDevice(index) == cudaSuccess) cudaFree(data);
  cudaGetLastError();
}

void enter(int index) { contexts.use(index); }

void begin(int index, const char* op) {
  nvtxRangePushA(op);
  contexts.use(index);
  context().recent.begin(op);
}

void end(int) { nvtxRangePop(); }

std::string trail(int) { return contexts.current ? contexts.current->recent.text(kernel_name) : ""; }

size_t available(int index) {
  size_t free = 0, total = 0;
  if (cudaSetDevice(index) != cudaSuccess || cudaMemGetInfo(&free, &total) != cudaSuccess) cudaGetLastError();
  return free;
}

void finish(int) {
  check_cuda(cudaStreamSynchronize(cuda::stream()), "cudaStreamSynchronize");
  cuda::check_indices(*context().fault);
}

void upload(void* to, const void* host, size_t bytes) {
  const cudaStream_t stream = cuda::stream();
  Staging& staging = context().staging;
  for (size_t begin = 0; begin < bytes; begin += Staging::BYTES) {
    const size_t size = bytes - begin < Staging::BYTES ? bytes - begin : Staging::BYTES;
    const size_t slot = staging.next++ % Staging::SLOTS;
    void* piece = static_cast<char*>(staging.memory) + slot * Staging::BYTES;
    check_cuda(cudaEventSynchronize(staging.copied[slot]), "cudaEventSynchronize");
    std::memcpy(piece, static_cast<const char*>(host) + begin, size);
    check_cuda(cudaMemcpyAsync(static_cast<char*>(to) + begin, piece, size, cudaMemcpyHostToDevice, stream),
               "cudaMemcpyAsync");
    check_cuda(cudaEventRecord(staging.copied[slot], stream), "cudaEventRecord");
  }
}

void download(void* host, const void* from, size_t bytes) {
  check_cuda(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, cuda::stream()), "cudaMemcpyAsync");
  check_cuda(cudaStreamSynchronize(cuda::stream()), "cudaStreamSynchronize");
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string why_none(cudaError_t error, int driver, int runtime) {
  const std::string built = "this build is for CUDA " + version_text(runtime);
  if (driver == 0) return "no NVIDIA driver is installed; " + built;
  if (error == cudaErrorInsufficientDriver)
    return "the NVIDIA driver serves CUDA " + version_text(driver) + ", and " + built + "; update the driver";
  if (error == cudaErrorNoDevice) return "the NVIDIA driver finds no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES";
  return std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error) + "; driver of CUDA " +
         version_text(driver) + ", " + built;
}

const char* cure(cudaError_t error) {
  switch (error) {
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "; this build has no code for this GPU: build from source with LOWRANK_CUDA=1 and "
             "LOWRANK_CUDA_ARCHITECTURES=90a for an H100 or H200, native for others";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure: return "; the process can't use this GPU any more: restart it";
    default: return "";
  }
}

}  // namespace

namespace cuda {

const Backend backend = {allocate, release, enter, finish,    upload,  download,
                         begin,    end,     trail, available, measure, lend};

cudaStream_t stream() { return context().stream; }
IndexFault* index_fault() { return is_measuring() ? nullptr : context().fault; }

unsigned* counters() { return is_measuring() ? nullptr : context().counters; }

void allow_shared(const void* kernel, size_t bytes) {
  thread_local std::map<std::pair<int, const void*>, size_t> granted;
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  size_t& most = granted[{device, kernel}];
  if (bytes <= most) return;
  cudaFuncAttributes own;
  check_cuda(cudaFuncGetAttributes(&own, kernel), "cudaFuncGetAttributes");
  if (own.sharedSizeBytes + bytes > (size_t(48) << 10))
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)),
               "cudaFuncSetAttribute");
  most = bytes;
}

void note_launch(const void* kernel, const Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  context().recent.note({"", kernel, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, launch.shared});
}

// Of kernels that are called directly, by programs that test and measure.
void* allocate_scratch(size_t bytes) {
  void* data = nullptr;
  check_cuda(cudaMallocAsync(&data, bytes ? bytes : 1, stream()), "cudaMallocAsync");
  return data;
}
void release_scratch(void* data) { cudaFreeAsync(data, stream()); }
bool watches_scratch() { return false; }

// Asked by the JavaScript thread and by queues.
const Properties& properties_on(int device) {
  static std::mutex mutex;
  static std::map<int, Properties> known;
  const std::lock_guard lock(mutex);
  const auto found = known.find(device);
  if (found != known.end()) return found->second;
  check_cuda(cudaSetDevice(device), "cudaSetDevice");
  return known[device] = properties_of(device);
}

const Properties& properties() {
  const Properties* measured = measured_properties();
  return measured ? *measured : context().properties;
}

void check_cuda(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();
  throw Error(Code::Cuda,
              std::string(call) + ": " + cudaGetErrorName(error) + ": " + cudaGetErrorString(error) + cure(error));
}

namespace {
std::atomic<bool> hopper_allowed{[] {
  const char* isa = std::getenv("LOWRANK_CUDA_ISA");
  return !isa || std::strcmp(isa, "portable") != 0;
}()};
}  // namespace

bool overlaps_kernels() {
  static const bool allowed = [] {
    const char* overlap = std::getenv("LOWRANK_CUDA_OVERLAP");
    return !overlap || std::strcmp(overlap, "0") != 0;
  }();
  return allowed;
}

bool hopper() { return hopper_allowed && properties().hopper_code; }
void allow_hopper(bool allowed) { hopper_allowed = allowed; }

Info info() {
  Info info;
  cudaRuntimeGetVersion(&info.runtime);
  cudaDriverGetVersion(&info.driver);
  const cudaError_t error = cudaGetDeviceCount(&info.count);
  if (error != cudaSuccess) {
    cudaGetLastError();
    info.count = 0;
  }
  if (info.count == 0) info.reason = why_none(error, info.driver, info.runtime);
  for (int i = 0; i < info.count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    const std::string capability = std::to_string(properties.major) + "." + std::to_string(properties.minor);
    info.devices.push_back({properties.name, capability, properties.totalGlobalMem});
  }
  return info;
}

// Asked once a device: later, one of the cases may have made it unusable.
int generation(int device) {
  thread_local std::map<int, int> found;
  const auto known = found.find(device);
  if (known != found.end()) return known->second;
  check_cuda(cudaSetDevice(device), "cudaSetDevice");
  return found[device] = conformance::code_generation(nullptr);
}

int count(std::string& reason) {
  const Info found = info();
  reason = found.reason;
  return found.count;
}

}  // namespace cuda
}  // namespace lowrank
