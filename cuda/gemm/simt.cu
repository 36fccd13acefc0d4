// y = sum of a b^T + low rank + bias + residual in f32 and f64, without tensor cores.
//
// Parallel: a block of 16 x 16 threads per tile of y, M x M results a thread (strips of M/2 in both directions, so that
// threads read shared memory side by side). Tiles of 16 k go through a ring of three, filled by cp.async of one element
// each, which also turns operands that lie along k: both tiles lie along mn, and any shape, stride and alignment is the
// same path. Slabs with a mask come first; they are masked row by row, since the mask is linear.
// Memory: each operand once per tile of the other. f32 (f64) multiply-adds in the order of k.
// Bound by multiply-adds: 2 m n k / peak without tensor cores.

#include "cuda/gemm/bend.cuh"
#include "cuda/gemm/rope.cuh"
#include "cuda/philox.cuh"
#include "cuda/ptx.cuh"

namespace lowrank::cuda::gemm {
namespace {

constexpr int SIDE = 16, THREADS = SIDE * SIDE, KB = 16, STAGES = 3;

template <typename T, int M>
struct Shape {
  static constexpr int TILE = SIDE * M, ROW = TILE + int(16 / sizeof(T));  // padded: fewer conflicts when turning
  static constexpr int OPERAND = KB * ROW, STAGE = 2 * OPERAND;            // elements
  static constexpr size_t SHARED_BYTES = size_t(STAGES) * STAGE * sizeof(T);
};

// Carries tile after tile [KB][TILE] of one operand along k. Each thread has M elements, every STEP-th line of memory.
template <typename T, int M>
struct TileLoader {
  using S = Shape<T, M>;

  __device__ void begin(const Operand& operand, int64_t origin, int64_t limit, int64_t k) {
    along_k = operand.along_k;
    const int width = along_k ? KB : S::TILE;
    line = int(threadIdx.x) / width, place = int(threadIdx.x) % width;
    const int64_t first = along_k ? origin + line : line, start = along_k ? place : origin + place;
    from = static_cast<const T*>(operand.data) + first * operand.leading + start;
    step = THREADS / width * operand.leading;
    turn = along_k ? KB : KB * operand.leading;
    rows = int(limit - origin < S::TILE ? limit - origin : S::TILE);
    left = k;
  }

  // The next tile; zeros beyond the operand.
  __device__ void load(T* tile) {
    if (left <= 0) return;
    const int depth = int(left < KB ? left : KB), lines = along_k ? rows : depth, width = along_k ? depth : rows;
    const int pass = along_k ? THREADS / KB : THREADS / S::TILE;
    T* to = tile + (along_k ? place * S::ROW + line : line * S::ROW + place);
    const T* at = from;
    for (int i = 0; i < M; ++i, at += step, to += along_k ? pass : pass * S::ROW) {
      const bool inside = line + i * pass < lines && place < width;
      ptx::cp_async<int(sizeof(T))>(ptx::shared_address(to), at, inside ? int(sizeof(T)) : 0);
    }
    from += turn;
    left -= KB;
  }

  const T* from;
  int64_t step, turn, left;
  int line, place, rows;
  bool along_k;
};

// A thread's results: rows and columns first() + 0 … M/2 - 1, and as many from half a tile on.
template <int M>
__device__ int place_of(int thread, int i) {
  return i / (M / 2) * (SIDE * M / 2) + thread * (M / 2) + i % (M / 2);
}

// Of one line of a tile.
template <typename T, int M>
__device__ void read_line(T (&values)[M], const T* line, int thread) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const auto pack = load<M / 2>(line + half * (SIDE * M / 2) + thread * (M / 2));
#pragma unroll
    for (int i = 0; i < M / 2; ++i) values[half * (M / 2) + i] = pack.lane[i];
  }
}

template <typename T, int M>
__device__ void add_tile(T (&sum)[M][M], const T* tile_a, const T* tile_b, int ty, int tx) {
  using S = Shape<T, M>;
#pragma unroll 2
  for (int k = 0; k < KB; ++k) {
    T a[M], b[M];
    read_line(a, tile_a + k * S::ROW, ty);
    read_line(b, tile_b + k * S::ROW, tx);
#pragma unroll
    for (int i = 0; i < M; ++i)
#pragma unroll
      for (int j = 0; j < M; ++j) sum[i][j] += a[i] * b[j];
  }
}

// The same, each result masked before it is added: row by row, so that one row of partial sums is enough.
template <typename T, int M>
__device__ void add_masked_tile(T (&sum)[M][M], const T* tile_a, const T* tile_b, int ty, int tx,
                                const Dropout& dropout, int64_t row, int64_t column) {
  using S = Shape<T, M>;
  const T multiplier = T(256) / T(dropout.keep);
#pragma unroll
  for (int i = 0; i < M; ++i) {
    T part[M] = {};
#pragma unroll 1
    for (int k = 0; k < KB; ++k) {
      T b[M];
      read_line(b, tile_b + k * S::ROW, tx);
      const T a = tile_a[k * S::ROW + place_of<M>(ty, i)];
#pragma unroll
      for (int j = 0; j < M; ++j) part[j] += a * b[j];
    }
    const uint32_t at = uint32_t(row + place_of<M>(ty, i) + dropout.row_offset);
#pragma unroll
    for (int j = 0; j < M; j += 2) {  // two neighbours share a group
      const int64_t c = column + place_of<M>(tx, j);
      const MaskBytes bytes = mask_bytes(dropout, at, dropout_group(c));
      const uint32_t word = c % 64 < 32 ? (c % 64 < 16 ? bytes.words[0] : bytes.words[1])
                                        : (c % 64 < 48 ? bytes.words[2] : bytes.words[3]);
      const uint32_t two = word >> (c % 16 / 8 * 16);
      sum[i][j] += int(two & 0xff) < dropout.keep ? multiplier * part[j] : T(0);
      sum[i][j + 1] += int(two >> 8 & 0xff) < dropout.keep ? multiplier * part[j + 1] : T(0);
    }
  }
}

