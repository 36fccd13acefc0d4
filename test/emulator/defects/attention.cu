// o = softmax(q k^T / 8) v, head size 64, causal: one warpgroup a block of 64 queries, keys in tiles of 64 by TMA into
// two buffers, scores by wgmma from shared memory, P v by wgmma with P in registers and v transposed; with defects on
// demand.

#include "cuda/conformance/case.cuh"
#include "test/emulator/defects/defects.h"

namespace {

using namespace lowrank;
using conformance::DeviceArray;
using Bf16 = __nv_bfloat16;

constexpr int BLOCK = 64, DIM = 64, THREADS = 128;
constexpr uint32_t TILE_BYTES = BLOCK * DIM * 2;
constexpr float LOG2_SCALE = 0.125f * 1.44269504f;

struct Softmax {
  float most[2] = {-1e30f, -1e30f}, sum[2] = {0, 0};  // of rows g and g + 8
};

__device__ uint32_t pack(float low, float high) {
  const Bf16 pair[2] = {Bf16(low), Bf16(high)};
  uint32_t bits;
  memcpy(&bits, pair, 4);
  return bits;
}

// Turns the scores of one tile into probabilities, in the order of A fragments; scales what was summed up before.
__device__ void update(Softmax& softmax, float (&s)[32], float (&o)[32], uint32_t (&p)[4][4], int query, int key) {
  const int t = int(threadIdx.x) % 4;
  float most[2] = {softmax.most[0], softmax.most[1]};
  for (int i = 0; i < 32; ++i) {
    const int half = i / 2 % 2;
    if (key + i / 4 * 8 + t * 2 + i % 2 > query + half * 8) s[i] = -1e30f;
    most[half] = fmaxf(most[half], s[i]);
  }
  float factor[2];
  for (int half = 0; half < 2; ++half) {
    for (int lanes = 1; lanes < 4; lanes *= 2) most[half] = fmaxf(most[half], ptx::shuffle_xor(most[half], lanes));
    factor[half] = ptx::exp2_approx((softmax.most[half] - most[half]) * LOG2_SCALE);
    softmax.most[half] = most[half];
    softmax.sum[half] *= factor[half];
  }
  for (int i = 0; i < 32; ++i) {
    const int half = i / 2 % 2;
    s[i] = ptx::exp2_approx((s[i] - most[half]) * LOG2_SCALE);
    softmax.sum[half] += s[i];
    o[i] *= factor[half];
  }
  for (int i = 0; i < 32; i += 2) p[i / 8][i / 2 % 4] = pack(s[i], s[i + 1]);
}

__global__ void __launch_bounds__(THREADS)
    attend(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
           const __grid_constant__ TensorMap v, float* out, Defect defect) {
  SHARED_DYNAMIC(bytes);
  SHARED(bars, Array<uint64_t, 3>);
  const uint32_t queries = ptx::shared_address(bytes), bar = ptx::shared_address(&bars[0]);
  const int tiles = int(blockIdx.x) + 1, q0 = int(blockIdx.x) * BLOCK;
  const auto buffer = [&](int tile) { return queries + TILE_BYTES + uint32_t(tile % 2) * 2 * TILE_BYTES; };
  const auto fetch = [&](int tile) {
    const uint32_t full = bar + 8 + 8 * uint32_t(tile % 2);
    ptx::mbarrier_arrive_expect(full, 2 * TILE_BYTES);
    ptx::tma_load<2>(buffer(tile), &k, full, 0, tile * BLOCK);
    ptx::tma_load<2>(buffer(tile) + TILE_BYTES, &v, full, 0, tile * BLOCK);
  };
  if (threadIdx.x == 0) {
    for (uint32_t i = 0; i < 3; ++i) ptx::mbarrier_init(bar + 8 * i, 1);
    ptx::fence_mbarrier_init();
    ptx::mbarrier_arrive_expect(bar, TILE_BYTES);
    ptx::tma_load<2>(queries, &q, bar, 0, q0);
    fetch(0);
  }
  __syncthreads();
  ptx::mbarrier_wait(bar, 0);
  const int row = q0 + int(threadIdx.x) / 32 * 16 + int(threadIdx.x) % 32 / 4;
  Softmax softmax;
  float o[32] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    if (threadIdx.x == 0 && tile + 1 < tiles) fetch(tile + 1);
    ptx::mbarrier_wait(bar + 8 + 8 * uint32_t(tile % 2), uint32_t(tile / 2 % 2));
    float s[32];
    ptx::wgmma_fence();
    for (uint32_t d = 0; d < DIM / 16; ++d)
      ptx::wgmma<Bf16, BLOCK>(s, ptx::wgmma_descriptor<128>(queries + d * 32, 16, 1024),
                              ptx::wgmma_descriptor<128>(buffer(tile) + d * 32, 16, 1024), d > 0);
    ptx::wgmma_commit();
    if (defect != Defect::AttentionNoWait) ptx::wgmma_wait<0>();
    uint32_t p[4][4];
    update(softmax, s, o, p, row, tile * BLOCK);
    ptx::wgmma_fence();
    const uint32_t step = defect == Defect::AttentionStep ? 32 : 16 * 128;
    for (uint32_t j = 0; j < BLOCK / 16; ++j)
      ptx::wgmma<Bf16, DIM, true>(o, p[j], ptx::wgmma_descriptor<128>(buffer(tile) + TILE_BYTES + j * step, 1024, 1024),
                                  true);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    if (defect != Defect::AttentionNoBarrier) __syncthreads();
  }
  for (int half = 0; half < 2; ++half)
    for (int lanes = 1; lanes < 4; lanes *= 2) softmax.sum[half] += ptx::shuffle_xor(softmax.sum[half], lanes);
  for (int i = 0; i < 32; ++i) {
    const int half = i / 2 % 2;
    out[(row + half * 8) * DIM + i / 4 * 8 + int(threadIdx.x) % 4 * 2 + i % 2] = o[i] / softmax.sum[half];
  }
}

std::vector<double> expected_output(const std::vector<Bf16>& q, const std::vector<Bf16>& k, const std::vector<Bf16>& v,
                                    int length) {
  std::vector<double> out(size_t(length * DIM));
  const auto scores = conformance::product(q, k, length, length, DIM);
  for (int i = 0; i < length; ++i) {
    double sum = 0;
    for (int j = 0; j <= i; ++j) {
      const double weight = std::exp(scores[size_t(i * length + j)] / 8);
      sum += weight;
      for (int d = 0; d < DIM; ++d) out[size_t(i * DIM + d)] += weight * double(float(v[size_t(j * DIM + d)]));
    }
    for (int d = 0; d < DIM; ++d) out[size_t(i * DIM + d)] /= sum;
  }
  return out;
}

}  // namespace

void run_attention(Defect defect) {
  constexpr int length = 256;
  constexpr size_t n = length * DIM;
  const auto q = conformance::values<Bf16>(n, 1), k = conformance::values<Bf16>(n, 2),
             v = conformance::values<Bf16>(n, 3);
  const DeviceArray<Bf16> queries(q), keys(k), rows(v);
  const DeviceArray<float> out(n);
  const auto map = [](const DeviceArray<Bf16>& x) {
    return cuda::tensor_map(x.data(), {{DIM, length}, {DIM * 2}, {DIM, BLOCK}, 128});
  };
  cuda::launch(attend, {dim3(length / BLOCK), dim3(THREADS), 5 * TILE_BYTES}, map(queries), map(keys), map(rows),
               out.data(), defect);
  conformance::expect_near("attention", out.read(), expected_output(q, k, v, length), 8e-3);
}
