#pragma once
// y from accumulators: bias and residual in f32, one rounding, then through shared memory, so that rows leave in whole
// lines. A panel is 64 rows of 128 bytes; of two, one is filled while TMA reads the other.

#include "cuda/gemm/hopper.cuh"
#include "cuda/pair.cuh"
#include "cuda/ptx.cuh"

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

// Bias of a tile, zeros where there is none: column `thread + 128 i` of it in lane i. Loaded before the products that
// it waits for, kept in shared memory only after them.
template <typename T, int Columns>
__device__ Pack<float, Columns / 128> load_bias(const Plan::Result& result, int column) {
  Pack<float, Columns / 128> bias = {};
  for (int i = 0; i < Columns / 128; ++i) {
    const int c = column + int(threadIdx.x % 128) + 128 * i;
    if (!result.bias || c >= result.n) continue;
    bias.lane[i] =
        result.bias_f32 ? static_cast<const float*>(result.bias)[c] : float(static_cast<const T*>(result.bias)[c]);
  }
  return bias;
}

// d += residual; a thread has of each 8 columns (g, 2t), (g, 2t + 1) and the same 8 rows below.
template <typename Y, int Columns>
__device__ __forceinline__ void add_residual(const Plan::Result& result, int m, const Group& group,
                                             float (&d)[Columns / 2], int row, int column) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int line = row + group.warp * 16 + group.g + 8 * half, left = result.n - column - 2 * group.t;
    if (line >= m) continue;
    const Y* from = static_cast<const Y*>(result.residual) + int64_t(line) * result.n + column + 2 * group.t;
#pragma unroll
    for (int i = 0; i < Columns / 4; ++i) {
      const int c = i / 2 * 8 + i % 2;
      if (c < left) d[i / 2 * 4 + half * 2 + i % 2] += float(from[c]);
    }
  }
}

// Byte of the panel where 16-byte chunk `chunk` of row `line` lies: the swizzle of 128 bytes. Of chunks c and c ^ x,
// the bytes are b and b ^ 16 x.
__device__ inline uint32_t chunk_at(int line, int chunk) {
  return uint32_t(line) * LINE + uint32_t(chunk ^ line % 8) * 16;
}

template <typename Y>
constexpr int PANEL_COLUMNS = int(LINE / sizeof(Y));

// d: the accumulators of the panel's columns; bias: of the first of them.
template <typename T, typename Y>
__device__ __forceinline__ void stage_panel(const Group& group, const float* d, const float* bias,
                                            unsigned char* panel) {
  constexpr bool WIDE = std::is_same_v<Y, float>;
  const int first = group.warp * 16;
  // Of piece 0: f32 as pairs in two rows, halves as the 16-byte rows of stmatrix.
  const uint32_t origin = WIDE ? chunk_at(first + group.g, group.t / 2) + uint32_t(group.t % 2 * 8)
                               : chunk_at(first + group.lane % 16, group.lane / 16);
#pragma unroll
  for (int piece = 0; piece < PANEL_COLUMNS<Y> / 8; piece += 2) {
    float x[8];
#pragma unroll
    for (int i = 0; i < 8; i += 4) {
      const Pack<float, 2> b = load<2>(bias + 8 * piece + 2 * i + 2 * group.t);
#pragma unroll
      for (int j = 0; j < 4; ++j) x[i + j] = d[4 * piece + i + j] + b.lane[j % 2];
    }
    if constexpr (WIDE) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t at = (origin ^ uint32_t(2 * (piece + i / 2) * 16)) + i % 2 * 8 * LINE;
        store(reinterpret_cast<float*>(panel + at), Pack<float, 2>{{x[2 * i], x[2 * i + 1]}});
      }
    } else {
      const uint32_t r[4] = {pack_pair<T>(x[0], x[1]), pack_pair<T>(x[2], x[3]), pack_pair<T>(x[4], x[5]),
                             pack_pair<T>(x[6], x[7])};
      ptx::stmatrix(ptx::shared_address(panel) + (origin ^ uint32_t(piece * 16)), r);
    }
  }
}