// All of k of one pair of operands.
template <bool Masked, typename T, int M>
__device__ void add_product(T (&sum)[M][M], T* shared, const Product& p, const Segment& segment, int64_t row,
                            int64_t column, const Dropout& dropout) {
  using S = Shape<T, M>;
  const int ty = int(threadIdx.x) / SIDE, tx = int(threadIdx.x) % SIDE;
  TileLoader<T, M> load_a, load_b;
  load_a.begin(segment.a, row, p.m, segment.k);
  load_b.begin(segment.b, column, p.n, segment.k);
  const auto fetch = [&](int stage) {
    load_a.load(shared + stage * S::STAGE);
    load_b.load(shared + stage * S::STAGE + S::OPERAND);
    ptx::cp_async_commit();
  };
  for (int stage = 0; stage < STAGES - 1; ++stage) fetch(stage);
  int stage = 0;
  for (int64_t k = 0; k < segment.k; k += KB) {
    ptx::cp_async_wait<STAGES - 2>();
    __syncthreads();
    fetch((stage + STAGES - 1) % STAGES);
    const T* tile = shared + stage * S::STAGE;
    if constexpr (Masked) add_masked_tile(sum, tile, tile + S::OPERAND, ty, tx, dropout, row, column);
    else add_tile(sum, tile, tile + S::OPERAND, ty, tx);
    stage = (stage + 1) % STAGES;
  }
  ptx::cp_async_wait<0>();
  __syncthreads();
}

template <typename T, int M>
__global__ void __launch_bounds__(THREADS, sizeof(T) * M > 16 ? 1 : 2) simt_product(const __grid_constant__ Product p) {
  using S = Shape<T, M>;
  SHARED_DYNAMIC(bytes);
  T* shared = reinterpret_cast<T*>(bytes);
  const unsigned tiles = unsigned((p.n + S::TILE - 1) / S::TILE);
  const int64_t row = int64_t(blockIdx.x / tiles) * S::TILE, column = int64_t(blockIdx.x % tiles) * S::TILE;
  T sum[M][M] = {};
  for (int i = 0; i < p.slabs; ++i) {
    const Slab& s = p.slab[i];
    if (s.dropout.keep < 256) add_product<true>(sum, shared, p, {s.r, s.a, s.b}, row, column, s.dropout);
  }
  for (int i = 0; i < p.segments + p.slabs; ++i) {
    const bool low = i >= p.segments;
    const Slab& s = p.slab[low ? i - p.segments : 0];
    if (low && s.dropout.keep < 256) continue;
    const Segment segment = low ? Segment{s.r, s.a, s.b} : p.segment[i];
    add_product<false>(sum, shared, p, segment, row, column, s.dropout);
  }
#pragma unroll
  for (int i = 0; i < M; ++i)
#pragma unroll
    for (int j = 0; j < M; ++j) {
      const int64_t y = row + place_of<M>(int(threadIdx.x) / SIDE, i),
                    x = column + place_of<M>(int(threadIdx.x) % SIDE, j);
      if (y >= p.m || x >= p.n) continue;
      T value = sum[i][j];
      if (p.bias.data) value += static_cast<const T*>(p.bias.data)[x];
      if (p.residual.data) value += static_cast<const T*>(p.residual.data)[y * p.n + x];
      static_cast<T*>(p.y.data)[y * p.n + x] = value;
    }
}

template <typename T, int M>
void run_simt(const Product& p) {
  using S = Shape<T, M>;
  const int64_t blocks = ceil_div(p.m, S::TILE) * ceil_div(p.n, S::TILE);
  check(blocks <= INT32_MAX, Code::Unsupported, "a product of ", blocks, " tiles; CUDA allows ", INT32_MAX);
  launch(simt_product<T, M>, Launch{dim3(unsigned(blocks)), dim3(THREADS), S::SHARED_BYTES}, p);
  if (p.rope) rotate_rounded(p);
  bend_rounded(p);
}

}  // namespace

// f32 in tiles of 128 x 128 where they occupy the device, else, as for f64, of 64 x 64.
void multiply_simt(const Product& p) {
  if (p.type == DType::F64) return run_simt<double, 4>(p);
  check(p.type == DType::F32, Code::DType, "product: no kernel for ", name_of(p.type));
  const bool large = ceil_div(p.m, 128) * ceil_div(p.n, 128) >= properties().multiprocessors;
  large ? run_simt<float, 8>(p) : run_simt<float, 4>(p);
}

}  // namespace lowrank::cuda::gemm
