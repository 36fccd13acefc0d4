#pragma once
// Producer, consumers and kernel of the Hopper product; how they work together is said in cuda/gemm/hopper.cu.

#include "cuda/gemm/hopper_rope.cuh"

namespace lowrank::cuda::gemm::sm90 {

// ---- the producer

template <int Cluster>
__device__ void load_box(uint32_t to, const TensorMap* map, uint32_t barrier, int c0, int c1) {
  if constexpr (Cluster == 1) ptx::tma_load<2>(to, map, barrier, c0, c1);
  else ptx::tma_load_multicast<2>(to, map, barrier, (1 << Cluster) - 1, c0, c1);
}

// SIDE rows of an operand from `row` on, of one stage; to all blocks of `Cluster`.
template <bool AlongK, int Cluster>
__device__ void load_operand(uint32_t to, const TensorMap* map, uint32_t barrier, int row, int k) {
  if constexpr (AlongK) {
    load_box<Cluster>(to, map, barrier, k, row);
  } else {
    load_box<Cluster>(to, map, barrier, row, k);
    load_box<Cluster>(to + PANEL, map, barrier, row + 64, k);
  }
}

template <int Cluster, bool AlongA, bool AlongB, typename Ring>
__device__ void produce(const Plan& plan, Ring ring, uint32_t stages) {
  const uint32_t rank = Cluster == 1 ? 0 : ptx::cluster_rank();
  each_tile<Cluster>(plan, [&](Place place, Share share) {
    const Plan::Result& result = plan.result[place.result];
    const int row = place.row + int(rank) * SIDE, column = place.column + int(rank) * SIDE;
    const auto load_stage = [&](int part, int k) {
      const uint32_t a = stages + uint32_t(ring.slot) * Tile<Cluster>::STAGE, b = a + (1 + rank) * OPERAND;
      ptx::mbarrier_wait(ring.empty(ring.slot), ring.parity ^ 1);
      ptx::mbarrier_arrive_expect(ring.full(), Tile<Cluster>::STAGE);
      load_operand<AlongA, 1>(a, &plan.a[part], ring.full(), row, k);
      load_operand<AlongB, Cluster>(b, &plan.b[part], ring.full(), column, k);
      ring.advance();
    };
    for (int part = result.first; share.split == 0 && part < result.masked; ++part)
      for (int round = 0; round < Tile<Cluster>::rounds(plan.k[part]); ++round)
        for (int k = 0; k < plan.k[part]; k += DEPTH) load_stage(part, k);
    for (int part = result.masked, before = 0; part < result.parts; ++part) {
      const int whole = plan.k[part] / DEPTH, end = min(share.end - before, whole);
      for (int i = max(share.begin - before, 0); i < end; ++i) load_stage(part, i * DEPTH);
      before += whole;
    }
    for (int part = result.masked; share.split == 0 && part < result.parts; ++part)
      if (plan.k[part] % DEPTH) load_stage(part, plan.k[part] / DEPTH * DEPTH);
  });
}

// ---- the consumers

// One of the two, in registers and shared memory; T: of the operands.
template <typename T, int Cluster, bool AlongA, bool AlongB>
struct Consumer {
  using Shape = Tile<Cluster>;

  // d[64, 2 N] += one k-step of the stage at hand; b from column 64 * chunk on.
  template <int N>
  __device__ __forceinline__ void multiply(float (&d)[N], int step, int chunk) const {
    const uint32_t a = stages + uint32_t(ring.slot) * Shape::STAGE, b = a + OPERAND + uint32_t(chunk) * PANEL;
    ptx::wgmma<T, 2 * N, !AlongA, !AlongB>(d, descriptor<AlongA>(a + uint32_t(group.index) * PANEL, step),
                                           descriptor<AlongB>(b, step), true);
  }
  // Rows of 128 bytes in groups of 8 lie 1024 bytes apart; panels of 64 rows, where k are the lines, PANEL bytes.
  template <bool AlongK>
  static __device__ uint64_t descriptor(uint32_t panel, int step) {
    const uint32_t at = panel + uint32_t(step) * (AlongK ? K_STEP * 2 : K_STEP * LINE);
    return ptx::wgmma_descriptor<128>(at, PANEL, 8 * LINE);
  }

