#pragma once
// Tiles of bf16 or f16 operands in shared memory: from global memory by cp.async, into registers by ldmatrix.
//
// A tile holds MN rows of an operand (of a: m; of b: n) times KB of k, laid out as it is in global memory: lines of
// 16-byte chunks, along k or along mn. Chunk c of line l lies at c ^ twist(l), so that the eight lines that ldmatrix
// reads at once never share a bank, and neither do the chunks that cp.async writes.

#include "cuda/gemm/product.h"
#include "cuda/launch.cuh"
#include "cuda/ptx.cuh"

namespace lowrank::cuda::gemm {

constexpr int KB = 32;     // k of a tile
constexpr int CHUNK = 8;   // elements of 16 bytes
constexpr int KSTEP = 16;  // k of one mma

// How a block divides its work: BM x BN of y, WM x WN of it a warp, a ring of STAGES tiles of both operands.
template <int BM_, int BN_, int WM_, int WN_, int STAGES_, int RESIDENT_>
struct Tiling {
  static constexpr int BM = BM_, BN = BN_, WM = WM_, WN = WN_, STAGES = STAGES_;
  static constexpr int RESIDENT = RESIDENT_;  // blocks a multiprocessor should hold
  static constexpr int THREADS = (BM / WM) * (BN / WN) * 32;
  static constexpr int A_BYTES = BM * KB * 2, B_BYTES = BN * KB * 2, STAGE = A_BYTES + B_BYTES;
  static constexpr size_t SHARED_BYTES = size_t(STAGES) * STAGE;
};

// Byte offset of a chunk in a tile of lines of CHUNKS chunks.
template <int CHUNKS>
__device__ int chunk_at(int line, int chunk) {
  static_assert(CHUNKS == 4 || CHUNKS % 8 == 0);
  const int twist = CHUNKS == 4 ? line / 2 % 4 : line % 8;
  return (line * CHUNKS + (chunk ^ twist)) * 16;
}

// `valid` elements, zeros after them. Fast: `from` is a multiple of 16 where any is valid.
template <bool Fast, typename T>
__device__ void copy_chunk(unsigned char* to, const T* from, int valid) {
  if constexpr (Fast) {
    ptx::cp_async<16>(ptx::shared_address(to), from, valid * 2);
  } else {
    Pack<T, CHUNK> pack;
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) pack.lane[i] = i < valid ? from[i] : T(0.0f);
    *reinterpret_cast<Pack<T, CHUNK>*>(to) = pack;
  }
}

// Carries tile after tile of one operand along k. Each thread has one chunk of every STEP-th line.
template <typename T, typename S, int MN, bool AlongK, bool Fast>
struct TileLoader {
  static constexpr int CHUNKS = AlongK ? KB / CHUNK : MN / CHUNK;
  static constexpr int LINES = AlongK ? MN : KB;
  static constexpr int STEP = S::THREADS / CHUNKS;
  static_assert(LINES % STEP == 0 && STEP % 8 == 0);

  // Rows from `origin` of `limit`, from `k` on.
  __device__ void begin(const Operand& operand, int64_t origin, int64_t limit, int64_t k) {
    const int64_t first = int(threadIdx.x) / CHUNKS, chunk = int(threadIdx.x) % CHUNKS * CHUNK;
    from = static_cast<const T*>(operand.data) + chunk;
    from += AlongK ? (origin + first) * operand.leading + k : (first + k) * operand.leading + origin;
    step = STEP * operand.leading;
    rows = int(limit - origin < MN ? limit - origin : MN);
  }

  // The next tile, of which k_left of k exist.
  __device__ void load(unsigned char* tile, int k_left) {
    const int line = int(threadIdx.x) / CHUNKS, chunk = int(threadIdx.x) % CHUNKS;
    const int depth = k_left < KB ? k_left : KB;
    const int lines = AlongK ? rows : depth, width = (AlongK ? depth : rows) - chunk * CHUNK;
    const int whole = width < 0 ? 0 : width < CHUNK ? width : CHUNK;
    unsigned char* to = tile + chunk_at<CHUNKS>(line, chunk);
    const T* at = from;
#pragma unroll
    for (int i = 0; i < LINES / STEP; ++i, at += step)
      copy_chunk<Fast>(to + i * STEP * CHUNKS * 16, at, line + i * STEP < lines ? whole : 0);
    from = AlongK ? from + KB : at;
  }

  const T* from;
  int64_t step;  // elements from one of this thread's lines to the next
  int rows;
};

// Fragments of 16 rows and 16 of k: for a in the order of its four registers; for b those of two neighbouring columns
// of 8, r[0], r[1] of the first.
template <int MN, bool AlongK, bool IsB>
struct FragmentReader {
  // first: of the warp's rows of the tile, a multiple of 32.
  __device__ explicit FragmentReader(int first) {
    const int lane = int(threadIdx.x) % 32, line = lane % 8;
    const int up = IsB ? lane / 16 : lane / 8 % 2;     // whether this lane addresses the second 8 rows
    const int later = IsB ? lane / 8 % 2 : lane / 16;  // the second 8 of k
    if constexpr (AlongK) lane_at = chunk_at<KB / CHUNK>(first + line + 8 * up, later);
    else lane_at = chunk_at<MN / CHUNK>(line + 8 * later, first / CHUNK + up);
  }

  // Rows from 16 i of the warp's, k from 16 step. Both move the chunk by bits that the lane's own offset leaves to xor.
  __device__ void operator()(uint32_t (&r)[4], uint32_t tile, int i, int step) const {
    const int at = AlongK ? (lane_at ^ step * 32) + i * 16 * KB * 2 : (lane_at ^ i * 32) + step * KSTEP * MN * 2;
    ptx::ldmatrix<!AlongK>(r, tile + uint32_t(at));
  }

  int lane_at;
};

}  // namespace lowrank::cuda::gemm
