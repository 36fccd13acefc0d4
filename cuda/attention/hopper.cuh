#pragma once
// What the Hopper kernels of attention share: tiles of bf16 or f16 that TMA brings, and products of them by wgmma. A
// tile has R rows of D elements, in panels of 64 columns whose lines of 128 bytes are swizzled. A block is a producer
// warpgroup, of which one thread works, and CONSUMERS warpgroups with 64 rows of each product.

#include "cuda/attention/mma.cuh"
#include "cuda/tensor_map.cuh"

namespace lowrank::cuda::tensor_core::sm90 {

constexpr int CONSUMERS = 2, BLOCK = 128 * (1 + CONSUMERS), ROWS = 64 * CONSUMERS;
constexpr int PRODUCER_REGISTERS = 24, CONSUMER_REGISTERS = 240;
constexpr uint32_t LINE = 128;                   // bytes of a panel's row
constexpr uint32_t STEP = 32, GROUP = 8 * LINE;  // 16 columns; 8 rows

template <int R>
constexpr uint32_t PANEL = R * LINE;
template <int D, int R>
constexpr uint32_t TILE = D / 64 * PANEL<R>;

template <int R, typename T>
TensorMap map_of(const View& x) {
  const uint64_t width = uint64_t(x.cols());
  return tensor_map(x.as<T>(), {{width, uint64_t(x.dims[0])}, {width * sizeof(T)}, {64, R}, 128});
}

// The barrier's phase owes TILE<D, R> bytes.
template <int D, int R>
__device__ void load_tile(uint32_t to, const TensorMap* map, uint32_t barrier, int column, int64_t row) {
  for (int panel = 0; panel < D / 64; ++panel)
    ptx::tma_load<2>(to + uint32_t(panel) * PANEL<R>, map, barrier, column + 64 * panel, int(row));
}

// Rows [valid, R) of tiles become zeros: they are the sequence's neighbour's, whose infinities would be NaN times any
// weight. By all consumers, ahead of the products of a sequence's last tile.
template <int D, int R, typename... Tiles>
__device__ void clear_rows(int valid, Tiles*... tiles) {
  const auto clear = [valid](unsigned char* tile) {
    for (int panel = 0; panel < D / 64; ++panel)
      for (uint32_t at = uint32_t(valid) * LINE + (threadIdx.x - 128) * 16; at < PANEL<R>; at += 128 * CONSUMERS * 16)
        store(reinterpret_cast<float*>(tile + uint32_t(panel) * PANEL<R> + at), Pack<float, 4>{});
  };
  (clear(tiles), ...);
  ptx::fence_proxy_async();
  ptx::barrier_sync<3, 128 * CONSUMERS>();
}

// What passes through shared memory in stages: a step's number says which stage, and which phase of its barriers.
template <int Stages>
struct Steps {
  static __device__ uint32_t stage(int step) { return uint32_t(step) % Stages; }
  static __device__ uint32_t parity(int step) { return uint32_t(step) / Stages % 2; }
};

// Of the tiles that stay, then of each stage: of its first tile, of its second, and whether it is empty.
template <int Stages>
struct Barriers {
  static constexpr int COUNT = 1 + 3 * Stages;

  __device__ uint32_t fixed() const { return at; }
  __device__ uint32_t first(int step) const { return at + 8 * (1 + Steps<Stages>::stage(step)); }
  __device__ uint32_t second(int step) const { return first(step) + 8 * Stages; }
  __device__ uint32_t empty(int step) const { return first(step) + 16 * Stages; }
  static __device__ uint32_t parity(int step) { return Steps<Stages>::parity(step); }
  // By the whole block.
  __device__ void start() const {
    if (threadIdx.x == 0) {
      for (int i = 0; i < 1 + 2 * Stages; ++i) ptx::mbarrier_init(at + 8 * uint32_t(i), 1);
      for (int i = 0; i < Stages; ++i) ptx::mbarrier_init(empty(i), 4 * CONSUMERS);  // warps
      ptx::fence_mbarrier_init();
    }
    __syncthreads();
  }
  uint32_t at;
};

// The course of a block: barriers are made ready; then one thread of the first warpgroup brings tiles,
// produce(barriers), and the other warpgroups, with most of the registers, compute, consume(barriers).
template <int Stages, typename Produce, typename Consume>
__device__ __forceinline__ void run_block(Produce&& produce, Consume&& consume) {
  SHARED(store, Array<uint64_t, Barriers<Stages>::COUNT>);
  const Barriers<Stages> barriers{ptx::shared_address(store)};
  barriers.start();
  if (threadIdx.x < 128) {
    ptx::registers_down<PRODUCER_REGISTERS>();
    if (threadIdx.x == 0) produce(barriers);
    __syncwarp();
  } else {
    ptx::registers_up<CONSUMER_REGISTERS>();
    consume(barriers);
  }
}

// This thread's warpgroup among the consumers, the same in the whole warp.
__device__ inline int consumer_index() { return ptx::shuffle(int(threadIdx.x) / 128, 0) - 1; }

// The sums of one product as wgmma takes them.
template <int N>
__device__ float (&flat(float (&s)[1][N][4]))[4 * N] {
  return reinterpret_cast<float(&)[4 * N]>(s);
}

// s = 64 rows of a tile of RA rows, from address a on, times the tile b of 8 N rows, transposed. The caller fences,
// commits and waits.
template <typename T, int D, int RA, int N>
__device__ __forceinline__ void multiply_rows(float (&s)[1][N][4], uint32_t a, uint32_t b) {
#pragma unroll
  for (int d = 0; d < D / 16; ++d) {
    const uint32_t panel = uint32_t(d / 4), column = uint32_t(d % 4) * STEP;
    ptx::wgmma<T, 8 * N>(flat(s), ptx::wgmma_descriptor<128>(a + panel * PANEL<RA> + column, 16, GROUP),
                         ptx::wgmma_descriptor<128>(b + panel * PANEL<8 * N> + column, 16, GROUP), d > 0);
  }
}

// sum += p times the tile of 16 K rows; likewise.
template <typename T, int D, int K>
__device__ __forceinline__ void add_rows(float (&sum)[1][D / 8][4], const uint32_t (&p)[1][K][4], uint32_t tile) {
#pragma unroll
  for (int k = 0; k < K; ++k)
    ptx::wgmma<T, D, true>(flat(sum), p[0][k],
                           ptx::wgmma_descriptor<128>(tile + uint32_t(k) * 2 * GROUP, PANEL<16 * K>, GROUP), true);
}

}  // namespace lowrank::cuda::tensor_core::sm90
