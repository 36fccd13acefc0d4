// h = drop(x) + residual?;  y = h * rstd * (w + offset), and its gradient.
//
// A warp or a block per row, as in cuda/norm.cuh: forward reads x and residual and writes h and y once; backward reads
// dy, h and dh and writes dx once; the gradient of w, where wanted, reads dy and h once more. f32 arithmetic, f64 for
// f64; in half precision the norm is that of h as stored. Bound by bandwidth: the bytes named here / peak.

#include "cuda/norm_parameters.cuh"

namespace lowrank {

using namespace cuda;

void cuda::rms_norm(View y, View h, View rstd, View x, View residual, View w, double offset, double eps,
                    Dropout dropout) {
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    using A = Arithmetic<T>;
    const norm::Forward<T> p{y.as<T>(),       h.as<T>(),
                             nullptr,         rstd.as<A>(),
                             x.as<T>(),       residual.as<T>(),
                             Parameter<T>(w), Parameter<T>(View{}),
                             x.rows(),        x.cols(),
                             A(eps),          A(offset),
                             dropout,         A(dropout.multiplier())};
    norm::with_cut<T>(p.rows, p.cols, rows_in_packs<T>(p.cols, y, h, x, residual, w), [&](auto cut, int64_t blocks) {
      launch(norm::forward_rows<false, decltype(cut), T>, blocks, norm::THREADS, p);
    });
  });
}

void cuda::rms_norm_backward(View dx, View dw, View dy, View dh, View h, View w, View rstd, double offset) {
  dispatch(h, [&](auto zero) {
    using T = decltype(zero);
    using A = Arithmetic<T>;
    const norm::Backward<T> p{dx.as<T>(),      nullptr,   dy.as<T>(),   dh.as<T>(), h.as<T>(),
                              Parameter<T>(w), nullptr,   rstd.as<A>(), h.rows(),   h.cols(),
                              A(offset),       Dropout{}, A(1)};
    const bool packs = rows_in_packs<T>(p.cols, dx, dy, dh, h, w);
    if (dx)
      norm::with_cut<T>(p.rows, p.cols, packs, [&](auto cut, int64_t blocks) {
        launch(norm::backward_rows<false, decltype(cut), T>, blocks, norm::THREADS, p);
      });
    norm::parameter_gradients(dw, View{}, p, packs);
  });
}

}  // namespace lowrank
