// y = x w^T + s b^T + bias + residual for at most 64 rows, with w stored as I8 or NF4 and converted in registers:
// decoding reads a weight once, and its floats exist nowhere. s b^T is the part of an adapter.
//
// Parallel: a block per 32 columns, 2 warps across them and 4 along K; a warp multiplies 16 columns by mma.sync, 128 of
// K at a time. A lane reads 32 neighbouring codes of one row of w, in packs of 16 bytes; products pair k of x and w in
// that order, which sums don't mind. x goes through shared memory by cp.async, two steps of 512 in turn, its 16-byte
// chunks placed so that what the lanes read together lies in different banks; w is loaded one step ahead into
// registers. The 4 partial sums are added in fixed order. NF4: LUT * absmax in f32, rounded once to x's type: the
// weights are those that dequantize() makes. I8: codes are exact in bf16, absmax multiplies the sum. Then s b^T joins
// the same accumulators, each of the 4 warps with every fourth 32 of its k, straight from L2: 96 bytes a column at rank
// 16 in three parts, beside 2 KB of NF4 at K 4096. Memory: w once, x once a block, from L2. Bound by bandwidth up to 16
// rows, 0.516 (I8: 1) n k / peak, of which the reads of shared memory (the 16 values, x) allow about 80 %; at 64 rows
// by those of x.

#include "cuda/gemm/bend.cuh"
#include "cuda/gemm/quantized_rows.cuh"
#include "cuda/gemm/rope.cuh"
#include "cuda/pair.cuh"
#include "cuda/parameter.cuh"
#include "cuda/ptx.cuh"
#include "cuda/quantized.cuh"

namespace lowrank::cuda::gemm {
namespace {

constexpr int THREADS = 256, COLUMNS = 32, SLICES = 4, SLICE = 128, STEP = SLICES * SLICE;
constexpr int CHUNKS = STEP * 2 / 16;     // of 16 bytes, a row of x in a step
constexpr int ROW_BYTES = STEP * 2 + 64;  // neighbouring rows begin 4 chunks apart in the banks
constexpr int SUM_STRIDE = COLUMNS + 1;

// Two steps of x: 136 KB of shared memory for 64 rows, 68 KB for 32.
constexpr size_t shared_bytes(int rows) { return size_t(2) * rows * ROW_BYTES; }

// Tables of NF4 in shared memory.
struct Tables {
  float values[16], scales[256];
};

// 32 codes of a row, from element `at` of the flattened weight.
struct Nf4Codes {
  using Weight = Nf4Weight;
  __device__ void load_from(const Nf4Weight& w, int64_t at) {
    words = load<4>(reinterpret_cast<const uint32_t*>(w.codes + at / 2));
    scale = w.scales[at / NF4_BLOCK];
    nested = w.nested[at / NF4_BLOCK / NF4_NESTED];
  }
  __device__ float absmax(const Tables& tables, float offset) const {
    return __fadd_rn(__fmul_rn(tables.scales[scale], nested), offset);
  }
  // Elements 8 part to 8 part + 7. Each byte of `high` and `low` is a code times 4: where its value lies in the table.
  __device__ void decode(float (&to)[8], int part, const Tables& tables, float absmax) const {
    const uint32_t high = words.lane[part] >> 2 & 0x3c3c3c3c, low = words.lane[part] << 2 & 0x3c3c3c3c;
    const auto* values = reinterpret_cast<const unsigned char*>(tables.values);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      to[i] = *reinterpret_cast<const float*>(values + ((i % 2 ? low : high) >> (i / 2 * 8) & 255)) * absmax;
  }
  static __device__ float offset_of(const Nf4Weight& w) { return *w.offset; }

  Pack<uint32_t, 4> words = {};
  uint8_t scale = 0;
  float nested = 0;
};

struct Int8Codes {
  using Weight = Int8Weight;
  __device__ void load_from(const Int8Weight& w, int64_t at) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      words[half] = load<4>(reinterpret_cast<const uint32_t*>(w.codes + at) + 4 * half);
  }
  __device__ float absmax(const Tables&, float) const { return 1; }
  __device__ void decode(float (&to)[8], int part, const Tables&, float) const {
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i] = float(int8_t(words[part / 2].lane[part % 2 * 2 + i / 4] >> (i % 4 * 8) & 255));
  }
  static __device__ float offset_of(const Int8Weight&) { return 0; }

