// Cuts attention into tasks for the tiled code of cpu/vector.
//
// Forward: one task per sequence, head and 256 queries. Backward: one task per sequence and key-value head where that
// makes enough of them; else one per block of keys (dk, dv) and then one per block of queries (dq), which computes
// seven products instead of five. Both ways add the same numbers in the same order, so the choice may look at the
// number of threads.

#include <algorithm>

#include "cpu/attention.h"
#include "cpu/half.h"
#include "cpu/philox.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

using namespace cpu;

constexpr int64_t MOST_WINDOW = int64_t(1) << 32;  // no sequence is as long

// A stretch of one sequence.
struct Stretch {
  int32_t sequence, begin, end;
};

// Every sequence cut into stretches of at most `size` tokens; in the calling thread's shared scratch.
int64_t cut(const View& cu_seqlens, int64_t size, Stretch*& list) {
  const int32_t* starts = cu_seqlens.as<int32_t>();
  const int64_t sequences = cu_seqlens.size() - 1;
  int64_t count = 0;
  for (int64_t s = 0; s < sequences; ++s) count += ceil_div(starts[s + 1] - starts[s], size);
  list = static_cast<Stretch*>(scratch(7, size_t(count) * sizeof(Stretch)));
  int64_t at = 0;
  for (int64_t s = 0; s < sequences; ++s)
    for (int64_t begin = 0, length = starts[s + 1] - starts[s]; begin < length; begin += size)
      list[at++] = {int32_t(s), int32_t(begin), int32_t(begin + size < length ? begin + size : length)};
  return count;
}

// A call with its dropout's key, to which tasks point.
struct Call : AttentionCall {
  explicit Call(const AttentionCall& call) : AttentionCall(call), key(dropout_key(call.dropout)) {}
  const View& keys() const { return key_seqlens ? key_seqlens : cu_seqlens; }

  DropoutKey key;
};

float* at(const View& x, int64_t offset) { return x ? x.as<float>() + offset : nullptr; }

// All of `sequence` under query heads [head, head + heads), which share kv_head.
AttentionTask task_of(const Call& c, int64_t sequence, int64_t head, int64_t heads) {
  const AttentionShape& s = c.shape;
  const int32_t *starts = c.cu_seqlens.as<int32_t>() + sequence, *key_starts = c.keys().as<int32_t>() + sequence;
  const int64_t dim = s.head_dim, kv_head = head / (s.heads / s.kv_heads);
  const int64_t query = (starts[0] * int64_t(s.heads) + head) * dim;
  const int64_t key = (key_starts[0] * int64_t(s.kv_heads) + kv_head) * dim;
  AttentionTask t{};
  t.q = at(c.q, query), t.dy = at(c.dy, query), t.o_in = t.o = at(c.o, query), t.dq = at(c.dq, query);
  t.k = at(c.k, key), t.v = at(c.v, key), t.dk = at(c.dk, key), t.dv = at(c.dv, key);
  t.lse = at(c.lse, starts[0] * int64_t(s.heads) + head);
  t.q_stride = s.heads * dim, t.kv_stride = s.kv_heads * dim, t.lse_stride = s.heads;
  t.query_end = starts[1] - starts[0];
  t.keys = t.key_end = key_starts[1] - key_starts[0];
  t.dim = dim, t.heads = heads;
  t.more = head + heads < s.heads;
  t.scale = float(s.scale), t.softcap = float(s.softcap);
  t.bias = at(c.bias, head * c.bias.cols() + c.bias.cols() / 2), t.bias_stride = c.bias.cols();
  t.window = std::min(s.window, MOST_WINDOW), t.causal = s.causal != 0;
  t.dropout = c.dropout.active() ? &c.key : nullptr;
  t.multiplier = float(c.dropout.multiplier());
  t.row = uint32_t(((c.dropout.row_offset + sequence) * s.heads + head) * s.row_stride);
  t.row_stride = uint32_t(s.row_stride);
  return t;
}

