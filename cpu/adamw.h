#pragma once
// What AdamW does whatever its states are stored in.
#include <cmath>

#include "core/kernels.h"
#include "cpu/pieces.h"

namespace lowrank::cpu {

// The step of one slice with all scalars worked out:  p = keep p - rate m / (sqrt(v) root + eps).
struct Step {
  double clip, beta1, beta2, eps;
  double root;  // 1 / sqrt(1 - beta2^t)
  double keep;  // 1 - lr decay
  double rate;  // lr / (1 - beta1^t)
};

inline double clip_factor(const View& squared_norm, double clip) {
  if (clip <= 0 || !squared_norm) return 1;
  const double factor = clip / (std::sqrt(load_scalar(squared_norm)) + 1e-6);
  return factor > 1 ? 1 : factor;
}

inline Step slice_step(const AdamW& o, const double* slice, double clip) {
  const double t = double(o.step), lr = o.lr * slice[2];
  return {clip,
          o.beta1,
          o.beta2,
          o.eps,
          1 / std::sqrt(1 - std::pow(o.beta2, t)),
          1 - lr * o.weight_decay * slice[3],
          lr / (1 - std::pow(o.beta1, t))};
}

template <typename T>
void adamw_update(T* p, const T* grad, T* m, T* v, int64_t count, const Step& step) {
  const T b1 = T(step.beta1), b2 = T(step.beta2), c1 = T(1 - step.beta1), c2 = T(1 - step.beta2);
  for (int64_t i = 0; i < count; ++i) {
    const T g = grad[i] * T(step.clip);
    m[i] = b1 * m[i] + c1 * g;
    v[i] = b2 * v[i] + c2 * g * g;
    p[i] = T(step.keep) * p[i] - T(step.rate) * m[i] / (std::sqrt(v[i]) * T(step.root) + T(step.eps));
  }
}

}  // namespace lowrank::cpu
