// ids[N] = a token drawn from each row of logits [N, V]: temperature, top-k, top-p, by the whole numbers of
// core/sampling.h, so that the CPU draws the same.
//
// One block a row and no sort. In falling order of logits (equal ones by id), all three of top-k, nucleus and the draw
// ask for the first token where a running sum reaches a target: of ones, or of weights. A select finds its key by a
// radix descent of 8 bits a pass, over histograms of counts and weights in shared memory; eight copies, by lane, keep
// the few exponents of logits from colliding. Sums are integers, exact in any order. The first pass serves all selects,
// later ones touch few tokens. At most thirteen reads of the row, all but the first out of L2; with V = 128k, shared
// atomics in the first pass bound it, not bandwidth.

#include "core/sampling.h"
#include "cuda/philox.cuh"
#include "cuda/reduce.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 1024, WARPS = THREADS / 32, COPIES = 8, BINS = 256;

using Counter = unsigned long long;  // what atomicAdd takes

struct Histogram {
  Counter weight[BINS];
  unsigned count[BINS];
};

// Where a running sum reached its target: at the rank-th token of this key, from 1.
struct Found {
  uint32_t key;
  uint64_t rank;
  Counter weight_above;  // of all larger keys
};

struct State {
  Histogram copies[COPIES], first, now;
  Counter weight_above, count_above;
  int digit;
};

template <typename T>
struct Row {
  __device__ uint32_t key(int64_t i) const { return sampling::key_of(__float_as_uint(float(logits[i]))); }
  __device__ uint64_t weight(uint32_t key) const {
    if (key == largest) return sampling::WHOLE;
    const float top = __uint_as_float(sampling::bits_of(largest));
    return sampling::weight((top - __uint_as_float(sampling::bits_of(key))) * scale);
  }
  const T* logits;
  int64_t count;
  float scale;
  uint32_t largest;
};

// `to` = of the tokens whose key begins with `prefix`, by the next eight bits.
template <typename T>
__device__ void count_digits(State& state, Histogram& to, const Row<T>& row, uint32_t prefix, int shift) {
  for (int i = int(threadIdx.x); i < COPIES * BINS; i += THREADS) {
    state.copies[i / BINS].weight[i % BINS] = 0;
    state.copies[i / BINS].count[i % BINS] = 0;
  }
  __syncthreads();
  Histogram& mine = state.copies[threadIdx.x % COPIES];
  for (int64_t i = threadIdx.x; i < row.count; i += THREADS) {
    const uint32_t key = row.key(i);
    if (shift < 24 && key >> (shift + 8) != prefix) continue;
    const int digit = int(key >> shift & (BINS - 1));
    atomicAdd(&mine.count[digit], 1u);
    const Counter weight = row.weight(key);
    if (weight > 0) atomicAdd(&mine.weight[digit], weight);
  }
  __syncthreads();
  if (threadIdx.x < BINS) {
    Counter weight = 0;
    unsigned count = 0;
    for (int copy = 0; copy < COPIES; ++copy) {
      weight += state.copies[copy].weight[threadIdx.x];
      count += state.copies[copy].count[threadIdx.x];
    }
    to.weight[threadIdx.x] = weight;
    to.count[threadIdx.x] = count;
  }
  __syncthreads();
}

__device__ Counter sum_before(Counter value) {
  const Counter own = value;
  for (unsigned distance = 1; distance < 32; distance *= 2) {
    const Counter lower = ptx::shuffle_up(value, distance);
    if (threadIdx.x % 32 >= distance) value += lower;
  }
  return value - own;
}

// The first warp: the digit, from the largest down, at which the sum reaches the target. A lane has eight digits.
__device__ void find_digit(State& state, const Histogram& of, Counter target, bool by_weight) {
  constexpr int EACH = BINS / 32;
  const int top = BINS - 1 - int(threadIdx.x) * EACH;
  Counter weight = 0, count = 0;
  for (int k = 0; k < EACH; ++k) {
    weight += of.weight[top - k];
    count += of.count[top - k];
  }
  Counter weights = state.weight_above + sum_before(weight), counts = state.count_above + sum_before(count);
  __syncwarp();  // all have read what one of them writes
  if ((by_weight ? weights : counts) >= target) return;
  for (int k = 0; k < EACH; ++k) {
    const Counter more_weights = weights + of.weight[top - k], more_counts = counts + of.count[top - k];
    if ((by_weight ? more_weights : more_counts) >= target) {
      state.digit = top - k;
      state.weight_above = weights;
      state.count_above = counts;
      return;
    }
    weights = more_weights;
    counts = more_counts;
  }
}