// Tensors of a call in bf16: a task works on f32 copies of its own rows, [tokens, its heads · dim], in the thread's
// scratch, and what it makes is rounded once, when it is done. Pointers are to the first token, copied or not.
class Copies {
 public:
  Copies(const Call& c, const AttentionTask& t)
      : task(t), c_(c), query_(t.q - c.q.as<float>()), key_(t.k - c.k.as<float>()), width_(t.heads * t.dim) {
    const int64_t queries = (t.query_end - t.query_begin) * width_, keys = (t.key_end - t.key_begin) * t.dim;
    next_ = static_cast<float*>(scratch(2, size_t(4 * queries + 4 * keys) * sizeof(float)));
    task.q = queries_of(c.q), task.dy = queries_of(c.dy);
    task.o = queries_of(c.o, c.dy.data != nullptr), task.o_in = task.o;
    task.dq = t.dq ? queries_of(c.dq, false) : nullptr;
    task.k = keys_of(c.k), task.v = keys_of(c.v);
    task.dk = t.dk ? keys_of(c.dk, false) : nullptr;
    task.dv = t.dv ? keys_of(c.dv, false) : nullptr;
    task.q_stride = width_, task.kv_stride = t.dim, task.more = false;
  }

  void round_output() const { round_queries(c_.o, task.o); }
  void round_gradients() const {
    round_queries(c_.dq, task.dq);
    round_keys(c_.dk, task.dk);
    round_keys(c_.dv, task.dv);
  }

  AttentionTask task;

 private:
  int64_t query_at(int64_t row) const { return query_ + row * c_.q.cols(); }
  int64_t key_at(int64_t row) const { return key_ + row * c_.k.cols(); }

  float* queries_of(const View& view, bool reads = true) {
    if (!view) return nullptr;
    float* own = next_ - task.query_begin * width_;
    for (int64_t i = task.query_begin; reads && i < task.query_end; ++i)
      read(view, query_at(i), width_, own + i * width_);
    next_ += (task.query_end - task.query_begin) * width_;
    return own;
  }
  float* keys_of(const View& view, bool reads = true) {
    float* own = next_ - task.key_begin * task.dim;
    for (int64_t i = task.key_begin; reads && i < task.key_end; ++i)
      read(view, key_at(i), task.dim, own + i * task.dim);
    next_ += (task.key_end - task.key_begin) * task.dim;
    return own;
  }
  void round_queries(const View& view, const float* own) const {
    for (int64_t i = task.query_begin; own && i < task.query_end; ++i)
      round(view, query_at(i), width_, own + i * width_);
  }
  void round_keys(const View& view, const float* own) const {
    for (int64_t i = task.key_begin; own && i < task.key_end; ++i) round(view, key_at(i), task.dim, own + i * task.dim);
  }

  const Call& c_;
  const int64_t query_, key_, width_;
  float* next_;
};

// The kernel over a task of f32 tensors, with its scratch.
void run(AttentionTask t, void (*kernel)(const AttentionTask&), int64_t floats) {
  t.scratch = static_cast<float*>(scratch(6, size_t(floats) * sizeof(float)));
  kernel(t);
}

void run_forward(const Call& c, AttentionTask t) {
  const RowKernels& rows = row_kernels();
  if (!is_bf16(c.q)) return run(t, rows.attention, rows.attention_scratch(t.dim));
  if (t.causal) t.key_end = std::min(t.keys, t.query_end);
  const Copies copies(c, t);
  run(copies.task, rows.attention, rows.attention_scratch(t.dim));
  copies.round_output();
}

void run_backward(const Call& c, const AttentionTask& t) {
  const RowKernels& rows = row_kernels();
  if (!is_bf16(c.q)) return run(t, rows.attention_backward, rows.attention_backward_scratch(t.dim));
  const Copies copies(c, t);
  run(copies.task, rows.attention_backward, rows.attention_backward_scratch(t.dim));
  copies.round_gradients();
}

