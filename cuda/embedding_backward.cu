// dtable[V, D] = rows of dy[N, D] added up by id; all other rows 0.
//
// Tokens are sorted by id (stable, so each id's tokens stay in order): a radix sort of 8 bits a pass, two passes for up
// to 65,536 ids, each of three small launches over chunks of 256 tokens. Then a block owns 64 sorted tokens and a tile
// of columns and adds up run by run of equal ids; runs that cross blocks leave partial sums, which a last launch adds
// in order. Work is N D, whatever the number of ids, and however frequent one is; no atomics on floats, and the order
// of every sum depends on the ids alone. Sums are f32 (f64 for f64). One pass over dy, one over dtable for the zeros
// and one over the rows met. Bound by bandwidth: the target is (bytes(dy) + bytes(dtable)) / peak, plus ten launches.
// Up to 256 tokens (the rows that a classifier reads) are compared with each row of dtable instead: one launch.

#include "cuda/indices.cuh"

namespace lowrank {
namespace {

using namespace cuda;

// ---- the sort

constexpr int CHUNK = 256, DIGITS = 256;

__device__ int digit_of(int32_t id, int shift) { return (id >> shift) & (DIGITS - 1); }

// counts[chunk, digit]
__global__ void __launch_bounds__(CHUNK) count_digits(int32_t* counts, const Indices ids, int64_t n, int shift) {
  SHARED(count, Array<int32_t, DIGITS>);
  count[threadIdx.x] = 0;
  __syncthreads();
  const int64_t i = int64_t(blockIdx.x) * CHUNK + threadIdx.x;
  if (i < n) atomicAdd(&count[digit_of(ids[i], shift)], 1);
  __syncthreads();
  counts[int64_t(blockIdx.x) * DIGITS + threadIdx.x] = count[threadIdx.x];
}

// offsets[chunk, digit] = counts of smaller digits, and of this digit in earlier chunks. One block, one thread a digit.
__global__ void __launch_bounds__(DIGITS) scan_digits(int32_t* offsets, const int32_t* counts, int64_t chunks) {
  SHARED(total, Array<int32_t, DIGITS>);
  const int digit = int(threadIdx.x);
  int32_t own = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) own += counts[chunk * DIGITS + digit];
  total[digit] = own;
  for (int distance = 1; distance < DIGITS; distance *= 2) {
    __syncthreads();
    const int32_t sum = total[digit] + (digit >= distance ? total[digit - distance] : 0);
    __syncthreads();
    total[digit] = sum;
  }
  int32_t offset = total[digit] - own;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    offsets[chunk * DIGITS + digit] = offset;
    offset += counts[chunk * DIGITS + digit];
  }
}

// Without `tokens` these are 0, 1, 2, …
__global__ void __launch_bounds__(CHUNK) scatter(int32_t* ids_to, int32_t* tokens_to, const Indices ids,
                                                 const int32_t* tokens, const int32_t* offsets, int64_t n, int shift) {
  SHARED(digits, Array<int32_t, CHUNK>);
  const int64_t i = int64_t(blockIdx.x) * CHUNK + threadIdx.x;
  const int own = i < n ? digit_of(ids[i], shift) : -1;
  digits[threadIdx.x] = own;
  __syncthreads();
  if (i >= n) return;
  int32_t at = offsets[int64_t(blockIdx.x) * DIGITS + own];
  for (unsigned earlier = 0; earlier < threadIdx.x; ++earlier) at += digits[earlier] == own;
  ids_to[at] = ids[i];
  tokens_to[at] = tokens ? tokens[i] : int32_t(i);
}

struct Sorted {
  const int32_t* ids;
  const int32_t* tokens;
};

// The result lies in `space`.
Sorted sort_tokens(Scratch& space, const Indices& given, int64_t n, int64_t vocabulary) {
  const int64_t chunks = ceil_div(n, CHUNK);
  Scratch digits(Owner::Digits);
  auto* sides = space.take<int32_t>(4 * n);
  auto* counts = digits.take<int32_t>(2 * chunks * DIGITS);
  int32_t* offsets = counts + chunks * DIGITS;
  Sorted sorted = {nullptr, nullptr};
  Indices ids = given;
  for (int shift = 0; shift == 0 || (vocabulary - 1) >> shift; shift += 8) {
    int32_t* to = sides + (shift / 8 % 2) * 2 * n;
    launch(count_digits, chunks, CHUNK, counts, ids, n, shift);
    launch(scan_digits, 1, DIGITS, offsets, counts, chunks);
    launch(scatter, chunks, CHUNK, to, to + n, ids, sorted.tokens, offsets, n, shift);
    sorted = {to, to + n};
    ids.data = to;
  }
  return sorted;
}

