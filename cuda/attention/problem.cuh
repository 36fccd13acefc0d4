#pragma once
// What the kernels of attention share: the sequences, which pairs of query and key count, and their scores. Scores are
// in units of log 2, so that probabilities are exp2: x of core/kernels.h times log2(e).

#include <algorithm>

#include "cuda/indices.cuh"
#include "cuda/philox.cuh"
#include "cuda/ptx.cuh"
#include "cuda/reduce.cuh"

namespace lowrank::cuda {

constexpr double LOG2_E = 1.4426950408889634, LN_2 = 0.6931471805599453;

template <typename A>
__device__ constexpr A infinity() {
  return A(INFINITY);
}

// x log2(e) of a product q k. The slope is that of x by scale q k: 1 without a soft-cap.
template <typename A>
struct Scores {
  __device__ A operator()(A product, int distance, A& slope) const {
    A x = product * scale;
    slope = 1;
    if (softcap != 0) {
      const A bend = tanh(product * inner);
      x = softcap * bend;
      slope = 1 - bend * bend;
    }
    return bias ? x + A(LOG2_E) * bias[distance] : x;
  }

  A scale;           // times log2(e)
  A softcap, inner;  // times log2(e); scale / softcap
  const A* bias;     // of this head at distance key - query = 0, or null
};

// bytes[i] without an array in memory.
__device__ inline int byte_of(const MaskBytes& bytes, int i) {
  const uint32_t low = i < 4 ? bytes.words[0] : bytes.words[1], high = i < 12 ? bytes.words[2] : bytes.words[3];
  return int((i < 8 ? low : high) >> (i % 4 * 8) & 0xff);
}

// One sequence: rows [start, start + length) of the queries, [key_start, key_start + keys) of the keys.
struct Sequence {
  int64_t start, key_start;
  int length, keys;
};

struct Range {
  // As seen from `origin`.
  __device__ Range from(int origin) const { return {begin - origin, end - origin}; }
  int begin, end;
};

template <typename A>
struct Problem {
  __device__ Sequence sequence(int64_t i) const {
    const int start = starts[i], key_start = key_starts[i];
    const int length = starts.at(i + 1, start) - start, keys = key_starts.at(i + 1, key_start) - key_start;
    if (!bias) return {start, key_start, length, keys};
    return {start, key_start, min(length, int(reach) + 1), min(keys, int(reach) + 1)};  // of what the table has
  }
  __device__ bool allows(int query, int key) const {
    return (!causal || key <= query) && (!window || (query - key < window && key - query < window));
  }
  // Whether each of queries [q0, q1) sees each of keys [k0, k1).
  __device__ bool allows_all(int q0, int q1, int k0, int k1) const {
    return (!causal || k1 - 1 <= q0) && (!window || (q1 - 1 - k0 < window && k1 - 1 - q0 < window));
  }
  // The keys that one of queries [q0, q1) sees, and the queries that see one of keys [k0, k1).
  __device__ Range keys_of(const Sequence& s, int q0, int q1) const {
    return {window ? max(0, q0 - window + 1) : 0, min(s.keys, causal ? q1 : window ? q1 - 1 + window : s.keys)};
  }
  __device__ Range queries_of(const Sequence& s, int k0, int k1) const {
    return {causal ? k0 : window ? max(0, k0 - window + 1) : 0, window ? min(s.length, k1 - 1 + window) : s.length};
  }
  __device__ Scores<A> scores(int head) const {
    return {scale, softcap, inner, bias ? bias + int64_t(head) * (2 * reach + 1) + reach : nullptr};
  }
  // Where a row of one head begins, of queries or of keys; and from one row to the next.
  __device__ int64_t query_at(int64_t token, int head) const { return (token * heads + head) * dim; }
  __device__ int64_t key_at(int64_t token, int kv_head) const { return (token * kv_heads + kv_head) * dim; }
  __device__ int64_t query_stride() const { return int64_t(heads) * dim; }
  __device__ int64_t key_stride() const { return int64_t(kv_heads) * dim; }
  __device__ int kv_head_of(int head) const { return head / (heads / kv_heads); }
  __device__ bool drops() const { return dropout.keep < 256; }
  // The dropout row of a sequence's query 0.
  __device__ uint32_t first_row(int64_t sequence, int head) const {
    return uint32_t(((dropout.row_offset + sequence) * heads + head) * row_stride);
  }

