// Rotary position embedding of q and k in one launch: the formula is that of cpu/rope.cpp. The inverse rotation, in
// place, is its gradient.
//
// A block per row. threadIdx.x is a unit of 2 N columns of a head, which are N pairs: columns (u, u + rotary / 2) in
// two packs of 16 bytes, or two packs side by side where pairs are interleaved; past the rotary columns a unit copies.
// threadIdx.y goes through the heads of q, then of k, so that a thread reads its cosines and sines once. A unit is read
// before it is written, so y may be x. One pass, f32 arithmetic (f64 for f64). Bound by bandwidth: the target is
// 2 * bytes(q, k) / peak.

#include "cuda/indices.cuh"
#include "cuda/parameter.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256;

template <typename T>
struct Rotation {
  T* y[2];
  const T* x[2];  // q and k, [rows, heads * head_dim]
  int heads[2];
  Indices positions;
  Parameter<T> table;  // [positions, rotary]: cosines, then sines
  int64_t rotary, head_dim;
  bool interleaved;
  Arithmetic<T> sign;
};

// The first columns of the two packs of unit u, or what is left of the columns that are copied.
template <int N>
struct Unit {
  __device__ Unit(int64_t u, int64_t rotary, bool interleaved) {
    rotated = u * N < rotary / 2;
    first = rotated && !interleaved ? u * N : u * 2 * N;
    second = rotated && !interleaved ? first + rotary / 2 : first + N;
  }
  int64_t first, second;
  bool rotated;
};

template <int N, typename A>
__device__ void turn(A (&a)[N], A (&b)[N], const A (&c)[N], const A (&s)[N]) {
  for (int k = 0; k < N; ++k) {
    const A x = a[k], y = b[k];
    a[k] = x * c[k] - y * s[k];
    b[k] = y * c[k] + x * s[k];
  }
}

// Pairs that lie side by side: (a0, a1), (a2, a3) …, (b0, b1) …
template <int N, typename A>
__device__ void turn_neighbours(A (&a)[N], A (&b)[N], const A (&c)[N], const A (&s)[N]) {
  A both[2 * N];
  for (int k = 0; k < N; ++k) both[k] = a[k], both[N + k] = b[k];
  for (int k = 0; k < N; ++k) {
    const A x = both[2 * k], y = both[2 * k + 1];
    both[2 * k] = x * c[k] - y * s[k];
    both[2 * k + 1] = y * c[k] + x * s[k];
  }
  for (int k = 0; k < N; ++k) a[k] = both[k], b[k] = both[N + k];
}

template <typename T, int N, typename A>
__device__ void read(A (&to)[N], const T* from) {
  const auto pack = load<N>(from);
  for (int k = 0; k < N; ++k) to[k] = A(pack.lane[k]);
}
template <typename T, int N, typename A>
__device__ void write(T* to, const A (&from)[N]) {
  Pack<T, N> pack;
  for (int k = 0; k < N; ++k) pack.lane[k] = T(from[k]);
  store(to, pack);
}

template <typename T, int N>
__global__ void __launch_bounds__(THREADS) rotate_rows(Rotation<T> p) {
  using A = Arithmetic<T>;
  const int64_t row = blockIdx.x, angles = int64_t(p.positions[row]) * p.rotary;
  for (int64_t u = threadIdx.x; u * 2 * N < p.head_dim; u += blockDim.x) {
    const Unit<N> unit(u, p.rotary, p.interleaved);
    const bool whole = unit.second < p.head_dim;  // an odd head has half a unit at its end
    A c[N], s[N];
    if (unit.rotated) {
      p.table.load_to(c, angles + u * N);
      p.table.load_to(s, angles + p.rotary / 2 + u * N);
      for (int k = 0; k < N; ++k) s[k] *= p.sign;
    }
    for (int head = int(threadIdx.y); head < p.heads[0] + p.heads[1]; head += int(blockDim.y)) {
      const bool of_k = head >= p.heads[0];
      const int64_t at = (of_k ? row * p.heads[1] + head - p.heads[0] : row * p.heads[0] + head) * p.head_dim;
      const T* x = (of_k ? p.x[1] : p.x[0]) + at;
      T* y = (of_k ? p.y[1] : p.y[0]) + at;
      A a[N], b[N] = {};
      read(a, x + unit.first);
      if (whole) read(b, x + unit.second);
      if (unit.rotated && p.interleaved) turn_neighbours(a, b, c, s);
      else if (unit.rotated) turn(a, b, c, s);
      write(y + unit.first, a);
      if (whole) write(y + unit.second, b);
    }
  }
}

template <typename T, int N>
void rotate(const Rotation<T>& p, int64_t rows) {
  const int units = int(std::min<int64_t>(ceil_div(p.head_dim, 2 * N), THREADS));
  const int heads = std::min(p.heads[0] + p.heads[1], THREADS / units);
  if (heads == 0) return;
  check(rows <= INT32_MAX, Code::Unsupported, "rope: ", rows, " rows; CUDA allows ", INT32_MAX, " blocks");
  launch(rotate_rows<T, N>, Launch{dim3(unsigned(rows)), dim3(unsigned(units), unsigned(heads))}, p);
}

}  // namespace

void cuda::rope(View qy, View ky, View q, View k, View positions, View table, int64_t head_dim, bool interleaved,
                bool inverse) {
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rotary = table.cols(), pairs = rotary / 2;
    const Rotation<T> p{{qy.as<T>(), ky.as<T>()},
                        {q.as<T>(), k.as<T>()},
                        {int(q.cols() / head_dim), k ? int(k.cols() / head_dim) : 0},
                        Indices(positions, table.rows(), IndexKind::Position),
                        Parameter<T>(table),
                        rotary,
                        head_dim,
                        interleaved,
                        Arithmetic<T>(inverse ? -1 : 1)};
    constexpr int N = PACK<T>;
    // Every unit is whole, of one kind, and begins at a multiple of 16 bytes.
    const bool packs = pairs % N == 0 && rows_in_packs<T>(head_dim / 2, qy, ky, q, k, table) && head_dim % 2 == 0;
    if (packs) rotate<T, N>(p, q.rows());
    else rotate<T, 1>(p, q.rows());
  });
}

}  // namespace lowrank