  Pack<uint32_t, 4> words[2] = {};
};

template <typename T>
struct Rows {
  T* y;
  const T* x;
  int64_t m, n, k;
  Parameter<T> bias;
  const T* residual;  // or null
  const T *s, *b;     // of the slab: lines of `leading`, `rank` of them used
  int rank, s_leading, b_leading;
};

// Where chunk c of a row lies: within the 16 of a slice, c = 4 lane + part goes to 4 part + lane.
__device__ int placed(int c) { return c / 16 * 16 + c % 4 * 4 + c % 16 / 4; }

// A step of x, from k on: a thread brings one chunk of every fourth row, zeros past the edges.
template <typename T, int MT>
__device__ void load_x(unsigned char* stage, const Rows<T>& p, int64_t k) {
  constexpr int AT_ONCE = THREADS / CHUNKS;  // rows
  const int c = int(threadIdx.x) % CHUNKS, first = int(threadIdx.x) / CHUNKS;
  const bool inside = k + c * 8 < p.k;
  const T* from = p.x + first * p.k + k + c * 8;
  const uint32_t to = ptx::shared_address(stage + first * ROW_BYTES + placed(c) * 16);
#pragma unroll
  for (int i = 0; i < 16 * MT / AT_ONCE; ++i) {
    const bool valid = inside && first + i * AT_ONCE < p.m;
    ptx::cp_async<16>(to + uint32_t(i * AT_ONCE * ROW_BYTES), valid ? from : p.x, valid ? 16 : 0);
    from += AT_ONCE * p.k;
  }
}

// The lane's codes of its two columns, 0 past the edges.
template <typename Codes>
__device__ void load_w(Codes (&codes)[2], const typename Codes::Weight& w, int64_t column, int64_t n, int64_t k,
                       int64_t end) {
#pragma unroll
  for (int t = 0; t < 2; ++t) {
    codes[t] = Codes();
    if (column + 8 * t < n && k < end) codes[t].load_from(w, (column + 8 * t) * end + k);
  }
}

// sum[MT][2] += 16 MT rows of x, from the lane's chunk of its slice on, times 32 codes a lane.
template <typename T, int MT, typename Codes>
__device__ void multiply_slice(float (&sum)[MT][2][4], const unsigned char* x, const Codes (&codes)[2],
                               const Tables& tables, float offset) {
  float absmax[2];
#pragma unroll
  for (int t = 0; t < 2; ++t) absmax[t] = codes[t].absmax(tables, offset);
#pragma unroll
  for (int part = 0; part < 4; ++part) {
    uint32_t b[2][2][2];  // [step of 16][tile][register]
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      float values[8];
      codes[t].decode(values, part, tables, absmax[t]);
#pragma unroll
      for (int i = 0; i < 4; ++i) b[i / 2][t][i % 2] = pack_pair<T>(values[2 * i], values[2 * i + 1]);
    }
#pragma unroll
    for (int tile = 0; tile < MT; ++tile) {
      const unsigned char* at = x + tile * 16 * ROW_BYTES + part * 64;
      const auto low = load<4>(reinterpret_cast<const uint32_t*>(at));
      const auto high = load<4>(reinterpret_cast<const uint32_t*>(at + 8 * ROW_BYTES));
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        const uint32_t a[4] = {low.lane[2 * step], high.lane[2 * step], low.lane[2 * step + 1],
                               high.lane[2 * step + 1]};
        for (int t = 0; t < 2; ++t) ptx::mma<T>(sum[tile][t], a, b[step][t]);
      }
    }
  }
}

// Codes were multiplied as they are.
template <int MT>
__device__ void scale_sums(float (&sum)[MT][2][4], const Int8Weight& w, int64_t column, int64_t n) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int64_t at = column + i / 2 * 8 + int(threadIdx.x) % 4 * 2 + i % 2;
    const float factor = at < n ? w.absmax[at] * INT8_STEP : 0.0f;