template <typename T>
__device__ Found select(State& state, const Row<T>& row, Counter target, bool by_weight) {
  if (threadIdx.x == 0) state.weight_above = state.count_above = 0;
  uint32_t key = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    if (shift < 24) count_digits(state, state.now, row, key, shift);
    else __syncthreads();
    if (threadIdx.x < 32) find_digit(state, shift < 24 ? state.now : state.first, target, by_weight);
    __syncthreads();
    key = key << 8 | uint32_t(state.digit);
  }
  const Counter each = by_weight ? row.weight(key) : 1;
  const Counter left = target - (by_weight ? state.weight_above : state.count_above);
  const Found found = {key, (left + each - 1) / each, state.weight_above};
  __syncthreads();
  return found;
}

// The id of the rank-th token with this key. A warp owns a stretch of ids.
template <typename T>
__device__ void find_id(int32_t* id, const Row<T>& row, const Found& found) {
  SHARED(counts, Array<unsigned, WARPS>);
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  const int64_t stretch = ceil_div(row.count, WARPS), begin = warp * stretch;
  const int64_t end = min(begin + stretch, row.count);
  unsigned own = 0;
  for (int64_t i = begin; i < end; i += 32)
    own += unsigned(__popc(ptx::ballot(i + lane < end && row.key(i + lane) == found.key)));
  if (lane == 0) counts[warp] = own;
  __syncthreads();
  unsigned before = 0;
  for (int w = 0; w < warp; ++w) before += counts[w];
  if (found.rank <= before || found.rank > before + own) return;
  for (int64_t i = begin; i < end; i += 32) {
    const bool equal = i + lane < end && row.key(i + lane) == found.key;
    const uint32_t ballot = ptx::ballot(equal);
    if (equal && before + unsigned(__popc(ballot & ((1u << lane) - 1))) + 1 == found.rank) *id = int32_t(i + lane);
    before += unsigned(__popc(ballot));
  }
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    draw(int32_t* ids, const T* logits, int64_t count, float scale, double top_p, int64_t top_k, Dropout random) {
  SHARED(state, State);
  SHARED(largest, Array<uint32_t, WARPS>);
  Row<T> row = {logits + int64_t(blockIdx.x) * count, count, scale, 0};
  for (int64_t i = threadIdx.x; i < count; i += THREADS) row.largest = max(row.largest, row.key(i));
  row.largest = reduce_block<THREADS>(row.largest, largest, Maximum{});
  Found found = {row.largest, 1, 0};
  if (scale > 0) {  // else greedy
    count_digits(state, state.first, row, 0, 24);
    Counter total = 0;
    for (int bin = 0; bin < BINS; ++bin) total += state.first.weight[bin];
    if (top_k > 0 && top_k < count) {
      found = select(state, row, Counter(top_k), false);
      total = found.weight_above + found.rank * row.weight(found.key);
    }
    if (top_p < 1) {
      found = select(state, row, sampling::nucleus(total, top_p), true);
      total = found.weight_above + found.rank * row.weight(found.key);
    }
    const uint32_t word = mask_bytes(random, uint32_t(random.row_offset + blockIdx.x), 0).words[0];
    found = select(state, row, sampling::share(total, word) + 1, true);
  }
  find_id(ids + blockIdx.x, row, found);
}

}  // namespace

void cuda::sample(View ids, View logits, Sampling options) {
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    launch(draw<T>, logits.rows(), THREADS, ids.as<int32_t>(), logits.as<T>(), logits.cols(), options.scale(),
           options.top_p, options.top_k, options.random);
  });
}

}  // namespace lowrank
