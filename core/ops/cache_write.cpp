#include "core/ops/checks.h"

namespace lowrank::ops {

void cache_write(const Tensor& k_cache, const Tensor& v_cache, const Tensor& k, const Tensor& v, const Tensor& slots) {
  const char* op = "cacheWrite";
  check_float(op, "k", k);
  check_matrix(op, "k", k);
  check_like(op, "v", v, k);
  check_shape(op, "v", v, k.shape);
  check_same_device(op, k_cache, k);
  check(k_cache.dtype == k.dtype || (k_cache.dtype == DType::BF16 && k.dtype == DType::F32), Code::DType, op,
        ": kCache is ", name_of(k_cache.dtype), ", k is ", name_of(k.dtype));
  check_like(op, "vCache", v_cache, k_cache);
  check(k_cache.shape.rank == 3, Code::Shape, op, ": kCache ", k_cache.shape, ", expected [pages, page, width]");
  check_shape(op, "kCache", k_cache, {k_cache.shape[0], k_cache.shape[1], k.shape[1]});
  check_shape(op, "vCache", v_cache, k_cache.shape);
  check_same_device(op, slots, k);
  check_dtype(op, "slots", slots, DType::I32);
  check_shape(op, "slots", slots, {k.shape[0]});
  check_indices(op, "slot", slots, k_cache.shape[0] * k_cache.shape[1]);
  run(k.device(), op, k.device().kernels.cache_write, k_cache.view(), v_cache.view(), k.view(), v.view(), slots.view());
}

}  // namespace lowrank::ops
