#pragma once
// CUDA kernels on the CPU: every CUDA thread is a fiber of the thread that launches. What kernels call (through
// cuda/ptx.cuh and the CUDA headers in include/), and what tests set and read. See docs/emulator.md.
#include <cstddef>
#include <cstdint>

#include "test/emulator/vector_types.h"

#define LOWRANK_EMULATOR 1

namespace lowrank::emulator {

// A line of a kernel, for reports. A default argument: Site site = Site::here().
struct Site {
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
  const char* file = nullptr;
  int line = 0;
};

// The order in which threads run, up to their next synchronisation. Skewed: random warp priorities with random changes
// and random lanes, which keeps some warps far ahead of others.
enum class Schedule { Forward, Backward, Skewed, Random };
// When cp.async, TMA and wgmma touch memory: as late as the program allows, at once, or at random.
enum class Async { Late, Early, Random };

struct Options {
  uint64_t seed = 1;
  Schedule schedule = Schedule::Skewed;
  Async async = Async::Late;
  bool proxy = true;     // the async proxy sees generic writes only after fence.proxy.async
  int generation = 909;  // what the kernels were compiled for: 909, 90 or 80; instructions of later ones are traps
  int resident = 1;      // blocks (or clusters) at a time; grid-wide barriers and flags need more than 1
};
// Of the process; first read from LOWRANK_EMU_SEED, _SCHEDULE (forward, backward, skewed, random), _ASYNC (late, early,
// random), _PROXY (0, 1), _GENERATION (80, 90, 90a) and _RESIDENT.
Options& options();

struct Counters {
  uint64_t switches, barriers, mma, wgmma, copies, tma;
  uint64_t ldmatrix, conflicts;  // conflicts: extra cycles of ldmatrix by bank conflicts
};
extern Counters counters;

struct Grid {
  dim3 grid, block, cluster;
  size_t shared = 0;      // dynamic shared memory, bytes
  bool overlaps = false;  // begins before the kernels ahead are complete
};
// Calls body(argument) once per thread of the grid. Throws ERR_CUDA for every fault that a report can name.
void run(const Grid& grid, void (*body)(void*), void* argument);

double seconds();  // of a clock that never goes back

// Device memory: NaN everywhere, between guard bands that every launch checks and guard pages. null: no memory.
void* allocate(size_t bytes);
void release(void* data);
// Whether all of it may be touched, but for the guard pages.
void open_memory(bool open);
// Throws ERR_CUDA where a guard band was written.
void check_guards();

struct ThreadId {
  uint3 thread, block;
  int lane = 0, warp = 0;
};
extern ThreadId* current;
extern Grid launched;

// Fails where the kernels were compiled for an earlier generation.
void need_generation(int generation);

[[noreturn]] void fail(Site site, const char* format, ...) __attribute__((format(printf, 2, 3)));

// ---- shared memory. An address is what instructions take; bits 24 and up: 1 + rank of another block of the cluster.
uint32_t shared_address(const void* generic);
void* dynamic_shared();
void* static_shared(const void* tag, size_t bytes, size_t alignment);
template <typename Tag>
inline char tag_of;
template <typename T, typename Tag>
T& static_variable() {
  return *static_cast<T*>(static_shared(&tag_of<Tag>, sizeof(T), alignof(T)));
}

// ---- synchronisation
void barrier_sync(int id, int threads, Site site);  // threads 0: __syncthreads
void wait_for_kernels(Site site);
void cluster_arrive(Site site);
void cluster_wait(Site site);
uint32_t cluster_rank();
uint32_t map_shared(uint32_t address, uint32_t rank, Site site);
void mbarrier_init(uint32_t address, uint32_t count, Site site);
void mbarrier_arrive(uint32_t address, uint32_t count, uint32_t expect_bytes, Site site);
bool mbarrier_try_wait(uint32_t address, uint32_t parity, Site site);
void mbarrier_wait(uint32_t address, uint32_t parity, Site site);
void fence_proxy_async();
void fence_mbarrier_init();
void yield(Site site);  // inside hand-written polling
// For TSan: __threadfence, and an atomic, which publishes what came before a fence, and sees what others published.
void fence_device();
void atomic_access(const void* at);

// ---- warps
void sync_warp(uint32_t mask, Site site);
enum class Shuffle { Index, Up, Xor };
uint64_t shuffle(uint32_t mask, uint64_t value, Shuffle mode, int argument, int width, Site site);
uint32_t ballot(uint32_t mask, bool predicate, Site site);
void check_converged(const char* what, Site site);
void ldmatrix(uint32_t* r, int count, uint32_t address, bool transpose, Site site);
void stmatrix(const uint32_t* r, int count, uint32_t address, bool transpose, Site site);
enum class Element { BF16, F16, TF32 };
template <typename T>
constexpr Element element_of = T::format;
void mma(float* d, const uint32_t* a, const uint32_t* b, Element element, Site site);  // m16n8k16, TF32: m16n8k8

// ---- asynchronous copies
void cp_async(uint32_t to, const void* from, int bytes, int valid, Site site);
void cp_async_commit();
void cp_async_wait(int pending);
void cp_async_arrive(uint32_t barrier, Site site);  // at an mbarrier, when this thread's copies so far are complete

struct TensorMap {
  char* base = nullptr;
  int rank = 0, element = 0;  // element: bytes
  uint64_t dims[3] = {1, 1, 1};
  uint64_t strides[3] = {0, 0, 0};  // bytes; of dims[0]: the element
  uint32_t box[3] = {1, 1, 1};
  uint32_t swizzle = 0;  // bytes: 0, 32, 64, 128
};
// Throws what cuTensorMapEncodeTiled refuses.
void check_tensor_map(const TensorMap& map);
struct Coordinates {
  int rank, at[3];
};
// blocks: bit mask of the cluster's ranks that receive the box; 0: this block.
void tma_load(uint32_t to, const TensorMap* map, Coordinates at, uint32_t barrier, uint16_t blocks, Site site);
void tma_store(const TensorMap* map, Coordinates at, uint32_t from, Site site);
void tma_commit();
void tma_wait(int pending);

// ---- wgmma, m64nNk16
void wgmma_fence(Site site);
void wgmma_commit(Site site);
void wgmma_wait(int pending, Site site);
struct Wgmma {
  Element element;
  int n;
  float* d;
  const uint32_t* a;        // registers, or null: from shared memory
  uint64_t a_desc, b_desc;  // matrix descriptors
  bool a_transposed, b_transposed, accumulate;
};
void wgmma(const Wgmma& operation, Site site);

}  // namespace lowrank::emulator