  __device__ void wait() const { ptx::mbarrier_wait(ring.full(), ring.parity); }

  // This warp is done with the stage: said to every block that loads into it.
  __device__ void release(int slot) const {
    if constexpr (Cluster == 1) {
      if (group.lane == 0) ptx::mbarrier_arrive(ring.empty(slot));
    } else {
      if (group.lane < Cluster) ptx::mbarrier_arrive_read(ptx::map_shared(ring.empty(slot), uint32_t(group.lane)));
    }
  }

  const Plan& plan;
  Group group;
  uint32_t stages;
  Ring<Shape::STAGES> ring;
};

// d += the first `Steps` k-steps of the stage at hand; waits for them.
template <int Steps, typename C, int N>
__device__ __forceinline__ void add_steps(float (&d)[N], const C& consumer, int chunk) {
  ptx::wgmma_fence();
#pragma unroll
  for (int step = 0; step < Steps; ++step) consumer.multiply(d, step, chunk);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
}

// As many as k needs, each number in code of its own: ptxas serialises wgmma whose issue depends on a condition.
template <typename C, int N>
__device__ __forceinline__ void add_stage(float (&d)[N], const C& consumer, int k, int chunk) {
  const int steps = (k + K_STEP - 1) / K_STEP;
  if (steps == 1) add_steps<1>(d, consumer, chunk);
  else if (steps == 2) add_steps<2>(d, consumer, chunk);
  else if (steps == 3) add_steps<3>(d, consumer, chunk);
  else add_steps<DEPTH / K_STEP>(d, consumer, chunk);
}

// product holds 64 columns from `column` on of the rows from `row` on; those kept are added to d.
__device__ __forceinline__ void add_kept(float* d, const float (&product)[32], const Dropout& dropout, int index,
                                         int row, int column) {
  const Group group(index);
  const float multiplier = 256.0f / float(dropout.keep);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint32_t counter = uint32_t(dropout.row_offset + row + group.warp * 16 + group.g + half * 8);
    const MaskBytes bytes = mask_bytes(dropout, counter, dropout_group(column + 2 * group.t));
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int at = i / 2 * 4 + half * 2 + i % 2;
      if (int(bytes[i]) < dropout.keep) d[at] += product[at] * multiplier;
    }
  }
}

// d += masked a b^T of one part. Summed up apart in chunks of 64 columns, for want of registers. One stage serves all
// chunks; of a higher rank, the producer brings the stages again for each.
template <typename C, int N>
__device__ __forceinline__ void add_masked(float (&d)[N], C& consumer, int part, int row, int column) {
  const int k = consumer.plan.k[part];
  const bool again = C::Shape::rounds(k) > 1;
#pragma unroll
  for (int chunk = 0; chunk < C::Shape::CHUNKS; ++chunk) {
    float product[32] = {};
    for (int left = k; left > 0; left -= DEPTH) {
      if (again || chunk == 0) consumer.wait();
      add_stage(product, consumer, left, chunk);
      if (!again && chunk + 1 < C::Shape::CHUNKS) continue;
      consumer.release(consumer.ring.slot);
      consumer.ring.advance();
    }
    add_kept(d + 32 * chunk, product, consumer.plan.dropout[part], consumer.group.index, row, column + 64 * chunk);
  }
}

// d += a b^T of `stages` whole stages. One stage's products are in flight while the next one's are issued; the first is
// outside of the loop, since ptxas gives up overlap where accumulators enter a loop both in flight and not.
template <typename C, int N>
__device__ __forceinline__ void add_stages(float (&d)[N], C& consumer, int stages) {
  const auto issue = [&] {
    consumer.wait();
    ptx::wgmma_fence();
#pragma unroll
    for (int step = 0; step < DEPTH / K_STEP; ++step) consumer.multiply(d, step, 0);
    ptx::wgmma_commit();
  };
  if (stages == 0) return;
  issue();
  for (int i = 1; i < stages; ++i) {
    const int behind = consumer.ring.slot;
    consumer.ring.advance();
    issue();
    ptx::wgmma_wait<1>();
    consumer.release(behind);
  }
  ptx::wgmma_wait<0>();
  consumer.release(consumer.ring.slot);
  consumer.ring.advance();
}

