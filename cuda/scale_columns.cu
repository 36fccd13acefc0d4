// y = x v + bias? by columns, and its gradient: passes of multiply, add and sum_rows. Bound by bandwidth: each reads
// and writes [N, C] once; dv has products of its own in scratch.

#include "cuda/launch.cuh"

namespace lowrank {

void cuda::scale_columns(View y, View x, View v, View bias) {
  multiply(y, x, v);
  if (bias) add(y, y, bias);
}

void cuda::scale_columns_backward(View dx, View dv, View dy, View x, View v) {
  if (dv) {
    Scratch memory(Owner::Left);
    View products = x;
    products.data = memory.take_bytes(size_t(x.size()) * bytes_of(x.dtype));
    multiply(products, dy, x);
    sum_rows(dv, products);
  }
  if (dx) multiply(dx, dy, v);
}

}  // namespace lowrank
