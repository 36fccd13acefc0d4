// Attention of one query per row to keys and values in pages of a cache, of the query's type or bf16.
//
// A block takes 256 keys of one row under up to G query heads that share them, so that a cache is read once for G
// heads. A warp scores four keys at a time: lanes own E neighbouring columns, sums over a key's columns are shuffles.
// Online softmax in f32 (f64 for f64); the warps of a block meet in shared memory, the blocks of a row in
// scratch, both in fixed order. One pass over the caches. Bound by bandwidth: the target is bytes of the caches /
// peak.

#include "cuda/attention/problem.cuh"
#include "cuda/indices.cuh"

namespace lowrank {
namespace {

using namespace cuda;

constexpr int WARPS = 4, THREADS = 32 * WARPS, AT_ONCE = 4, SPLIT = 256;

template <typename C>
struct Cache {
  // Where key or value `key` of a query's row begins, in elements / stride.
  __device__ int64_t at(int64_t row, int key) const {
    const int of = int(unsigned(key) / unsigned(page));
    return int64_t(pages[row * most + of]) * page + (key - of * page);
  }

  const C *k, *v;
  Indices lengths, pages;
  int64_t most;  // pages of a row
  int page;      // keys of a page
};

// One block's share of a head: maximum, sum and weighted values, which are not yet divided.
template <typename A>
struct Partial {
  A *maximum, *sum, *o;  // [sequence, head, split], o [.., dim]
};

// Columns lane * E to lane * E + E of a row.
template <int E, typename A, typename T>
__device__ void load_columns(A (&x)[E], const T* row, int dim, bool packed) {
  constexpr int N = E < PACK<T> ? E : PACK<T>;
  const int first = int(threadIdx.x % 32) * E;
#pragma unroll
  for (int i = 0; i < E; i += N) {
    Pack<T, N> pack{};
    if (packed && first + i < dim) pack = load<N>(row + first + i);
#pragma unroll
    for (int e = 0; e < N; ++e)
      x[i + e] = packed ? A(pack.lane[e]) : first + i + e < dim ? A(row[first + i + e]) : A(0);
  }
}

// The keys that a query at the end of `length` sees.
template <typename A>
__device__ int first_key(const Problem<A>& p, int length) {
  return p.window ? max(0, length - p.window) : 0;
}

template <typename A, int E, int G>
struct Heads {
  A maximum[G], sum[G], o[G][E];
};

// Takes in keys [key, key + AT_ONCE) below `end`.
template <typename C, typename A, int E, int G>
__device__ void attend(Heads<A, E, G>& heads, const A (&q)[G][E], const Cache<C>& cache, int64_t row, int64_t column,
                       int64_t stride, const Scores<A> (&score)[G], int dim, bool packed, int key, int end, int query) {
  A keys[AT_ONCE][E], values[AT_ONCE][E];
#pragma unroll
  for (int u = 0; u < AT_ONCE; ++u) {
    const int64_t from = cache.at(row, min(key + u, end - 1)) * stride + column;
    load_columns(keys[u], cache.k + from, dim, packed);
    load_columns(values[u], cache.v + from, dim, packed);
  }
#pragma unroll
  for (int g = 0; g < G; ++g) {
    A x[AT_ONCE], most = heads.maximum[g], slope;
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      A product = 0;
#pragma unroll
      for (int e = 0; e < E; ++e) product += q[g][e] * keys[u][e];
      product = reduce_warp(product, Sum{});
      x[u] = key + u < end ? score[g](product, key + u - query, slope) : -infinity<A>();
      most = Maximum{}(most, x[u]);
    }
    const A base = most == -infinity<A>() ? A(0) : most, shrink = exp2(heads.maximum[g] - base);
    heads.maximum[g] = most;
    heads.sum[g] *= shrink;
#pragma unroll
    for (int e = 0; e < E; ++e) heads.o[g][e] *= shrink;
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const A weight = exp2(x[u] - base);
      heads.sum[g] += weight;
#pragma unroll
      for (int e = 0; e < E; ++e) heads.o[g][e] += weight * values[u][e];
    }
  }
}

// maximum, sum and column c of o over `count` parts, in order; element(i) gives those of part i.
template <typename A, typename F>
__device__ void combine(A& maximum, A& sum, A& o, int count, F&& element) {
  maximum = -infinity<A>(), sum = 0, o = 0;
  for (int i = 0; i < count; ++i) {
    A m, s, x;
    element(i, m, s, x);
    const A most = Maximum{}(maximum, m), base = most == -infinity<A>() ? A(0) : most;
    const A before = exp2(maximum - base), after = exp2(m - base);
    sum = sum * before + s * after;
    o = o * before + x * after;
    maximum = most;
  }
}

template <typename T, typename C, int E, int G>
__global__ void __launch_bounds__(THREADS, 1)
    decode(T* out, const Partial<Arithmetic<T>> partial, const T* q, const Cache<C> cache,
           const Problem<Arithmetic<T>> p, int splits, bool packed) {
  using A = Arithmetic<T>;
  SHARED(sums, Array<A, WARPS, G, 2>);
  SHARED(values, Array<A, WARPS, G, 32 * E>);
  const int group = p.heads / p.kv_heads, chunks = (group + G - 1) / G;
  const int split = int(blockIdx.x % unsigned(splits)), pair = int(blockIdx.x / unsigned(splits));
  const int kv_head = pair / chunks % p.kv_heads, chunk = pair % chunks;
  const int64_t sequence = pair / chunks / p.kv_heads;
  const int head = kv_head * group + chunk * G, mine = min(G, group - chunk * G);
  const int length = cache.lengths[sequence], begin = max(split * SPLIT, first_key(p, length));
  const int end = min((split + 1) * SPLIT, length);
  if (begin >= end && splits > 1) return;
  const int warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32);
  const int64_t stride = int64_t(p.kv_heads) * p.dim, column = int64_t(kv_head) * p.dim;
  A rows[G][E];
  Scores<A> score[G];
  Heads<A, E, G> heads = {};