  Indices starts, key_starts;
  const A* bias;
  A scale, softcap, inner;  // as in Scores
  A factor;                 // scale alone
  int64_t tokens, keys, reach, row_stride;
  int sequences;
  int heads, kv_heads, dim, window;
  bool causal;
  Dropout dropout;
  A multiplier;  // of what dropout keeps
};

// Where sequences of `tokens` begin and the last one ends, in order.
inline Indices starts_of(const View& seqlens, int64_t tokens, IndexKind kind) {
  return Indices(seqlens, tokens + 1, kind).except(int32_t(tokens));
}

template <typename A>
Problem<A> problem_of(const View& q, const View& k, const View& cu_seqlens, const View& key_seqlens, const View& bias,
                      const AttentionShape& s, const Dropout& dropout) {
  constexpr int64_t FARTHEST = 1 << 30;
  Problem<A> p;
  p.starts = starts_of(cu_seqlens, q.dims[0], IndexKind::Sequence);
  p.key_starts = key_seqlens ? starts_of(key_seqlens, k.dims[0], IndexKind::KeySequence) : p.starts;
  p.bias = bias.as<A>(), p.reach = bias ? bias.cols() / 2 : 0;
  p.scale = A(s.scale * LOG2_E), p.factor = A(s.scale);
  p.softcap = A(s.softcap * LOG2_E), p.inner = s.softcap > 0 ? A(s.scale / s.softcap) : A(0);
  p.sequences = int(cu_seqlens.size() - 1), p.tokens = q.dims[0], p.keys = k.dims[0], p.row_stride = s.row_stride;
  p.heads = s.heads, p.kv_heads = s.kv_heads, p.dim = s.head_dim;
  p.window = int(std::min(s.window, FARTHEST)), p.causal = s.causal != 0;
  p.dropout = dropout, p.multiplier = A(dropout.multiplier());
  return p;
}

// What a block works on: the rows from `first` on of a sequence. Blocks of one head follow each other, so that they
// meet its keys in the cache; under a causal mask those with the most keys come first within a sequence.
struct Work {
  int sequence, head, first;
};

// Of packed sequences cut into tiles of `Tile` rows. Sequence i owns the places from starts[i] / Tile + i on, which are
// as many as its tiles or one more: so the grid follows from what is packed, not from the longest sequence, and a block
// finds its sequence without a table. Places without a tile begin past the sequence's end.
template <int Tile>
__device__ inline Work work_of_block(const Indices& all, int sequences, int heads, bool backwards) {
  const int32_t* starts = all.data;  // wrong ones lead to some sequence, which looks at its own
  const unsigned places = gridDim.x / unsigned(heads);
  const int head = int(blockIdx.x / places), place = int(blockIdx.x % places);
  int before = 0;  // sequences that begin at this place or earlier
  for (int i = int(threadIdx.x % 32); i < sequences; i += 32) before += starts[i] / Tile + i <= place;
  const int sequence =
      ptx::shuffle(max(reduce_warp(before, Sum{}) - 1, 0), 0);  // known to be the same in the whole warp
  const int start = starts[sequence], tiles = (starts[sequence + 1] - start + Tile - 1) / Tile;
  const int tile = max(place - (start / Tile + sequence), 0);
  return {sequence, head, (backwards && tile < tiles ? tiles - 1 - tile : tile) * Tile};
}

// Of the backward pass, made once: [heads, tokens] each. Delta lies behind norm, a multiple of 16 bytes from it.
template <typename A>
struct RowSums {
  A* norm;   // lse log2(e), +inf for queries that no key answers
  A* delta;  // dy o
};
// What they are made of.
template <typename T>
struct RowInputs {
  const T *dy, *o;
  const Arithmetic<T>* lse;
};

// Norm and delta of one pair of query and head, by a warp; its first lane has them.
template <typename T>
__device__ Pack<Arithmetic<T>, 2> row_sums_of(const RowInputs<T>& in, int64_t pair, int dim) {
  using A = Arithmetic<T>;
  A sum = 0;
  for (int c = int(threadIdx.x % 32); c < dim; c += 32) sum += A(in.dy[pair * dim + c]) * A(in.o[pair * dim + c]);
  sum = reduce_warp(sum, Sum{});
  return {{in.lse[pair] == -infinity<A>() ? infinity<A>() : A(LOG2_E) * in.lse[pair], sum}};
}

template <typename T>
__device__ void sum_row(const RowSums<Arithmetic<T>>& rows, const RowInputs<T>& in, int64_t tokens, int heads, int dim,
                        int64_t token, int head) {
  const int64_t at = head * tokens + token;
  const auto sums = row_sums_of(in, token * heads + head, dim);
  if (threadIdx.x % 32 != 0) return;
  rows.norm[at] = sums.lane[0];
  rows.delta[at] = sums.lane[1];
}

// Those of queries [first, first + Count) of a block that is the only one to have them: for itself, and for what is
// launched after it.
template <int Count, typename T>
__device__ void sum_rows(const RowSums<Arithmetic<T>>& rows, const RowInputs<T>& in, const Problem<Arithmetic<T>>& p,
                         const Sequence& s, int head, int first) {
  const int end = min(first + Count, s.length);
  for (int i = first + int(threadIdx.x / 32); i < end; i += int(blockDim.x / 32))
    sum_row(rows, in, p.tokens, p.heads, p.dim, s.start + i, head);
  __syncthreads();
}

// Of the host: the blocks of work_of_block, for `rows` packed rows.
inline dim3 blocks_of(int64_t rows, int tile, int heads, int64_t sequences) {
  const int64_t blocks = rows == 0 ? 0 : (rows / tile + sequences) * heads;
  check(blocks <= INT32_MAX, Code::Unsupported, "attention: ", blocks, " blocks; CUDA allows ", INT32_MAX);
  return dim3(unsigned(blocks));
}

// What the kernels of the backward pass read.
template <typename T>
struct Operands {
  const T *q, *k, *v, *dy;
};

struct Inputs {
  View q, k, v;
};
struct Outputs {
  View o, lse;
};
struct Backward {
  View dq, dk, dv, dy;
};

// Each in its own file.
template <typename T>
void attention_simt(const Outputs& out, const Inputs& in, const Problem<Arithmetic<T>>& p);
template <typename T>
void attention_backward_simt(const Backward& g, const Inputs& in, const RowSums<Arithmetic<T>>& rows,
                             const RowInputs<T>& made_of, const Problem<Arithmetic<T>>& p);

// On tensor cores: T is bf16 or f16, head sizes are multiples of 8, all begins at multiples of 16 bytes.
template <typename T>
void attention_mma(const Outputs& out, const Inputs& in, const Problem<float>& p);
// The same on Hopper, for head sizes 64 and 128, with at least one query and one key.
template <typename T>
void attention_hopper(const Outputs& out, const Inputs& in, const Problem<float>& p);
template <typename T>
void key_gradients_on_tensor_cores(const Backward& g, const Inputs& in, const RowSums<float>& rows,
                                   const Problem<float>& p);
template <typename T>
void query_gradients_on_tensor_cores(const Backward& g, const Inputs& in, const RowSums<float>& rows,
                                     const RowInputs<T>& made_of, const Problem<float>& p);
// The same on Hopper, as attention_hopper.
template <typename T>
void key_gradients_hopper(const Backward& g, const Inputs& in, const RowSums<float>& rows, const Problem<float>& p);
template <typename T>
void query_gradients_hopper(const Backward& g, const Inputs& in, const RowSums<float>& rows,
                            const RowInputs<T>& made_of, const Problem<float>& p);
// All three at once, head size 64, of sequences of up to SHORT tokens that attend to themselves, where no head shares
// its keys.
constexpr int64_t SHORT = 128;
template <typename T>
void short_gradients_hopper(const Backward& g, const Inputs& in, const RowSums<float>& rows,
                            const RowInputs<T>& made_of, const Problem<float>& p);

}  // namespace lowrank::cuda
