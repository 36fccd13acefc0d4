// How many blocks attention launches for packed sequences: as many as have work, whatever the longest one is.
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

// Of the last launches, the newest first, the x of their grids.
std::vector<int64_t> last_grids(size_t count) {
  const std::string trail = cuda::backend.trail(0);
  std::vector<int64_t> grids;
  for (size_t at = trail.find(" grid "); grids.size() < count && at != std::string::npos;
       at = trail.find(" grid ", at + 1))
    grids.push_back(std::atoll(trail.c_str() + at + 6));
  return grids;
}

}  // namespace

KERNEL_CASE(attention_launches_blocks_of_what_is_packed) {
  const DType dtype = fuzz.pick({DType::F32, DType::BF16});
  const int64_t dim = 64, heads = 2, sequences = 9;
  std::vector<double> starts = {0};
  for (int64_t i = 0; i < sequences; ++i)
    starts.push_back(starts.back() + (i == 4 ? 300 : double(fuzz.between(0, 30))));
  const int64_t tokens = int64_t(starts.back());
  const std::vector<int64_t> dims{tokens, heads * dim};
  const Values values = fuzz.values(tokens * heads * dim);
  const OnDevice q(dtype, dims, values), k(dtype, dims, values), v(dtype, dims, values), dy(dtype, dims, values);
  const OnDevice o(dtype, dims), dq(dtype, dims), dk(dtype, dims), dv(dtype, dims), lse(DType::F32, {tokens, heads});
  const OnDevice cu(DType::I32, {sequences + 1}, starts);
  AttentionShape shape{int32_t(heads), int32_t(heads), int32_t(dim), 1, 300, 300, 0.125};
  shape.window = 40;
  cuda::attention(o, lse, q, k, v, cu, View{}, View{}, shape, {});
  const int64_t forward = last_grids(1).at(0);
  cuda::attention_backward(dq, dk, dv, dy, q, k, v, o, lse, cu, View{}, View{}, shape, {});
  cuda::backend.finish(0);
  const std::vector<int64_t> grids = last_grids(3);
  expect(grids.size() == 3 && grids[2] == forward, "three launches");
  // Of the smallest tiles: 64 rows on tensor cores, 16 without. By the longest sequence they would be nearly twice as
  // many.
  const int64_t most = (tokens / (dtype == DType::BF16 ? 64 : 16) + sequences) * heads;
  for (const int64_t grid : grids)
    expect(grid <= most, std::to_string(grid) + " blocks for " + std::to_string(tokens) + " tokens");
}

}  // namespace lowrank::testing