// Blocks of keys, then blocks of queries.
void backward_in_two(const Call& c) {
  const int64_t group = c.shape.heads / c.shape.kv_heads;
  Stretch* list;
  if (c.dk || c.dv) {
    const int64_t count = cut(c.keys(), ATTENTION_KEYS, list);
    parallel_for(count * c.shape.kv_heads, [&](int64_t piece) {
      const Stretch& keys = list[piece / c.shape.kv_heads];
      AttentionTask t = task_of(c, keys.sequence, piece % c.shape.kv_heads * group, group);
      t.key_begin = keys.begin, t.key_end = keys.end;
      t.dq = nullptr;
      run_backward(c, t);
    });
  }
  if (!c.dq) return;
  const int64_t count = cut(c.cu_seqlens, ATTENTION_BACKWARD_QUERIES, list);
  parallel_for(count * c.shape.heads, [&](int64_t piece) {
    const Stretch& queries = list[piece / c.shape.heads];
    AttentionTask t = task_of(c, queries.sequence, piece % c.shape.heads, 1);
    t.query_begin = queries.begin, t.query_end = queries.end;
    t.dk = t.dv = nullptr;
    run_backward(c, t);
  });
}

}  // namespace

void cpu::attention_tiled(const AttentionCall& call) {
  const Call c(call);
  Stretch* list;
  const int64_t count = cut(c.cu_seqlens, ATTENTION_QUERIES, list);
  parallel_for(count * c.shape.heads, [&](int64_t piece) {
    const Stretch& queries = list[piece / c.shape.heads];
    AttentionTask t = task_of(c, queries.sequence, piece % c.shape.heads, 1);
    t.query_begin = queries.begin, t.query_end = queries.end;
    run_forward(c, t);
  });
}

void cpu::attention_backward_tiled(const AttentionCall& call) {
  const Call c(call);
  const AttentionShape& s = c.shape;
  const int64_t whole = (c.cu_seqlens.size() - 1) * s.kv_heads, group = s.heads / s.kv_heads;
  const int64_t longest = std::max(s.max_length, s.max_keys);
  if (whole < 4 * threads() && longest > ATTENTION_KEYS && threads() > 1) return backward_in_two(c);
  parallel_for(whole, [&](int64_t piece) {
    run_backward(c, task_of(c, piece / s.kv_heads, piece % s.kv_heads * group, group));
  });
}

// Pieces of a few sequences of one head have sums of their own, which are added in order.
void cpu::attention_bias_backward_tiled(const AttentionCall& call) {
  constexpr int64_t SEQUENCES = 4;
  const Call c(call);
  const int64_t heads = c.shape.heads, sequences = c.cu_seqlens.size() - 1, width = c.dbias.cols();
  const int64_t stretches = ceil_div(sequences, SEQUENCES);
  auto* sums = static_cast<float*>(scratch(7, size_t(stretches * heads * width) * sizeof(float)));
  parallel_for(stretches * heads, [&](int64_t piece) {
    float* row = sums + piece * width;
    std::fill(row, row + width, 0.0f);
    const int64_t first = piece / heads * SEQUENCES;
    for (int64_t s = first; s < std::min(first + SEQUENCES, sequences); ++s) {
      AttentionTask t = task_of(c, s, piece % heads, 1);
      t.scratch =
          static_cast<float*>(scratch(6, size_t(row_kernels().attention_backward_scratch(t.dim)) * sizeof(float)));
      if (is_bf16(c.q)) {
        Copies copies(c, t);
        row_kernels().attention_bias_backward(copies.task, row + width / 2);
        continue;
      }
      row_kernels().attention_bias_backward(t, row + width / 2);
    }
  });
  parallel_for(heads, [&](int64_t head) {
    float* total = c.dbias.as<float>() + head * width;
    std::fill(total, total + width, 0.0f);
    for (int64_t s = 0; s < stretches; ++s) row_kernels().add(total, total, sums + (s * heads + head) * width, width);
  });
}

}  // namespace lowrank
