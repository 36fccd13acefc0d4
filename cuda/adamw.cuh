#pragma once
// What the AdamW kernels share: the table of slices, the factor of clipping and the scalars of a step.

#include <cmath>

#include "cuda/launch.cuh"

namespace lowrank::cuda {

// f64[S, 4] in ascending order: begin, end (elements), lr scale, decay scale.
struct Slices {
  explicit Slices(const View& view) : table(view.as<double>()), count(view.size() / 4) {}
  __device__ int64_t begin(int64_t s) const { return int64_t(table[s * 4]); }
  __device__ int64_t end(int64_t s) const { return int64_t(table[s * 4 + 1]); }

  // The first slice that ends after element i, or `count`.
  __device__ int64_t first_after(int64_t i) const {
    int64_t low = 0, high = count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (end(middle) <= i) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  const double* table;
  int64_t count;
};

// min(1, clip / (norm + 1e-6)); 1 where clipping is off.
struct Norm {
  Norm(const View& squared, double clip) : squared(squared.data), wide(squared.dtype == DType::F64), clip(clip) {}

  __device__ double factor() const {
    if (clip <= 0 || !squared) return 1;
    const double sum = wide ? *static_cast<const double*>(squared) : double(*static_cast<const float*>(squared));
    const double factor = clip / (sqrt(sum) + 1e-6);
    return factor > 1 ? 1 : factor;
  }

  const void* squared;
  bool wide;
  double clip;
};

// p = keep p - rate m / (sqrt(v) root + eps), with root = 1 / sqrt(1 - beta2^t), rate = lr / (1 - beta1^t) and
// keep = 1 - lr decay, the last two by slice.
template <typename A>
struct AdamWRule {
  explicit AdamWRule(const AdamW& o)
      : beta1(A(o.beta1)), beta2(A(o.beta2)), complement1(A(1 - o.beta1)), complement2(A(1 - o.beta2)), eps(A(o.eps)),
        root(A(1 / std::sqrt(1 - std::pow(o.beta2, double(o.step))))),
        rate(o.lr / (1 - std::pow(o.beta1, double(o.step)))), decay(o.lr * o.weight_decay) {}

  A beta1, beta2, complement1, complement2, eps, root;
  double rate, decay;
};

template <typename A>
struct SliceRule {
  A keep, rate;
};

template <typename A>
__device__ void adamw_update(A& p, A grad, A& m, A& v, const AdamWRule<A>& rule, const SliceRule<A>& slice, A clip) {
  const A g = grad * clip;
  m = rule.beta1 * m + rule.complement1 * g;
  v = rule.beta2 * v + rule.complement2 * g * g;
  p = slice.keep * p - slice.rate * m / (sqrt(v) * rule.root + rule.eps);
}

// Walks up the slices; elements are asked for in ascending order.
template <typename A>
struct SliceCursor {
  __device__ SliceCursor(const Slices& slices, int64_t at, const AdamWRule<A>& step)
      : slices(slices), step(step), at(at) {
    enter();
  }

  // Whether all of [from, to) lies in one slice, whose rule then is `rule`.
  __device__ bool holds(int64_t from, int64_t to) {
    while (from >= end) {
      ++at;
      enter();
    }
    return from >= begin && to <= end;
  }

  __device__ void enter() {
    if (at >= slices.count) {
      begin = end = INT64_MAX;
      return;
    }
    begin = slices.begin(at);
    end = slices.end(at);
    const double lr_scale = slices.table[at * 4 + 2], decay_scale = slices.table[at * 4 + 3];
    rule = {A(1 - step.decay * lr_scale * decay_scale), A(step.rate * lr_scale)};
  }

  const Slices& slices;
  const AdamWRule<A>& step;
  int64_t at, begin = 0, end = 0;
  SliceRule<A> rule = {};
};

}  // namespace lowrank::cuda