// Where y's lines don't begin at multiples of 16 bytes.
template <typename Y>
__device__ void copy_panel(const Plan::Result& result, int m, const Group& group, const unsigned char* panel, int row,
                           int column) {
  constexpr int PER_LANE = PANEL_COLUMNS<Y> / 32, IN_CHUNK = int(16 / sizeof(Y));
  for (int line = group.warp; line < 64; line += 4) {
    if (row + line >= m) return;
    Y* to = static_cast<Y*>(result.out) + int64_t(row + line) * result.n + column;
    for (int i = 0; i < PER_LANE; ++i) {
      const int c = group.lane + 32 * i;
      if (column + c < result.n) to[c] = reinterpret_cast<const Y*>(panel + chunk_at(line, c / IN_CHUNK))[c % IN_CHUNK];
    }
  }
}

// 64 rows of y in `from`, through the curve, to `to`; slopes in place. Chunks stay where they are.
template <typename T, bool Slope>
__device__ __forceinline__ void bend_panel(const Plan& plan, const Plan::Result& result, const unsigned char* from,
                                           unsigned char* to, int row, int column) {
  constexpr int N = PACK<T>, CHUNKS = int(LINE / 16);
#pragma unroll 1
  for (int i = int(threadIdx.x % 128); i < 64 * CHUNKS; i += 128) {
    const int line = row + i / CHUNKS, c = column + i % CHUNKS * N;
    if (line >= plan.m || c >= result.n) continue;
    const uint32_t at = chunk_at(i / CHUNKS, i % CHUNKS);
    const Pack<T, N> y = load<N>(reinterpret_cast<const T*>(from + at));
    Pack<T, N> x = y;
    if constexpr (Slope) x = load<N>(static_cast<const T*>(plan.curve.at) + int64_t(line) * result.n + c);
    store(reinterpret_cast<T*>(to + at), bent<Slope>(plan.curve.kind, y, x));
  }
}

// What a consumer has in shared memory to write its rows of y.
struct Output {
  unsigned char* panels;  // two
  float* bias;            // of the tile's columns
  int next = 0;           // the panel to be filled
  int split = 0;          // whose sums these are
  int result = 0;         // whose y
};

// Which curve a kernel has the code of.
enum class Bend { None, Value, Slope };

// A consumer's 64 rows of a tile of `Columns`, from (row, column) on.
template <typename T, typename Y, int Columns, Bend How = Bend::None>
__device__ __forceinline__ void write_rows(const Plan& plan, Output& out, int index, float (&d)[Columns / 2],
                                           const Pack<float, Columns / 128>& bias, int row, int column) {
  const Group group(index);
  constexpr int WIDTH = PANEL_COLUMNS<Y>;
  const Plan::Result& result = plan.result[out.result];
  if (row >= plan.m) return;
  if (result.residual) add_residual<Y, Columns>(result, plan.m, group, d, row, column);
  group.meet();  // the last tile's bias has been read
  for (int i = 0; i < Columns / 128; ++i) out.bias[threadIdx.x % 128 + 128 * unsigned(i)] = bias.lane[i];
#pragma unroll
  for (int from = 0; from < Columns; from += WIDTH) {
    if (column + from >= result.n) break;
    unsigned char* panel = out.panels + out.next * PANEL;
    out.next ^= 1;
    // Whoever filled this panel last has seen it read.
    if (group.leads()) ptx::tma_wait_read<1>();
    group.meet();
    stage_panel<T, Y>(group, d + from / 2, out.bias + from, panel);
    if constexpr (How == Bend::Slope) {
      if (plan.curve.at) {
        group.meet();
        bend_panel<T, true>(plan, result, panel, panel, row, column + from);
      }
    }
    if (result.stores_boxes) ptx::fence_proxy_async();
    group.meet();
    if (!result.stores_boxes) copy_panel<Y>(result, plan.m, group, panel, row, column + from);
    else if (group.leads())
      ptx::tma_store<3>(&plan.y[out.result], ptx::shared_address(panel), column + from, row, out.split);
    // A group for every panel, empty after a copy: the wait above lets one group be, which is to be the panel's before.
    if (group.leads()) ptx::tma_commit();
    if constexpr (How == Bend::Value) {
      if (!plan.curve.to) continue;
      unsigned char* other = out.panels + out.next * PANEL;
      out.next ^= 1;
      if (group.leads()) ptx::tma_wait_read<1>();
      group.meet();
      bend_panel<T, false>(plan, result, panel, other, row, column + from);
      ptx::fence_proxy_async();
      group.meet();
      if (!group.leads()) continue;
      ptx::tma_store<3>(&plan.bent, ptx::shared_address(other), column + from, row, 0);
      ptx::tma_commit();
    }
  }
}

}  // namespace lowrank::cuda::gemm::sm90