// ---- the sums

constexpr int THREADS = 128, PIECE = 64, BATCH = 4, FEW = 256;
constexpr int64_t MOST_FEW_BLOCKS = 4096;

template <typename To, int N, typename A>
__device__ void put(To* to, const A (&sum)[N], int64_t left, bool packed) {
  if (packed) {
    Pack<To, N> pack;
    for (int k = 0; k < N; ++k) pack.lane[k] = To(sum[k]);
    store(to, pack);
  } else {
    for (int k = 0; k < N; ++k)
      if (k < left) to[k] = To(sum[k]);
  }
}

template <typename T, int N>
__device__ Pack<T, N> take(const T* from, int64_t left, bool packed) {
  if (packed) return load<N>(from);
  Pack<T, N> pack;
  for (int k = 0; k < N; ++k) pack.lane[k] = k < left ? from[k] : T(0.0f);
  return pack;
}

// partial[piece, 2, D]: of the run that came in from the piece before, and of the one that begins here and goes on.
template <typename P, typename T, int N>
__global__ void __launch_bounds__(THREADS) sum_runs(P* dtable, Arithmetic<T>* partial, const T* __restrict__ dy,
                                                    Sorted sorted, int64_t n, int64_t cols, bool packed) {
  using A = Arithmetic<T>;
  SHARED(ids, Array<int32_t, PIECE + 2>);  // with one neighbour on either side, -1 where there is none
  SHARED(tokens, Array<int32_t, PIECE>);
  const int64_t first = int64_t(blockIdx.x) * PIECE;
  const int count = int(min(n - first, int64_t(PIECE)));
  for (int i = int(threadIdx.x); i < PIECE + 2; i += THREADS) {
    const int64_t at = first + i - 1;
    ids[i] = at >= 0 && at < n ? sorted.ids[at] : -1;
    if (i < count) tokens[i] = sorted.tokens[first + i];
  }
  __syncthreads();
  const int64_t c = (int64_t(blockIdx.y) * THREADS + threadIdx.x) * N, left = cols - c;
  if (left <= 0) return;
  A* open = partial + int64_t(blockIdx.x) * 2 * cols + c;
  bool came_in = ids[0] == ids[1];
  A sum[N] = {};
  for (int begin = 0; begin < count; begin += BATCH) {
    Pack<T, N> row[BATCH];
#pragma unroll
    for (int b = 0; b < BATCH; ++b)
      if (begin + b < count) row[b] = take<T, N>(dy + int64_t(tokens[begin + b]) * cols + c, left, packed);
#pragma unroll
    for (int b = 0; b < BATCH; ++b) {
      const int i = begin + b;
      if (i >= count) break;
      for (int k = 0; k < N; ++k) sum[k] += A(row[b].lane[k]);
      const bool goes_on = ids[i + 2] == ids[i + 1], last = i == count - 1;
      if (goes_on && !last) continue;
      if (came_in || goes_on) put<A, N>(open + (came_in ? 0 : cols), sum, left, packed);
      else put<P, N>(dtable + int64_t(ids[i + 1]) * cols + c, sum, left, packed);
      came_in = false;
      for (int k = 0; k < N; ++k) sum[k] = 0;
    }
  }
}

