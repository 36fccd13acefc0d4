#pragma once
// The parts of the Hopper product (cuda/gemm/hopper.cu) that its producer and its consumers share: shared memory, the
// ring, the order of tiles.

#include "cuda/gemm/bend.cuh"
#include "cuda/indices.cuh"
#include "cuda/philox.cuh"
#include "cuda/tensor_map.cuh"

namespace lowrank::cuda::gemm::sm90 {

constexpr int SIDE = 128;   // rows of each operand that a block loads a stage
constexpr int DEPTH = 64;   // k of a stage: 128 bytes, the span of the swizzle
constexpr int K_STEP = 16;  // k of one wgmma
constexpr int PARTS = 2 * MAX_SEGMENTS;
constexpr int CONSUMERS = 2;  // warpgroups of 64 rows each
constexpr int HOPPER_THREADS = 128 * (1 + CONSUMERS);
constexpr int BAND = 8;  // rows of tiles that are worked off together, for the sake of L2

constexpr uint32_t LINE = 128;           // bytes
constexpr uint32_t PANEL = 64 * LINE;    // 64 rows of K_STEPs, or 64 k of 64 rows; also 64 rows of y on their way out
constexpr uint32_t OPERAND = 2 * PANEL;  // SIDE rows of DEPTH elements

// Segments and slabs alike are parts of K. Slabs with dropout come first, since their mask must not touch what the
// accumulators hold already; slabs without it last, since their operands are ready last. Of the parts without dropout,
// first all whole stages are added up, then what is left of each.
struct Plan {
  // Of one product.
  struct Result {
    int first, masked, parts;     // its parts are [first, parts); those before `masked` have dropout
    int whole_stages;             // of the parts without dropout
    int n, tile_columns;          // y in tiles of a cluster
    const void *bias, *residual;  // or null
    void* out;
    bool bias_f32, out_f32;
    bool stores_boxes;  // y suits TMA
    bool rotated;       // by the plan's rope
  };
  TensorMap a[PARTS], b[PARTS], y[MAX_PRODUCTS];
  int k[PARTS];
  Dropout dropout[MAX_SEGMENTS];
  Result result[MAX_PRODUCTS];
  int results;
  int m, tile_rows, tile_columns;  // of all results
  int splits;                      // of one result's whole stages; more than one write sums to y's third dimension
  // Of Product::rope, where tiles turn y: [positions, head_dim].
  const float* table;
  Indices positions;
  int head_dim;
  // Of one product alone, whose y suits TMA; bent: where the curve's values go.
  Curve curve;
  TensorMap bent;
};
static_assert(sizeof(Plan) <= 4096, "parameters of a kernel");

// Of a cluster of `Cluster` blocks, each with SIDE rows of a tile of (Cluster * SIDE)^2. 226 KB either way.
template <int Cluster>
struct Tile {
  static constexpr int SPAN = Cluster * SIDE;
  static constexpr uint32_t STAGE = (1 + Cluster) * OPERAND;  // a, then b
  static constexpr int STAGES = Cluster == 1 ? 6 : 4;
  // In shared memory, after the stages: two panels of y for each consumer, its bias, the barriers.
  static constexpr uint32_t OUT = STAGES * STAGE, BIAS = OUT + CONSUMERS * 2 * PANEL;
  static constexpr uint32_t BARRIERS = BIAS + CONSUMERS * SPAN * sizeof(float);
  static constexpr size_t SHARED_BYTES = BARRIERS + 2 * STAGES * sizeof(uint64_t);
  // Rounds over k of a part with dropout, see add_masked.
  static constexpr int CHUNKS = SPAN / 64;
  static __device__ int rounds(int k) { return k > DEPTH ? CHUNKS : 1; }
};

// Where a stage is, and the barriers that say it is full or empty again.
template <int Stages>
struct Ring {
  __device__ uint32_t full() const { return barriers + 8 * uint32_t(slot); }
  __device__ uint32_t empty(int of) const { return barriers + 8 * uint32_t(Stages + of); }
  __device__ void advance() {
    if (++slot < Stages) return;
    slot = 0;
    parity ^= 1;
  }

  uint32_t barriers;  // shared address: `Stages` full ones, then the empty ones
  int slot = 0;
  uint32_t parity = 0;
};

// First row and column of a tile: bands of BAND rows of tiles, in each band column by column, through all results.
struct Place {
  int row, column, result;
};
template <int Span>
__device__ Place place_of(const Plan& plan, int tile) {
  const int in_band = BAND * plan.tile_columns, first = tile / in_band * BAND;
  const int height = min(plan.tile_rows - first, BAND), within = tile % in_band;
  int column = within / height, result = 0;
  while (result + 1 < plan.results && column >= plan.result[result].tile_columns)
    column -= plan.result[result++].tile_columns;
  return {(first + within % height) * Span, column * Span, result};
}

// What a cluster has to do at a tile: its share of whole stages. The first split has all that is not whole, too.
struct Share {
  int split, begin, end;
};
__device__ inline Share share_of(const Plan& plan, int result, int split) {
  const int64_t stages = plan.result[result].whole_stages;
  return {split, int(stages * split / plan.splits), int(stages * (split + 1) / plan.splits)};
}

// Of this block's cluster: body(place, share) for each tile, or each split of one.
template <int Cluster, typename F>
__device__ __forceinline__ void each_tile(const Plan& plan, F&& body) {
  const int all = plan.tile_rows * plan.tile_columns * plan.splits;
  for (int i = int(blockIdx.x) / Cluster; i < all; i += int(gridDim.x) / Cluster) {
    const Place place = place_of<Tile<Cluster>::SPAN>(plan, i / plan.splits);
    body(place, share_of(plan, place.result, i % plan.splits));
  }
}

}  // namespace lowrank::cuda::gemm::sm90
