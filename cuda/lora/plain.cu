// The thin products in f32 and f64, without tensor cores.
//
// Tiles of 32 rows and 64 columns of z go through shared memory, beside those of the factor; masks are applied there,
// one call of Philox for 16 columns of a row. down: a block has 32 rows and 16 columns of the rank and walks along the
// columns. outer: a block has 64 columns, 16 of the rank and a stretch of rows, and leaves a partial sum.
//
// Passes: z once for 16 of the rank; neighbouring blocks of other ranks meet in L2. Bound by shared memory, at three
// reads for two multiply-adds; f32 training is for checks and small models, so nothing more is done about it.

#include "cuda/lora/thin.h"
#include "cuda/philox.cuh"

namespace lowrank::cuda::lora {
namespace {

constexpr int THREADS = 256, ROWS = 32, COLUMNS = 64, RANKS = 16;

template <typename S>
struct Matrix {
  const S* data;
  int64_t stride_i, stride_j;
  __device__ S operator()(int64_t i, int64_t j) const { return data[i * stride_i + j * stride_j]; }
};

// drop(z) at (row, column), zeros outside. Ends with a barrier.
template <typename S>
__device__ void load_tile(Array<S, ROWS, COLUMNS + 1>& tile, const S* z, int64_t row, int64_t column, int64_t rows,
                          int64_t columns, const Dropout& dropout) {
  for (int i = threadIdx.x; i < ROWS * COLUMNS; i += THREADS) {
    const int64_t m = row + i / COLUMNS, c = column + i % COLUMNS;
    tile[i / COLUMNS][i % COLUMNS] = m < rows && c < columns ? z[m * columns + c] : S(0);
  }
  __syncthreads();
  if (dropout.keep >= 256) return;
  if (threadIdx.x < ROWS * 4) {
    const int line = threadIdx.x / 4, t = threadIdx.x % 4;
    const MaskBytes bytes =
        mask_bytes(dropout, uint32_t(dropout.row_offset + row + line), dropout_group(column) + uint32_t(t));
#pragma unroll
    for (int k = 0; k < 16; ++k)
      if (int(bytes[k]) >= dropout.keep) tile[line][k / 2 * 8 + 2 * t + k % 2] = S(0);
  }
  __syncthreads();
}

template <typename S>
__global__ void plain_down_rows(S* sum, const S* z, int64_t rows, int64_t columns, Matrix<S> f, int64_t r,
                                Dropout dropout) {
  SHARED(tile, Array<S, ROWS, COLUMNS + 1>);
  SHARED(factor, Array<S, COLUMNS, RANKS + 1>);
  const int64_t chunks = (r + RANKS - 1) / RANKS;
  const int64_t row = blockIdx.x / chunks * ROWS, first = blockIdx.x % chunks * RANKS;
  const int line = threadIdx.x / 8, j = threadIdx.x % 8;
  S total[2] = {0, 0};
  for (int64_t column = 0; column < columns; column += COLUMNS) {
    for (int i = threadIdx.x; i < COLUMNS * RANKS; i += THREADS) {
      const int64_t c = column + i % COLUMNS, k = first + i / COLUMNS;
      factor[i % COLUMNS][i / COLUMNS] = c < columns && k < r ? f(c, k) : S(0);
    }
    load_tile(tile, z, row, column, rows, columns, dropout);
    for (int c = 0; c < COLUMNS; ++c) {
      total[0] += tile[line][c] * factor[c][j];
      total[1] += tile[line][c] * factor[c][j + 8];
    }
    __syncthreads();
  }
  for (int k = 0; k < 2; ++k)
    if (row + line < rows && first + j + 8 * k < r) sum[(row + line) * r + first + j + 8 * k] = total[k];
}

template <typename S>
__global__ void plain_outer_columns(S* sum, const S* z, int64_t rows, int64_t columns, Matrix<S> f, int64_t r,
                                    int64_t stretch, Dropout dropout) {
  SHARED(tile, Array<S, ROWS, COLUMNS + 1>);
  SHARED(factor, Array<S, ROWS, RANKS>);
  const int64_t chunks = (r + RANKS - 1) / RANKS;
  const int64_t column = blockIdx.x / chunks * COLUMNS, first = blockIdx.x % chunks * RANKS;
  const int64_t begin = blockIdx.y * stretch, end = min(rows, begin + stretch);
  const int c = threadIdx.x % COLUMNS, j = threadIdx.x / COLUMNS * 4;
  S total[4] = {0, 0, 0, 0};
  for (int64_t row = begin; row < end; row += ROWS) {
    for (int i = threadIdx.x; i < ROWS * RANKS; i += THREADS) {
      const int64_t m = row + i / RANKS, k = first + i % RANKS;
      factor[i / RANKS][i % RANKS] = m < end && k < r ? f(m, k) : S(0);
    }
    load_tile(tile, z, row, column, end, columns, dropout);
    for (int m = 0; m < ROWS; ++m)
#pragma unroll
      for (int k = 0; k < 4; ++k) total[k] += tile[m][c] * factor[m][j + k];
    __syncthreads();
  }
#pragma unroll
  for (int k = 0; k < 4; ++k)
    if (column + c < columns && first + j + k < r)
      sum[(blockIdx.y * columns + column + c) * r + first + j + k] = total[k];
}

template <typename F>
void for_type(const View& z, F&& f) {
  if (z.dtype == DType::F64) f(double{});
  else f(float{});
}

}  // namespace

int64_t plain_pieces(int64_t rows, int64_t columns) {
  const int64_t blocks = std::max<int64_t>(1, ceil_div(columns, COLUMNS));
  return std::clamp<int64_t>(256 / blocks, 1, std::max<int64_t>(1, ceil_div(rows, 128)));
}

void plain_down(void* sum, View z, PlainFactor f, int64_t r, const Dropout& dropout) {
  for_type(z, [&](auto zero) {
    using S = decltype(zero);
    launch(plain_down_rows<S>, ceil_div(z.rows(), ROWS) * ceil_div(r, RANKS), THREADS, static_cast<S*>(sum), z.as<S>(),
           z.rows(), z.cols(), Matrix<S>{f.data.as<S>(), f.stride_i, f.stride_j}, r, dropout);
  });
}

void plain_outer(void* sum, View z, PlainFactor f, int64_t r, const Dropout& dropout) {
  const int64_t pieces = plain_pieces(z.rows(), z.cols()), blocks = ceil_div(z.cols(), COLUMNS) * ceil_div(r, RANKS);
  for_type(z, [&](auto zero) {
    using S = decltype(zero);
    launch(plain_outer_columns<S>, Launch{dim3(unsigned(blocks), unsigned(pieces)), dim3(THREADS)},
           static_cast<S*>(sum), z.as<S>(), z.rows(), z.cols(), Matrix<S>{f.data.as<S>(), f.stride_i, f.stride_j}, r,
           ceil_div(z.rows(), pieces), dropout);
  });
}

}  // namespace lowrank::cuda::lora