#pragma unroll
    for (int tile = 0; tile < MT; ++tile) {
      sum[tile][i / 2][i % 2] *= factor;
      sum[tile][i / 2][2 + i % 2] *= factor;
    }
  }
}

// 32 k of a line of the slab, 8 a lane, in the order of multiply_slice; zeros past the edges.
template <typename T>
__device__ Pack<uint32_t, 4> slab_line(const T* slab, int leading, int64_t line, int64_t lines, int k, int rank) {
  if (line >= lines || k >= rank) return {};
  return load<4>(reinterpret_cast<const uint32_t*>(slab + line * leading + k));
}

// sum[MT][2] += s b^T of the warp's 16 columns and its share of k.
template <typename T, int MT>
__device__ void add_slab(float (&sum)[MT][2][4], const Rows<T>& p, int64_t column) {
  const int lane = int(threadIdx.x) % 32, slice = int(threadIdx.x) / 64;
#pragma unroll 1  // for want of registers
  for (int from = slice * 32; from < p.rank; from += SLICES * 32) {
    const int k = from + lane % 4 * 8;
    Pack<uint32_t, 4> b[2];
#pragma unroll
    for (int t = 0; t < 2; ++t) b[t] = slab_line(p.b, p.b_leading, column + 8 * t + lane / 4, p.n, k, p.rank);
#pragma unroll
    for (int tile = 0; tile < MT; ++tile) {
      const auto low = slab_line(p.s, p.s_leading, tile * 16 + lane / 4, p.m, k, p.rank);
      const auto high = slab_line(p.s, p.s_leading, tile * 16 + 8 + lane / 4, p.m, k, p.rank);
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        const uint32_t a[4] = {low.lane[2 * step], high.lane[2 * step], low.lane[2 * step + 1],
                               high.lane[2 * step + 1]};
#pragma unroll
        for (int t = 0; t < 2; ++t) ptx::mma<T>(sum[tile][t], a, {b[t].lane[2 * step], b[t].lane[2 * step + 1]});
      }
    }
  }
}

// y of the block's columns from the warps' sums: [SLICES][16 MT][SUM_STRIDE] in shared memory.
template <typename T, int MT>
__device__ void store_sums(float* staged, const float (&sum)[MT][2][4], const Rows<T>& p) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  float* mine = staged + warp / 2 * (16 * MT * SUM_STRIDE) + warp % 2 * 16;
#pragma unroll
  for (int tile = 0; tile < MT; ++tile)
#pragma unroll
    for (int i = 0; i < 8; ++i)
      mine[(tile * 16 + lane / 4 + i % 4 / 2 * 8) * SUM_STRIDE + i / 4 * 8 + lane % 4 * 2 + i % 2] =
          sum[tile][i / 4][i % 4];
  __syncthreads();
  for (int i = int(threadIdx.x); i < 16 * MT * COLUMNS; i += THREADS) {
    const int64_t row = i / COLUMNS, column = int64_t(blockIdx.x) * COLUMNS + i % COLUMNS;
    if (row >= p.m || column >= p.n) continue;
    float total = 0;
    for (int slice = 0; slice < SLICES; ++slice) total += staged[(slice * 16 * MT + row) * SUM_STRIDE + i % COLUMNS];
    if (p.bias.present()) total += p.bias[column];
    if (p.residual) total += float(p.residual[row * p.n + column]);
    p.y[row * p.n + column] = T(total);
  }
}

