#pragma once
// Activations stored as bf16 are computed in f32. Ops read and write them through f32 copies of a row or of a short
// stretch, which stay in a thread's first cache; of f32 and f64 tensors the copy is the tensor's own memory.
#include <algorithm>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core/kernels.h"
#include "cpu/parallel.h"
#include "cpu/vector/rows.h"

namespace lowrank::cpu {

constexpr int64_t STRETCH = 1024;  // elements

inline bool is_bf16(const View& view) { return view && view.dtype == DType::BF16; }

// n elements from `at` on, in `copy` where they are bf16; null of no tensor.
template <typename T>
const T* read(const View& view, int64_t at, int64_t n, T* copy) {
  if (!view) return nullptr;
  if constexpr (std::is_same_v<T, float>)
    if (is_bf16(view)) {
      row_kernels().widen(copy, view.as<uint16_t>() + at, n);
      return copy;
    }
  return view.as<T>() + at;
}

// Where an op writes elements from `at` on, before it calls round(); null of no tensor.
template <typename T>
T* target(const View& view, int64_t at, T* copy) {
  return !view ? nullptr : is_bf16(view) ? copy : view.as<T>() + at;
}

template <typename T>
void round(const View& view, int64_t at, int64_t n, const T* copy) {
  if constexpr (std::is_same_v<T, float>)
    if (is_bf16(view)) row_kernels().narrow(view.as<uint16_t>() + at, copy, n);
}

// Copies of `count` rows, in the calling thread's scratch slot 2.
template <typename T = float>
T* row_copies(int64_t count, int64_t cols) {
  return static_cast<T*>(scratch(2, size_t(count * cols) * sizeof(T)));
}

// body(at, n) over stretches of [begin, end), which are short where tensors like `view` are bf16.
template <typename F>
void for_stretches(const View& view, int64_t begin, int64_t end, F&& body) {
  const int64_t step = is_bf16(view) ? STRETCH : std::max<int64_t>(end - begin, 1);
  for (int64_t at = begin; at < end; at += step) body(at, std::min(step, end - at));
}

// All of a tensor in f32: its own memory, or a copy of bf16. For what is small, or seldom.
class Wide {
 public:
  explicit Wide(const View& view, bool reads = true) : view(view), own_(view) {
    if (!is_bf16(view)) return;
    copy_.reset(new float[size_t(view.size())]);
    this->view.data = copy_.get(), this->view.dtype = DType::F32;
    if (reads) copy(this->view, own_);
  }
  // Hands on what was written.
  void round() const {
    if (copy_) copy(own_, view);
  }
  View view;

 private:
  View own_;
  std::unique_ptr<float[]> copy_;
};

// Turns what `fill` writes to y, before it is rounded.
template <typename F>
void turned(const View& y, const Rope& turn, F&& fill) {
  if (!turn) return fill(y);
  const Wide rows(y, false);
  fill(rows.view);
  rope(rows.view, View{}, rows.view, View{}, turn.positions, turn.table, turn.head_dim, turn.interleaved, false);
  rows.round();
}

namespace detail {

template <typename T>
struct Argument {
  Argument(const T& value, bool) : value(value) {}
  const T& get() const { return value; }
  void round() const {}
  const T& value;
};
template <>
struct Argument<View> {
  Argument(const View& view, bool reads) : wide(view, reads) {}
  const View& get() const { return wide.view; }
  void round() const { wide.round(); }
  Wide wide;
};

template <typename Op, typename... Args, size_t... I>
void run_wide(size_t outputs, Op op, std::index_sequence<I...>, const Args&... args) {
  const std::tuple<Argument<Args>...> wide{Argument<Args>(args, I >= outputs)...};
  op(std::get<I>(wide).get()...);
  (std::get<I>(wide).round(), ...);
}

inline bool is_half_argument(const View& view) { return is_bf16(view); }
template <typename T>
bool is_half_argument(const T&) {
  return false;
}

}  // namespace detail

// Runs op, whose first `outputs` arguments are what it writes, on f32 copies, if any tensor is bf16. For losses and
// other ops whose tensors are small.
template <typename... Params>
bool runs_wide(size_t outputs, void (*op)(Params...), const Params&... args) {
  if (!(detail::is_half_argument(args) || ...)) return false;
  detail::run_wide(outputs, op, std::index_sequence_for<Params...>{}, args...);
  return true;
}

}  // namespace lowrank::cpu
