#pragma once
// Rows that are normalised: what layer norm and RMS norm share. Centred: with a mean.
//
// A row is held in registers by a warp (up to 1024 columns) or by a block of 256 threads (up to 8192), 32 elements a
// thread; longer rows, rows that don't begin at multiples of 16 bytes, and f64 are read again for every sum. Variance
// is the mean of squared differences from the mean, never a difference of two sums.

#include "cuda/parameter.cuh"
#include "cuda/philox.cuh"
#include "cuda/reduce.cuh"

namespace lowrank::cuda::norm {

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int HELD = 32;  // elements a thread

// How a row is cut. Threads of a row: 32 or THREADS. Packs a thread holds in registers; 0: it reads them again.
template <int N_, int Threads_, int Packs_>
struct Cut {
  static constexpr int N = N_, Threads = Threads_, Packs = Packs_;
  static constexpr int Held = Packs ? Packs : 1;

  __device__ static int64_t row() { return int64_t(blockIdx.x) * (THREADS / Threads) + int(threadIdx.x) / Threads; }
  // f(c, i) for the packs of this thread: i is the place in registers, c the first column.
  template <typename F>
  __device__ static void for_packs(int64_t cols, F&& f) {
    const int lane = int(threadIdx.x) % Threads;
    if constexpr (Packs > 0) {
#pragma unroll
      for (int i = 0; i < Packs; ++i) {
        const int c = (i * Threads + lane) * N;
        if (c < cols) f(int64_t(c), i);
      }
    } else {
      for (int64_t c = lane * N; c < cols; c += Threads * N) f(c, 0);
    }
  }
  template <typename A>
  __device__ static A sum(A value, A* partial) {
    if constexpr (Threads == 32) return reduce_warp(value, Sum{});
    else return reduce_block<Threads>(value, partial, Sum{});
  }
};

// Calls f(cut) with the cut for rows of `cols` elements of T, and the number of blocks.
template <typename T, typename F>
void with_cut(int64_t rows, int64_t cols, bool packs, F&& f) {
  constexpr int N = PACK<T>;
  if (!packs) return f(Cut<1, THREADS, 0>{}, rows);
  if constexpr (sizeof(T) < 8) {
    if (cols <= 32 * HELD) return f(Cut<N, 32, HELD / N>{}, ceil_div(rows, WARPS));
    if (cols <= THREADS * HELD) return f(Cut<N, THREADS, HELD / N>{}, rows);
  }
  f(Cut<N, THREADS, 0>{}, rows);
}

// kept_bits<8> where lane l of eight neighbours has the l-th eighth of the same 64 columns: each lane runs Philox for
// one group instead of four. The whole warp calls it.
__device__ inline uint32_t kept_bits_of_octet(const Dropout& d, uint32_t row, int64_t column) {
  const int lane = int(threadIdx.x) % 32, group = lane % 4, word = lane % 8 / 2;
  const MaskBytes bytes = mask_bytes(d, row, uint32_t(column / 64 * 4) + uint32_t(group));
  // In turn s a lane asks group (word + s) % 4 for its word, and so gives away word (group - s) % 4.
  uint32_t turn[4] = {bytes.words[0], bytes.words[3], bytes.words[2], bytes.words[1]};
  if (group & 1) {
    const uint32_t last = turn[3];
    turn[3] = turn[2], turn[2] = turn[1], turn[1] = turn[0], turn[0] = last;
  }
  if (group & 2) {
    const uint32_t first = turn[0], second = turn[1];
    turn[0] = turn[2], turn[1] = turn[3], turn[2] = first, turn[3] = second;
  }
  uint32_t kept = 0;
#pragma unroll
  for (int s = 0; s < 4; ++s) {
    const int from = (word + s) % 4;
    const uint32_t pair = ptx::shuffle(turn[s], lane / 8 * 8 + from) >> (lane % 2 * 16);
    kept |= uint32_t(int(pair & 0xff) < d.keep) << (2 * from) | uint32_t(int(pair >> 8 & 0xff) < d.keep)
                                                                    << (2 * from + 1);
  }
  return kept;
}

// The dropout masks of this thread's packs: made before the packs are read where lanes share the work, else one by one.
template <typename Cut>
struct Masks {
  static constexpr bool TOGETHER = Cut::N == 8 && Cut::Packs > 0;
  __device__ Masks(const Dropout& d, int64_t row, [[maybe_unused]] int64_t cols)
      : d(d), row(uint32_t(d.row_offset + row)) {
    if constexpr (TOGETHER) {
#pragma unroll
      for (int i = 0; i < Cut::Packs; ++i) {
        const int lane = int(threadIdx.x) % Cut::Threads, c = i * Cut::Threads * Cut::N;
        const bool warp_has_columns = d.keep < 256 && c + lane / 32 * 32 * Cut::N < cols;
        if (warp_has_columns) kept[i] = kept_bits_of_octet(d, this->row, c + lane * Cut::N);
      }
    }
  }
  __device__ uint32_t of([[maybe_unused]] int64_t column, [[maybe_unused]] int i) const {
    if constexpr (TOGETHER) return kept[i];
    else return kept_bits<Cut::N>(d, row, column);
  }
  const Dropout& d;
  uint32_t row, kept[Cut::Held] = {};
};

// x = drop(x), where bit k of `kept` belongs to x[k].
template <int N, typename A>
__device__ void drop(A (&x)[N], uint32_t kept, A multiplier) {
  for (int k = 0; k < N; ++k) x[k] = kept >> k & 1 ? multiplier * x[k] : A(0);
}

// x as T holds it.
template <typename T, int N, typename A>
__device__ void round_to(A (&x)[N], T* to) {
  Pack<T, N> pack;
  for (int k = 0; k < N; ++k) {
    pack.lane[k] = T(x[k]);
    x[k] = A(pack.lane[k]);
  }
  if (to) store(to, pack);
}

template <typename T, int N, typename A>
__device__ void widen(A (&to)[N], const T* from) {
  const auto pack = load<N>(from);
  for (int k = 0; k < N; ++k) to[k] = A(pack.lane[k]);
}

template <typename T>
struct Forward {
  using A = Arithmetic<T>;
  T *y, *h;
  A *mean, *rstd;
  const T *x, *residual;
  Parameter<T> w, b;
  int64_t rows, cols;
  A eps, offset;
  Dropout dropout;
  A multiplier;
};

// The N elements of h = drop(x) + residual from column c on, rounded to T; h is stored where it differs from x.
template <int N, typename T, typename A, typename Masks>
__device__ void make_h(A (&h)[N], const Forward<T>& p, const Masks& masks, int64_t row, int64_t c, int i) {
  const int64_t at = row * p.cols + c;
  widen<T>(h, p.x + at);
  if (!p.h) return;
  if (p.dropout.keep < 256) drop(h, masks.of(c, i), p.multiplier);
  if (p.residual) {
    A other[N];
    widen<T>(other, p.residual + at);
    for (int k = 0; k < N; ++k) h[k] += other[k];
  }
  round_to(h, p.h + at);
}

template <bool Centred, typename Cut, typename T>
__global__ void __launch_bounds__(THREADS) forward_rows(Forward<T> p) {
  using A = Arithmetic<T>;
  constexpr int N = Cut::N;
  SHARED(partial, Array<A, 2, WARPS>);
  const int64_t row = Cut::row();
  if (row >= p.rows) return;
  const T* saved = (p.h ? p.h : p.x) + row * p.cols;
  const Masks<Cut> masks(p.dropout, row, p.cols);
  A held[Cut::Held][N];
  A sum = 0, squares = 0, mean = 0;
  Cut::for_packs(p.cols, [&](int64_t c, int i) {
    make_h(held[i], p, masks, row, c, i);
    for (int k = 0; k < N; ++k) {
      if constexpr (Centred) sum += held[i][k];
      else squares += held[i][k] * held[i][k];
    }
  });
  const auto again = [&](int64_t c, int i) {
    if constexpr (Cut::Packs == 0) widen<T>(held[i], saved + c);
  };
  if constexpr (Centred) {
    mean = Cut::sum(sum, partial[0]) / A(p.cols);
    Cut::for_packs(p.cols, [&](int64_t c, int i) {
      again(c, i);
      for (int k = 0; k < N; ++k) squares += (held[i][k] - mean) * (held[i][k] - mean);
    });
  }
  const A rstd = 1 / sqrt(Cut::sum(squares, partial[1]) / A(p.cols) + p.eps);
  Cut::for_packs(p.cols, [&](int64_t c, int i) {
    again(c, i);
    A w[N], b[N];
    p.w.load_to(w, c);
    if (p.b.present()) p.b.load_to(b, c);
    A y[N];
    for (int k = 0; k < N; ++k) {
      y[k] = (held[i][k] - mean) * rstd * (w[k] + p.offset);
      if (p.b.present()) y[k] += b[k];
    }
    round_to(y, p.y + row * p.cols + c);
  });
  if (threadIdx.x % Cut::Threads == 0) {
    if (Centred) p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
}

template <typename T>
struct Backward {
  using A = Arithmetic<T>;
  T *dx, *dresidual;
  const T *dy, *dh, *h;
  Parameter<T> w;
  const A *mean, *rstd;
  int64_t rows, cols;
  A offset;
  Dropout dropout;
  A multiplier;
};

// a = dy (w + offset), xhat = (h - mean) rstd, from column c of a row on.
template <int N, typename T, typename A>
__device__ void normalised(A (&a)[N], A (&xhat)[N], const Backward<T>& p, A mean, A rstd, int64_t at, int64_t c) {
  A w[N];
  widen<T>(a, p.dy + at + c);
  widen<T>(xhat, p.h + at + c);
  p.w.load_to(w, c);
  for (int k = 0; k < N; ++k) {
    a[k] *= w[k] + p.offset;
    xhat[k] = (xhat[k] - mean) * rstd;
  }
}

// g = rstd (a - mean(a) - xhat mean(a xhat)) + dh;  dx = drop(g);  dresidual = g
template <bool Centred, typename Cut, typename T>
__global__ void __launch_bounds__(THREADS) backward_rows(Backward<T> p) {
  using A = Arithmetic<T>;
  constexpr int N = Cut::N;
  SHARED(partial, Array<A, 2, WARPS>);
  const int64_t row = Cut::row();
  if (row >= p.rows) return;
  const int64_t at = row * p.cols;
  const A mean = Centred ? p.mean[row] : A(0), rstd = p.rstd[row];
  const Masks<Cut> masks(p.dropout, row, p.cols);
  A a[Cut::Held][N], xhat[Cut::Held][N];
  A sum = 0, dot = 0;
  Cut::for_packs(p.cols, [&](int64_t c, int i) {
    normalised(a[i], xhat[i], p, mean, rstd, at, c);
    for (int k = 0; k < N; ++k) {
      if (Centred) sum += a[i][k];
      dot += a[i][k] * xhat[i][k];
    }
  });
  const A mean_a = Centred ? Cut::sum(sum, partial[0]) / A(p.cols) : A(0);
  const A mean_dot = Cut::sum(dot, partial[1]) / A(p.cols);
  Cut::for_packs(p.cols, [&](int64_t c, int i) {
    if constexpr (Cut::Packs == 0) normalised(a[i], xhat[i], p, mean, rstd, at, c);
    A g[N];
    for (int k = 0; k < N; ++k) g[k] = rstd * (a[i][k] - mean_a - xhat[i][k] * mean_dot);
    if (p.dh) {
      A other[N];
      widen<T>(other, p.dh + at + c);
      for (int k = 0; k < N; ++k) g[k] += other[k];
    }
    if (p.dresidual) {
      A rest[N];
      for (int k = 0; k < N; ++k) rest[k] = g[k];
      round_to(rest, p.dresidual + at + c);
    }
    if (p.dropout.keep < 256) drop(g, masks.of(c, i), p.multiplier);
    round_to(g, p.dx + at + c);
  });
}

}  // namespace lowrank::cuda::norm