// Runs that begin in a piece and end in a later one, by the piece where they begin.
template <typename P, typename A, int N>
__global__ void __launch_bounds__(THREADS)
    join_runs(P* dtable, const A* partial, Sorted sorted, int64_t n, int64_t cols, bool packed) {
  const int64_t first = int64_t(blockIdx.x) * PIECE, next = first + PIECE;
  const int64_t c = (int64_t(blockIdx.y) * THREADS + threadIdx.x) * N, left = cols - c;
  if (next >= n || left <= 0) return;
  const int32_t id = sorted.ids[next - 1];
  if (sorted.ids[next] != id || (first > 0 && sorted.ids[first - 1] == id)) return;
  int64_t end = n;  // first token of a larger id
  for (int64_t low = next; low < end;) {
    const int64_t middle = (low + end) / 2;
    if (sorted.ids[middle] == id) low = middle + 1;
    else end = middle;
  }
  const A* from = partial + int64_t(blockIdx.x) * 2 * cols + c;
  Pack<A, N> pack = take<A, N>(from + cols, left, packed);
  for (int64_t piece = blockIdx.x + 1; piece * PIECE < end; ++piece) {
    const Pack<A, N> more = take<A, N>(partial + piece * 2 * cols + c, left, packed);
    for (int k = 0; k < N; ++k) pack.lane[k] += more.lane[k];
  }
  put<P, N>(dtable + int64_t(id) * cols + c, pack.lane, left, packed);
}

// Few tokens: each row of dtable, of which a block has every so many-th, adds up those that have its id, in order.
template <typename P, typename T, int N>
__global__ void __launch_bounds__(THREADS)
    sum_few(P* dtable, const T* __restrict__ dy, const Indices given, int n, int64_t rows, int64_t cols, bool packed) {
  using A = Arithmetic<T>;
  SHARED(ids, Array<int32_t, FEW>);
  for (int i = int(threadIdx.x); i < n; i += THREADS) ids[i] = given[i];
  __syncthreads();
  const int64_t c = (int64_t(blockIdx.y) * THREADS + threadIdx.x) * N, left = cols - c;
  if (left <= 0) return;
  for (int64_t id = blockIdx.x; id < rows; id += gridDim.x) {
    A sum[N] = {};
    for (int i = 0; i < n; ++i) {
      if (ids[i] != id) continue;
      const Pack<T, N> row = take<T, N>(dy + int64_t(i) * cols + c, left, packed);
      for (int k = 0; k < N; ++k) sum[k] += A(row.lane[k]);
    }
    put<P, N>(dtable + id * cols + c, sum, left, packed);
  }
}

template <typename P, typename T>
void add_by_id(const View& dtable, const View& dy, const View& ids) {
  using A = Arithmetic<T>;
  constexpr int N = int(16 / sizeof(A));
  const int64_t n = ids.size(), cols = dtable.cols(), pieces = ceil_div(n, PIECE);
  const Indices given(ids, dtable.rows(), IndexKind::EmbeddingBackward);
  const bool packed = aligned(dtable) && aligned(dy) && cols % N == 0;
  const unsigned tiles = unsigned(ceil_div(cols, THREADS * N));
  if (n <= FEW)
    return launch(sum_few<P, T, N>,
                  Launch{dim3(unsigned(std::min(dtable.rows(), MOST_FEW_BLOCKS)), tiles), dim3(THREADS)},
                  dtable.as<P>(), dy.as<T>(), given, int(n), dtable.rows(), cols, packed);
  fill(dtable, 0);
  Scratch space(Owner::Sorted), runs(Owner::Runs);
  const Sorted sorted = sort_tokens(space, given, n, dtable.rows());
  auto* partial = runs.take<A>(pieces * 2 * cols);
  const Launch shape = {dim3(unsigned(pieces), tiles), dim3(THREADS)};
  launch(sum_runs<P, T, N>, shape, dtable.as<P>(), partial, dy.as<T>(), sorted, n, cols, packed);
  launch(join_runs<P, A, N>, shape, dtable.as<P>(), partial, sorted, n, cols, packed);
}

}  // namespace

void cuda::embedding_backward(View dtable, View dy, View ids) {
  check(ids.size() <= INT32_MAX, Code::Unsupported, "embedding: ", ids.size(), " tokens, at most ", INT32_MAX);
  if (dtable.size() == 0) return;
  if (ids.size() == 0) return fill(dtable, 0);
  dispatch(dy, [&](auto zero) {
    using T = decltype(zero);
    if (dtable.dtype == dy.dtype) add_by_id<T, T>(dtable, dy, ids);
    else if constexpr (sizeof(T) == 2) add_by_id<float, T>(dtable, dy, ids);
  });
}

}  // namespace lowrank