// d += a b^T of a last stage, whose k is less than DEPTH.
template <typename C, int N>
__device__ __forceinline__ void add_tail(float (&d)[N], C& consumer, int k) {
  consumer.wait();
  add_stage(d, consumer, k, 0);
  consumer.release(consumer.ring.slot);
  consumer.ring.advance();
}

template <typename T, int Cluster, bool AlongA, bool AlongB, typename Ring>
__device__ __forceinline__ void consume(const Plan& plan, Ring ring, unsigned char* bytes, int index) {
  Consumer<T, Cluster, AlongA, AlongB> consumer{plan, Group(index), ptx::shared_address(bytes), ring};
  constexpr int COLUMNS = Tile<Cluster>::SPAN;
  constexpr Bend BEND = !AlongA ? Bend::None : AlongB ? Bend::Value : Bend::Slope;
  const int first = (Cluster == 1 ? 0 : int(ptx::cluster_rank()) * SIDE) + index * 64;
  Output out{bytes + Tile<Cluster>::OUT + index * 2 * PANEL,
             reinterpret_cast<float*>(bytes + Tile<Cluster>::BIAS) + index * COLUMNS};
  each_tile<Cluster>(plan, [&](Place place, Share share) {
    const int row = place.row + first;
    const Plan::Result& result = plan.result[place.result];
    auto tile_bias = load_bias<T, COLUMNS>(result, place.column);
    const Positions positions =
        AlongA && AlongB && result.rotated ? positions_of(plan, consumer.group, row) : Positions{};
    float d[COLUMNS / 2] = {};
    for (int part = result.first; share.split == 0 && part < result.masked; ++part)
      add_masked(d, consumer, part, row, place.column);
    add_stages(d, consumer, share.end - share.begin);
    for (int part = result.masked; share.split == 0 && part < result.parts; ++part)
      if (plan.k[part] % DEPTH) add_tail(d, consumer, plan.k[part] % DEPTH);
    out.split = share.split, out.result = place.result;
    if constexpr (AlongA && AlongB)
      if (result.rotated) rotate_tile<COLUMNS>(plan, out, index, d, tile_bias, positions, row);
    if (result.out_f32) write_rows<T, float, COLUMNS>(plan, out, index, d, tile_bias, row, place.column);
    else write_rows<T, T, COLUMNS, BEND>(plan, out, index, d, tile_bias, row, place.column);
  });
  if (consumer.group.leads()) ptx::tma_wait_read<0>();
}

// ---- the kernel

template <int Cluster>
__device__ void meet_cluster() {
  if constexpr (Cluster == 1) __syncthreads();
  else ptx::cluster_sync();
}

template <typename T, int Cluster, bool AlongA, bool AlongB>
__global__ void __launch_bounds__(HOPPER_THREADS, 1) multiply_tiles(const __grid_constant__ Plan plan) {
  constexpr int STAGES = Tile<Cluster>::STAGES;
  SHARED_DYNAMIC(bytes);
  const Ring<STAGES> ring{ptx::shared_address(bytes + Tile<Cluster>::BARRIERS)};
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < STAGES; ++slot) {
      ptx::mbarrier_init(ring.barriers + 8 * uint32_t(slot), 1);
      ptx::mbarrier_init(ring.empty(slot), Cluster * CONSUMERS * 4);  // warps
    }
    ptx::fence_mbarrier_init();
  }
  meet_cluster<Cluster>();
  ptx::wait_for_kernels();
  ptx::let_next_kernel_start();
  if (threadIdx.x < 128) {
    ptx::registers_down<40>();
    if (threadIdx.x == 0) produce<Cluster, AlongA, AlongB>(plan, ring, ptx::shared_address(bytes));
    __syncwarp();
  } else {
    ptx::registers_up<232>();
    consume<T, Cluster, AlongA, AlongB>(plan, ring, bytes, ptx::shuffle(int(threadIdx.x) / 128, 0) - 1);
  }
  // The other block may still load into this one, and report to its barriers.
  if constexpr (Cluster > 1) ptx::cluster_sync();
}

}  // namespace lowrank::cuda::gemm::sm90