#pragma unroll
  for (int g = 0; g < G; ++g) {
    const int of = head + min(g, mine - 1);
    load_columns(rows[g], q + (sequence * p.heads + of) * p.dim, p.dim, packed);
    score[g] = p.scores(of);
    heads.maximum[g] = -infinity<A>();
  }
  for (int key = begin + warp * AT_ONCE; key < end; key += WARPS * AT_ONCE)
    attend(heads, rows, cache, sequence, column, stride, score, p.dim, packed, key, end, length - 1);
#pragma unroll
  for (int g = 0; g < G; ++g) {
    if (lane == 0) sums[warp][g][0] = heads.maximum[g], sums[warp][g][1] = heads.sum[g];
#pragma unroll
    for (int e = 0; e < E; ++e) values[warp][g][lane * E + e] = heads.o[g][e];
  }
  __syncthreads();
  for (int i = int(threadIdx.x); i < mine * p.dim; i += THREADS) {
    const int g = i / p.dim, c = i % p.dim;
    A maximum, sum, o;
    combine(maximum, sum, o, WARPS,
            [&](int w, A& m, A& s, A& x) { m = sums[w][g][0], s = sums[w][g][1], x = values[w][g][c]; });
    const int64_t row = sequence * p.heads + head + g;
    if (splits == 1) {
      out[row * p.dim + c] = T(sum == 0 ? A(0) : o / sum);
      continue;
    }
    const int64_t at = row * splits + split;
    partial.o[at * p.dim + c] = o;
    if (c == 0) partial.maximum[at] = maximum, partial.sum[at] = sum;
  }
}

template <typename T>
__global__ void combine_splits(T* out, const Partial<Arithmetic<T>> partial, const Indices lengths,
                               const Problem<Arithmetic<T>> p, int splits) {
  using A = Arithmetic<T>;
  const int64_t row = blockIdx.x, sequence = row / p.heads;
  const int length = lengths[sequence], first = first_key(p, length) / SPLIT;
  const int count = max(0, (length + SPLIT - 1) / SPLIT - first);
  for (int c = int(threadIdx.x); c < p.dim; c += THREADS) {
    A maximum, sum, o;
    combine(maximum, sum, o, count, [&](int i, A& m, A& s, A& x) {
      const int64_t at = row * splits + first + i;
      m = partial.maximum[at], s = partial.sum[at], x = partial.o[at * p.dim + c];
    });
    out[row * p.dim + c] = T(sum == 0 ? A(0) : o / sum);
  }
}

template <typename T, typename C, int E, int G>
void run(const View& o, const View& q, const Cache<C>& cache, const Problem<Arithmetic<T>>& p, bool packed) {
  using A = Arithmetic<T>;
  const int64_t sequences = q.dims[0], splits = std::max<int64_t>(1, ceil_div(cache.most * cache.page, SPLIT));
  const int64_t rows = sequences * p.heads, parts = splits > 1 ? rows * splits : 0;
  Scratch sums(Owner::Decode);
  A* memory = parts ? sums.take<A>(parts * (p.dim + 2)) : nullptr;
  const Partial<A> partial{memory, memory + parts, memory + 2 * parts};
  const int64_t blocks = sequences * p.kv_heads * ceil_div(p.heads / p.kv_heads, G) * splits;
  launch(decode<T, C, E, G>, blocks, THREADS, o.as<T>(), partial, q.as<T>(), cache, p, int(splits), packed);
  if (splits > 1) launch(combine_splits<T>, rows, THREADS, o.as<T>(), partial, cache.lengths, p, int(splits));
}

template <typename T, typename C>
void decode_rows(const View& o, const View& q, const View& k_cache, const View& v_cache, const View& lengths,
                 const View& pages, const Problem<Arithmetic<T>>& p) {
  const int64_t page = k_cache.dims[1], most = pages.dims[1];
  const Cache<C> cache{k_cache.as<C>(),
                       v_cache.as<C>(),
                       Indices(lengths, most * page + 1, IndexKind::Length),
                       Indices(pages, k_cache.dims[0], IndexKind::Page),
                       most,
                       int(page)};
  const auto with = [&](auto columns) {
    constexpr int E = decltype(columns)::value;
    const bool packed = p.dim % E == 0 && aligned(q) && aligned(k_cache) && aligned(v_cache);
    constexpr int G = sizeof(T) == 8 ? 1 : 4;  // more of f64 would not fit into registers
    if (p.heads == p.kv_heads) run<T, C, E, 1>(o, q, cache, p, packed);
    else run<T, C, E, G>(o, q, cache, p, packed);
  };
  if (p.dim <= 64) with(std::integral_constant<int, 2>{});
  else if (p.dim <= 128) with(std::integral_constant<int, 4>{});
  else with(std::integral_constant<int, 8>{});
}

}  // namespace

void cuda::attention_decode(View o, View q, View k_cache, View v_cache, View lengths, View pages, View bias,
                            AttentionShape shape) {
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const auto p = problem_of<Arithmetic<T>>(q, k_cache, lengths, View{}, bias, shape, Dropout{});
    if (k_cache.dtype == q.dtype) return decode_rows<T, T>(o, q, k_cache, v_cache, lengths, pages, p);
    if constexpr (std::is_same_v<T, float>)
      decode_rows<float, __nv_bfloat16>(o, q, k_cache, v_cache, lengths, pages, p);
  });
}

}  // namespace lowrank
