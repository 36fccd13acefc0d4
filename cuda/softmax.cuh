#pragma once
// Log-sum-exp of a row in one pass over it, by a warp or a block: each thread keeps a running maximum and the sum of
// exponentials relative to it.

#include "cuda/parameter.cuh"
#include "cuda/ptx.cuh"
#include "cuda/reduce.cuh"

namespace lowrank::cuda {

constexpr int SOFTMAX_THREADS = 256, SOFTMAX_WARPS = SOFTMAX_THREADS / 32;
constexpr int64_t WARP_CLASSES = 1024;  // rows up to here belong to a warp

// e^x. Beside half precision, 2^-22 and a rounding of x log2(e) are exact enough.
template <typename T, typename A>
__device__ A exponential(A x) {
  if constexpr (is_half_type<T>) return ptx::exp2_approx(x * 1.4426950408889634f);
  else return exp(x);
}

// A row's threads, 32 or SOFTMAX_THREADS. `partial` [SOFTMAX_WARPS] is shared, of this call alone.
template <int Threads, typename A, typename Op>
__device__ A reduce_row(A value, A* partial, Op op) {
  if constexpr (Threads == 32) return reduce_warp(value, op);
  else return reduce_block<Threads>(value, partial, op);
}

template <int Threads>
__device__ int64_t softmax_row() {
  return int64_t(blockIdx.x) * (SOFTMAX_THREADS / Threads) + int(threadIdx.x) / Threads;
}

// log sum over c < classes of e^x[c]: at(c, x) gives the N values from c on. -inf where all are; NaN where one is.
template <typename T, int N, int Threads, typename F>
__device__ Arithmetic<T> log_sum_exp(int64_t classes, Array<Arithmetic<T>, SOFTMAX_WARPS>* partial, F&& at) {
  using A = Arithmetic<T>;
  const A lowest = -A(INFINITY);
  A top = lowest, sum = 0;
  for (int64_t c = int(threadIdx.x) % Threads * N; c < classes; c += Threads * N) {
    A x[N];
    at(c, x);
    A now = top;
    for (int k = 0; k < N; ++k) now = Maximum{}(now, x[k]);
    if (now == lowest) continue;
    sum *= exponential<T>(top - now);
    for (int k = 0; k < N; ++k) sum += exponential<T>(x[k] - now);
    top = now;
  }
  const A row_top = reduce_row<Threads>(top, partial[0], Maximum{});
  if (row_top == lowest) return lowest;
  sum = reduce_row<Threads>(sum * exponential<T>(top - row_top), partial[1], Sum{});
  return row_top + log(sum);
}

}  // namespace lowrank::cuda
