#pragma once
// y from accumulators: bias and residual in f32, one rounding, then through shared memory, so that rows leave in whole
// lines. A panel is 64 rows of 128 bytes; of two, one is filled while TMA reads the other.

#include "cuda/gemm/hopper.cuh"
#include "cuda/warp.cuh"

namespace lowrank::cuda::gemm::sm90 {

// A thread's place in its consumer, which has 64 rows of a tile. Made anew where it is used: the shuffle keeps the
// compiler from holding dozens of addresses in registers beside the accumulators.
struct Group {
  __device__ explicit Group(int index) : index(index) {
    warp = int(threadIdx.x % 128 / 32), lane = ptx::shuffle(int(threadIdx.x % 32), int(threadIdx.x % 32));
    g = lane / 4, t = lane % 4;
  }
  __device__ bool leads() const { return threadIdx.x % 128 == 0; }
  __device__ void meet() const {
    if (index == 0) ptx::barrier_sync<1, 128>();
    else ptx::barrier_sync<2, 128>();
  }

  int index, warp, lane, g, t;
};

template <typename T>
__device__ uint32_t packed(float low, float high) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return reinterpret_cast<const uint32_t&>(pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return reinterpret_cast<const uint32_t&>(pair);
  }
}

// bias[column] and bias[column + 1], zeros past n.
template <typename T>
__device__ Pack<float, 2> bias_of(const Plan& plan, int column) {
  Pack<float, 2> pair = {};
  if (!plan.bias) return pair;
  for (int i = 0; i < 2; ++i) {
    if (column + i >= plan.n) continue;
    pair.lane[i] = plan.bias_f32 ? static_cast<const float*>(plan.bias)[column + i]
                                 : float(static_cast<const T*>(plan.bias)[column + i]);
  }
  return pair;
}

template <typename Y>
__device__ Pack<float, 2> residual_of(const Plan& plan, int row, int column) {
  Pack<float, 2> pair = {};
  if (!plan.residual || row >= plan.m) return pair;
  const Y* from = static_cast<const Y*>(plan.residual) + int64_t(row) * plan.n + column;
  for (int i = 0; i < 2; ++i)
    if (column + i < plan.n) pair.lane[i] = float(from[i]);
  return pair;
}

// The 8 columns from `column` on, of the 16 rows of a warp from `row` on: (g, 2t), (g, 2t + 1), the same at g + 8.
template <typename T, typename Y>
__device__ __forceinline__ void complete(const Plan& plan, const Group& group, const float* d, int row, int column,
                                         float* x) {
  const Pack<float, 2> bias = bias_of<T>(plan, column + 2 * group.t);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const Pack<float, 2> residual = residual_of<Y>(plan, row + group.g + 8 * half, column + 2 * group.t);
    x[2 * half] = d[2 * half] + bias.lane[0] + residual.lane[0];
    x[2 * half + 1] = d[2 * half + 1] + bias.lane[1] + residual.lane[1];
  }
}

// Byte of the panel where 16-byte chunk `chunk` of row `line` lies: the swizzle of 128 bytes. Of chunks c and c ^ x,
// the bytes are b and b ^ 16 x.
__device__ inline uint32_t chunk_at(int line, int chunk) {
  return uint32_t(line) * LINE + uint32_t(chunk ^ line % 8) * 16;
}

template <typename Y>
constexpr int PANEL_COLUMNS = int(LINE / sizeof(Y));

// d: the accumulators of the panel's columns; row and column: of its first element.
template <typename T, typename Y>
__device__ __forceinline__ void stage_panel(const Plan& plan, const Group& group, const float* d, unsigned char* panel,
                                            int row, int column) {
  const int first = group.warp * 16;
  constexpr bool WIDE = std::is_same_v<Y, float>;
  // Of piece 0: f32 as pairs in two rows, halves as the 16-byte rows of stmatrix.
  const uint32_t origin = WIDE ? chunk_at(first + group.g, group.t / 2) + uint32_t(group.t % 2 * 8)
                               : chunk_at(first + group.lane % 16, group.lane / 16);
#pragma unroll
  for (int piece = 0; piece < PANEL_COLUMNS<Y> / 8; piece += 2) {
    float x[8];
    complete<T, Y>(plan, group, d + 4 * piece, row + first, column + 8 * piece, x);
    complete<T, Y>(plan, group, d + 4 * piece + 4, row + first, column + 8 * piece + 8, x + 4);
    if constexpr (WIDE) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t at = (origin ^ uint32_t(2 * (piece + i / 2) * 16)) + i % 2 * 8 * LINE;
        store(reinterpret_cast<float*>(panel + at), Pack<float, 2>{{x[2 * i], x[2 * i + 1]}});
      }
    } else {
      const uint32_t r[4] = {packed<T>(x[0], x[1]), packed<T>(x[2], x[3]), packed<T>(x[4], x[5]),
                             packed<T>(x[6], x[7])};
      ptx::stmatrix(ptx::shared_address(panel) + (origin ^ uint32_t(piece * 16)), r);
    }
  }
}

// Where y's lines don't begin at multiples of 16 bytes.
template <typename Y>
__device__ void copy_panel(const Plan& plan, const Group& group, const unsigned char* panel, int row, int column) {
  constexpr int PER_LANE = PANEL_COLUMNS<Y> / 32, IN_CHUNK = int(16 / sizeof(Y));
  for (int line = group.warp; line < 64; line += 4) {
    if (row + line >= plan.m) return;
    Y* to = static_cast<Y*>(plan.out) + int64_t(row + line) * plan.n + column;
    for (int i = 0; i < PER_LANE; ++i) {
      const int c = group.lane + 32 * i;
      if (column + c < plan.n) to[c] = reinterpret_cast<const Y*>(panel + chunk_at(line, c / IN_CHUNK))[c % IN_CHUNK];
    }
  }
}

// A consumer's 64 rows of a tile of `Columns`, from (row, column) on. `panels`: its two; `next`: the one to be filled.
template <typename T, typename Y, int Columns>
__device__ __forceinline__ void write_rows(const Plan& plan, int index, const float (&d)[Columns / 2],
                                           unsigned char* panels, int& next, int row, int column) {
  const Group group(index);
  constexpr int WIDTH = PANEL_COLUMNS<Y>;
  if (row >= plan.m) return;
#pragma unroll
  for (int from = 0; from < Columns; from += WIDTH) {
    if (column + from >= plan.n) break;
    unsigned char* panel = panels + next * PANEL;
    next ^= 1;
    // Whoever filled this panel last has seen it read.
    if (group.leads()) ptx::tma_wait_read<1>();
    group.meet();
    stage_panel<T, Y>(plan, group, d + from / 2, panel, row, column + from);
    if (plan.stores_boxes) ptx::fence_proxy_async();
    group.meet();
    if (!plan.stores_boxes) {
      copy_panel<Y>(plan, group, panel, row, column + from);
    } else if (group.leads()) {
      ptx::tma_store<2>(&plan.y, ptx::shared_address(panel), column + from, row);
      ptx::tma_commit();
    }
  }
}

}  // namespace lowrank::cuda::gemm::sm90
