// h = drop(x) + residual?;  y = (h - mean) * rstd * w + b?, and its gradient.
//
// A warp or a block per row (cuda/norm.cuh), since a row has to be seen whole before any of it is written. Forward
// reads x and residual and writes h and y once; backward reads dy and h (and dh) and writes dx (and dresidual) once;
// gradients of w and b, where wanted, read dy and h once more (cuda/norm_parameters.cuh). Dropout is made again from
// its counters. f32 arithmetic, f64 for f64; in half precision the norm is that of h as stored, which is what backward
// sees. Bound by bandwidth: the target is the bytes named here / peak.

#include "cuda/norm_parameters.cuh"

namespace lowrank {

using namespace cuda;

void cuda::layer_norm(View y, View h, View mean, View rstd, View x, View residual, View w, View b, double eps,
                      Dropout dropout) {
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    using A = Arithmetic<T>;
    const norm::Forward<T> p{
        y.as<T>(),       h.as<T>(), mean.as<A>(), rstd.as<A>(), x.as<T>(), residual.as<T>(), Parameter<T>(w),
        Parameter<T>(b), x.rows(),  x.cols(),     A(eps),       A(0),      dropout,          A(dropout.multiplier())};
    norm::with_cut<T>(p.rows, p.cols, rows_in_packs<T>(p.cols, y, h, x, residual, w, b), [&](auto cut, int64_t blocks) {
      launch(norm::forward_rows<true, decltype(cut), T>, blocks, norm::THREADS, p);
    });
  });
}

void cuda::layer_norm_backward(View dx, View dresidual, View dw, View db, View dy, View dh, View h, View w, View mean,
                               View rstd, Dropout dropout) {
  dispatch(h, [&](auto zero) {
    using T = decltype(zero);
    using A = Arithmetic<T>;
    const norm::Backward<T> p{
        dx.as<T>(),   dresidual.as<T>(), dy.as<T>(), dh.as<T>(), h.as<T>(), Parameter<T>(w),        mean.as<A>(),
        rstd.as<A>(), h.rows(),          h.cols(),   A(0),       dropout,   A(dropout.multiplier())};
    const bool packs = rows_in_packs<T>(p.cols, dx, dresidual, dy, dh, h, w);
    norm::with_cut<T>(p.rows, p.cols, packs, [&](auto cut, int64_t blocks) {
      launch(norm::backward_rows<true, decltype(cut), T>, blocks, norm::THREADS, p);
    });
    norm::parameter_gradients(dw, db, p, packs);
  });
}

}  // namespace lowrank
