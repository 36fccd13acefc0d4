#pragma once
// dw = sum over rows of dy xhat, db = sum of dy: gradients of what a norm multiplies by and adds.
//
// Only where those train; with LoRA they are frozen. It reads dy and h once more, rather than have the rows of norm.cuh
// carry 64 more registers a thread. Strips of 32 packs of columns by pieces of rows, a warp a row; the pieces depend on
// the shape alone and are added in order.

#include "cuda/norm.cuh"

namespace lowrank::cuda::norm {

constexpr int64_t MOST_PIECES = 256;

// partial[piece][0: dw, 1: db][cols]
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) parameter_pieces(Arithmetic<T>* partial, Backward<T> p, int64_t piece_rows) {
  using A = Arithmetic<T>;
  constexpr int STRIP = 32 * N;
  SHARED(sums, Array<A, 2, WARPS, STRIP>);
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int64_t strip = int64_t(blockIdx.x) * STRIP, c = strip + lane * N;
  const int64_t begin = int64_t(blockIdx.y) * piece_rows, end = min(begin + piece_rows, p.rows);
  A dw[N] = {}, db[N] = {};
  for (int64_t row = begin + warp; c < p.cols && row < end; row += WARPS) {
    A dy[N], h[N];
    widen<T>(dy, p.dy + row * p.cols + c);
    widen<T>(h, p.h + row * p.cols + c);
    const A mean = p.mean ? p.mean[row] : A(0), rstd = p.rstd[row];
    for (int k = 0; k < N; ++k) {
      dw[k] += dy[k] * ((h[k] - mean) * rstd);
      db[k] += dy[k];
    }
  }
  for (int k = 0; k < N; ++k) {
    sums[0][warp][lane * N + k] = dw[k];
    sums[1][warp][lane * N + k] = db[k];
  }
  __syncthreads();
  for (int i = int(threadIdx.x); i < 2 * STRIP && strip + i % STRIP < p.cols; i += THREADS) {
    A total = 0;
    for (int w = 0; w < WARPS; ++w) total += sums[i / STRIP][w][i % STRIP];
    partial[(int64_t(blockIdx.y) * 2 + i / STRIP) * p.cols + strip + i % STRIP] = total;
  }
}

// blockIdx.y 0: dw, 1: db; 32 columns a block, each warp every eighth piece.
template <typename T>
__global__ void __launch_bounds__(THREADS)
    parameter_sums(void* dw, void* db, bool wide, const Arithmetic<T>* partial, int64_t pieces, int64_t cols) {
  using A = Arithmetic<T>;
  SHARED(sums, Array<A, WARPS, 32>);
  void* to = blockIdx.y ? db : dw;
  if (!to) return;
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int64_t c = int64_t(blockIdx.x) * 32 + lane;
  A total = 0;
  for (int64_t piece = warp; c < cols && piece < pieces; piece += WARPS)
    total += partial[(piece * 2 + blockIdx.y) * cols + c];
  sums[warp][lane] = total;
  __syncthreads();
  if (warp > 0 || c >= cols) return;
  for (int w = 1; w < WARPS; ++w) total += sums[w][lane];
  if (wide) static_cast<A*>(to)[c] = total;
  else static_cast<T*>(to)[c] = T(total);
}

template <typename T>
void parameter_gradients(const View& dw, const View& db, const Backward<T>& p, bool packs) {
  using A = Arithmetic<T>;
  if (!dw && !db) return;
  const int64_t piece_rows = max(int64_t(64), ceil_div(p.rows, MOST_PIECES)), pieces = ceil_div(p.rows, piece_rows);
  Scratch sums(Owner::Sums);
  A* partial = sums.take<A>(pieces * 2 * p.cols);
  const auto first = [&](auto pack) {
    constexpr int N = decltype(pack)::value;
    const Launch shape{dim3(unsigned(ceil_div(p.cols, 32 * N)), unsigned(pieces)), dim3(THREADS)};
    launch(parameter_pieces<T, N>, shape, partial, p, piece_rows);
  };
  if (packs) first(std::integral_constant<int, PACK<T>>{});
  else first(std::integral_constant<int, 1>{});
  const bool wide = !is_half_type<T> || (dw ? dw : db).dtype == DType::F32;
  launch(parameter_sums<T>, Launch{dim3(unsigned(ceil_div(p.cols, 32)), 2), dim3(THREADS)}, dw.data, db.data, wide,
         partial, pieces, p.cols);
}

}  // namespace lowrank::cuda::norm
