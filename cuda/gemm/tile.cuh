#pragma once
// Tiles of operands in shared memory: from global memory by cp.async, into registers by ldmatrix.
//
// A tile holds MN rows of an operand (of a: m; of b: n) times 64 bytes of k, laid out as it is in global memory: lines
// of 16-byte chunks, along k or along mn. Chunk c of line l lies at c ^ twist(l), so that lines that a warp reads at
// once never share a bank, and neither do the chunks that cp.async writes. T: bf16, f16, or f32 for TF32, whose
// fragments have the same bytes along k; across k, where ldmatrix can't turn 4-byte elements, they are read one by one.

#include "cuda/gemm/product.h"
#include "cuda/launch.cuh"
#include "cuda/ptx.cuh"

namespace lowrank::cuda::gemm {

template <typename T>
constexpr int KB = int(64 / sizeof(T));  // k of a tile
template <typename T>
constexpr int CHUNK = int(16 / sizeof(T));  // elements
template <typename T>
constexpr int KSTEP = int(32 / sizeof(T));  // k of one mma

// How a block divides its work: BM x BN of y, WM x WN of it a warp, a ring of STAGES tiles of both operands.
template <int BM_, int BN_, int WM_, int WN_, int STAGES_, int RESIDENT_>
struct Tiling {
  static constexpr int BM = BM_, BN = BN_, WM = WM_, WN = WN_, STAGES = STAGES_;
  static constexpr int RESIDENT = RESIDENT_;  // blocks a multiprocessor should hold
  static constexpr int THREADS = (BM / WM) * (BN / WN) * 32;
  static constexpr int A_BYTES = BM * 64, B_BYTES = BN * 64, STAGE = A_BYTES + B_BYTES;
  static constexpr size_t SHARED_BYTES = size_t(STAGES) * STAGE;
};

// Byte offset of a chunk in a tile of lines of CHUNKS chunks.
template <typename T, int CHUNKS>
__device__ int chunk_at(int line, int chunk) {
  static_assert(CHUNKS == 4 || CHUNKS % 8 == 0);
  const int twist = CHUNKS == 4 ? line / 2 % 4 : sizeof(T) == 4 ? 2 * line % 8 : line % 8;
  return (line * CHUNKS + (chunk ^ twist)) * 16;
}

// `valid` elements, zeros after them. Fast: `from` is a multiple of 16 where any is valid.
template <bool Fast, typename T>
__device__ void copy_chunk(unsigned char* to, const T* from, int valid) {
  if constexpr (Fast) {
    ptx::cp_async<16>(ptx::shared_address(to), from, valid * int(sizeof(T)));
  } else {
    Pack<T, CHUNK<T>> pack;
#pragma unroll
    for (int i = 0; i < CHUNK<T>; ++i) pack.lane[i] = i < valid ? from[i] : T(0.0f);
    *reinterpret_cast<Pack<T, CHUNK<T>>*>(to) = pack;
  }
}

// Carries tile after tile of one operand along k. Each thread has one chunk of every STEP-th line.
template <typename T, typename S, int MN, bool AlongK, bool Fast>
struct TileLoader {
  static constexpr int WIDTH = CHUNK<T>;
  static constexpr int CHUNKS = AlongK ? 4 : MN / WIDTH;
  static constexpr int LINES = AlongK ? MN : KB<T>;
  static constexpr int STEP = S::THREADS / CHUNKS;
  static_assert(LINES % STEP == 0 && STEP % (sizeof(T) == 4 && !AlongK ? 4 : 8) == 0);  // all of one twist

  // Rows from `origin` of `limit`, from `k` on.
  __device__ void begin(const Operand& operand, int64_t origin, int64_t limit, int64_t k) {
    const int64_t first = int(threadIdx.x) / CHUNKS, chunk = int(threadIdx.x) % CHUNKS * WIDTH;
    from = static_cast<const T*>(operand.data) + chunk;
    from += AlongK ? (origin + first) * operand.leading + k : (first + k) * operand.leading + origin;
    step = STEP * operand.leading;
    rows = int(limit - origin < MN ? limit - origin : MN);
  }

  // The next tile, of which k_left of k exist.
  __device__ void load(unsigned char* tile, int k_left) {
    const int line = int(threadIdx.x) / CHUNKS, chunk = int(threadIdx.x) % CHUNKS;
    const int depth = k_left < KB<T> ? k_left : KB<T>;
    const int lines = AlongK ? rows : depth, width = (AlongK ? depth : rows) - chunk * WIDTH;
    const int whole = width < 0 ? 0 : width < WIDTH ? width : WIDTH;
    unsigned char* to = tile + chunk_at<T, CHUNKS>(line, chunk);
    const T* at = from;
#pragma unroll
    for (int i = 0; i < LINES / STEP; ++i, at += step)
      copy_chunk<Fast>(to + i * STEP * CHUNKS * 16, at, line + i * STEP < lines ? whole : 0);
    from = AlongK ? from + KB<T> : at;
  }

  const T* from;
  int64_t step;  // elements from one of this thread's lines to the next
  int rows;
};

// Fragments of 16 rows and 32 bytes of k: for a in the order of its four registers; for b those of two neighbouring
// columns of 8, r[0], r[1] of the first.
template <typename T, int MN, bool AlongK, bool IsB>
struct FragmentReader {
  // first: of the warp's rows of the tile, a multiple of 32.
  __device__ explicit FragmentReader(int first) {
    const int lane = int(threadIdx.x) % 32, line = lane % 8;
    const int up = IsB ? lane / 16 : lane / 8 % 2;     // whether this lane addresses the second 8 rows
    const int later = IsB ? lane / 8 % 2 : lane / 16;  // the second half of k
    if constexpr (AlongK) lane_at = chunk_at<T, 4>(first + line + 8 * up, later);
    else if constexpr (sizeof(T) == 2) lane_at = chunk_at<T, MN / CHUNK<T>>(line + 8 * later, first / CHUNK<T> + up);
    else lane_at = chunk_at<T, MN / CHUNK<T>>(lane % 4, (first + lane / 4) / CHUNK<T>) + lane / 4 % 4 * 4;
  }

  // Rows from 16 i of the warp's, k from step on. Both move the chunk by bits that the lane's own offset leaves to xor.
  __device__ void operator()(uint32_t (&r)[4], const unsigned char* tile, int i, int step) const {
    if constexpr (AlongK || sizeof(T) == 2) {
      const int at = AlongK ? (lane_at ^ step * 32) + i * 16 * 64 : (lane_at ^ i * 32) + step * 32 * MN;
      ptx::ldmatrix<!AlongK>(r, ptx::shared_address(tile + at));
    } else {
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int up = IsB ? part / 2 : part % 2, later = IsB ? part % 2 : part / 2;
        const int at = (lane_at ^ i * 64 ^ up * 32) + (step * 2 + later) * 16 * MN;
        r[part] = *reinterpret_cast<const uint32_t*>(tile + at);
      }
    }
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int part = 0; part < 4; ++part) r[part] = ptx::to_tf32(__uint_as_float(r[part]));
    }
  }

  int lane_at;
};

template <typename T>
__device__ void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (sizeof(T) == 4) ptx::mma_tf32(d, a, b);
  else ptx::mma<T>(d, a, b);
}

}  // namespace lowrank::cuda::gemm