// 64 rows leave room for one block a multiprocessor.
template <typename T, int MT, typename Codes>
__global__ void __launch_bounds__(THREADS, MT == 4 ? 1 : 2) few_rows(Rows<T> p, typename Codes::Weight w) {
  SHARED_DYNAMIC(shared);
  SHARED(tables, Tables);
  constexpr int STAGE = 16 * MT * ROW_BYTES;
  if constexpr (std::is_same_v<Codes, Nf4Codes>) {
    if (threadIdx.x < 16) tables.values[threadIdx.x] = NF4_MAP[threadIdx.x];
    tables.scales[threadIdx.x] = DYNAMIC_MAP[threadIdx.x];
  }
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32, slice = warp / 2;
  const int64_t column = int64_t(blockIdx.x) * COLUMNS + warp % 2 * 16 + lane / 4;
  const int64_t k_lane = slice * SLICE + lane % 4 * 32;
  const float offset = Codes::offset_of(w);
  const unsigned char* x = shared + lane / 4 * ROW_BYTES + slice * SLICE * 2 + lane % 4 * 16;
  float sum[MT][2][4] = {};
  Codes codes[2], next[2];
  load_x<T, MT>(shared, p, 0);
  ptx::cp_async_commit();
  load_w(codes, w, column, p.n, k_lane, p.k);
  int stage = 0;
  for (int64_t k = 0; k < p.k; k += STEP, stage ^= STAGE) {
    load_x<T, MT>(shared + (stage ^ STAGE), p, k + STEP);
    ptx::cp_async_commit();
    load_w(next, w, column, p.n, k + STEP + k_lane, p.k);
    ptx::cp_async_wait<1>();
    __syncthreads();
    multiply_slice<T, MT>(sum, x + stage, codes, tables, offset);
    __syncthreads();
#pragma unroll
    for (int t = 0; t < 2; ++t) codes[t] = next[t];
  }
  ptx::cp_async_wait<0>();
  __syncthreads();
  const int64_t first = column - lane / 4;
  if constexpr (std::is_same_v<Codes, Int8Codes>) scale_sums<MT>(sum, w, first, p.n);
  add_slab<T, MT>(sum, p, first);
  store_sums<T, MT>(reinterpret_cast<float*>(shared), sum, p);
}

template <typename T, typename Codes>
void launch_rows(const Rows<T>& p, const typename Codes::Weight& w) {
  const auto with = [&](auto tiles) {
    constexpr int MT = decltype(tiles)::value;
    const dim3 grid(unsigned(ceil_div(p.n, COLUMNS)));
    launch(few_rows<T, MT, Codes>, Launch{grid, dim3(THREADS), shared_bytes(16 * MT)}, p, w);
  };
  if (p.m <= 16) with(std::integral_constant<int, 1>());
  else if (p.m <= 32) with(std::integral_constant<int, 2>());
  else with(std::integral_constant<int, 4>());
}

}  // namespace

bool suits_quantized(const View& x, const View& w) {
  const bool halves = x.dtype == DType::BF16 || x.dtype == DType::F16;
  const int64_t most = properties().shared_block >= shared_bytes(64) + sizeof(Tables) + 1024 ? 64 : 32;
  return halves && (w.dtype == DType::I8 || w.dtype == DType::NF4) && x.rows() <= most && x.cols() % NF4_BLOCK == 0 &&
         aligned(x) && aligned(w);
}

void multiply_quantized(const Product& p, const View& x, const View& w) {
  if (p.y.size() == 0) return;
  const Slab slab = p.slabs ? p.slab[0] : Slab{};
  check(p.segments == 0 && p.slabs <= 1 && !slab.dropout.active() && slab.a.along_k && slab.b.along_k,
        Code::Unsupported, "product of few rows: takes one slab along k without dropout");
  dispatch_half(x, [&](auto zero) {
    using T = decltype(zero);
    const Rows<T> rows = {p.y.as<T>(),
                          x.as<T>(),
                          p.m,
                          p.n,
                          x.cols(),
                          Parameter<T>(p.bias),
                          p.residual.as<T>(),
                          static_cast<const T*>(slab.a.data),
                          static_cast<const T*>(slab.b.data),
                          int(slab.r),
                          int(slab.a.leading),
                          int(slab.b.leading)};
    if (w.dtype == DType::NF4) launch_rows<T, Nf4Codes>(rows, Nf4Weight(w));
    else launch_rows<T, Int8Codes>(rows, Int8Weight(w));
  });
  if (p.rope) rotate_rounded(p);
  bend_rounded(p);
}

}  // namespace lowrank::cuda::gemm
