#pragma once
// The thin products of low-rank adapters: a big matrix z [rows, columns] (x, or dy) against factors of rank r, each
// small. Both read z once:
//   down:  S[m, j] = sum over c of drop(z)[m, c] f[j, c]      s = x a^T, t = dy b
//   outer: D[c, j] = sum over m of drop(z)[m, c] f[m, j]      da^T = x^T t, db = dy^T s
// They leave partial sums. Which of a launch's blocks comes last at a place adds them up in fixed order, scales in
// f32, and writes the forms that the following products read (cuda/lora/cast.cuh). Several adapters of one input lie
// side by side along the rank, each with its own mask.
//
// Tensor cores multiply z by factors in two parts, f = high + low, both bf16: 16 bits of mantissa, in which an f32
// adapter keeps its accuracy. A block makes them of the factor as it is stored, on its way into shared memory: as many
// bytes as the two parts would be, no launch before this one, and no copy that could be older than the factor. z in f16
// is split likewise, without a loss, since its gradients may be below f16's range times anything. Without `low` factors
// are rounded to bf16.

#include <algorithm>
#include <vector>

#include "core/kernels.h"
#include "cuda/counters.h"
#include "cuda/launch.cuh"

namespace lowrank::cuda::lora {

constexpr int MAX_ADAPTERS = LoraLayers::MOST;
constexpr int RANK_STEP = 16;  // an adapter occupies a multiple of this many columns, the rest of it zeros

constexpr int64_t padded(int64_t n, int64_t step) { return ceil_div(n, step) * step; }

// Adapters side by side: `end` is where the next one begins.
struct Sites {
  int count = 0;
  int end[MAX_ADAPTERS] = {};
  Dropout dropout[MAX_ADAPTERS];
  bool active = false;  // of any

  int rank() const { return count ? end[count - 1] : 0; }
  int begin(int adapter) const { return adapter ? end[adapter - 1] : 0; }
  void add(int64_t r, const Dropout& mask) {
    end[count] = rank() + int(padded(r, RANK_STEP));
    dropout[count++] = mask;
    active = active || mask.active();
  }
};

// Factors of adapters side by side: element (c, j) of `rank` columns lies at c * stride_c + j * stride_j.
struct Factor {
  // After those before it.
  void add(const View& view, int64_t r) { data[count] = view.data, type[count] = view.dtype, rank[count++] = int(r); }

  const void* data[MAX_ADAPTERS] = {};
  int32_t rank[MAX_ADAPTERS] = {};
  DType type[MAX_ADAPTERS] = {};
  uint8_t count = 0;
  int32_t stride_c = 0, stride_j = 0;
};

// The forms of a slab's side: rounded to the product's type; or high | low | high against high | high | low, whose
// product is that of the unrounded sides but for low * low.
enum class Form : int32_t { Rounded, Left, Right };

// A small matrix [count, rank] on its way from where it was stored or summed to the forms in which products read it.
// Element (i, j) = factor * sum over pieces of from[piece * plane + i * from_i + j * from_j].
struct CastFactor {
  int64_t elements() const { return int64_t(count) * rank; }

  const void* from = nullptr;
  DType type = DType::F32;
  int32_t count = 0, rank = 0;
  int32_t from_i = 0, from_j = 0;
  int32_t pieces = 1;
  int64_t plane = 0;
  double factor = 1;
  bool along_i = false;  // neighbouring threads take neighbouring i, else j

  void* plain = nullptr;  // as it is
  DType plain_type = DType::F32;
  int32_t plain_i = 0, plain_j = 0;

  void* slab = nullptr;  // of the product's type; `width` of j after repetition, zeros at its end
  Form form = Form::Rounded;
  int32_t slab_i = 0, slab_j = 0, width = 0;
  // The rest of a line that others share becomes zeros: from element `line_begin`, 0 or less, to `line_end`.
  int32_t line_begin = 0, line_end = 0;
};
using CastFactors = std::vector<CastFactor>;

// z of half precision. Without dropout `sites` still says how wide the adapters are.
struct Thin {
  View z;
  Sites sites;
  Factor down;   // c: columns of z
  Factor outer;  // c: rows of z
  bool low = true;
  float* down_sum = nullptr;   // [down_pieces][rows, rank]
  float* outer_sum = nullptr;  // [outer_pieces][columns, rank], or [rank, columns] if `across`
  bool across = false;
  // What becomes of the sums, in the launch that makes them: by the block that comes last at a place.
  CastFactors down_casts, outer_casts;
  CastFactors casts;  // others, which the launch makes beside it, in blocks of their own
};

// Pieces of partial sums; they depend on the shape alone.
int64_t down_pieces(int64_t rows, int64_t columns, int64_t rank);
int64_t outer_pieces(int64_t rows, int64_t columns, int64_t rank);
// Both in one pass over z: pieces of `down` are then stretches of columns. Worth it while partial sums are fewer bytes
// than z.
bool fused(int64_t rank);
int64_t fused_pieces(int64_t columns);

// Problems of one type, in as few launches as their parameters allow: layers of one input, groups of rows.
using Thins = std::vector<Thin>;
void down(const Thins& thins);
void outer(const Thins& thins);
void down_and_outer(const Thins& thins);  // without dropout; those without a down side like outer()

// Casts [first, first + count) of a launch, made place by place; the counters of a problem's places begin at `counter`.
struct Finish {
  int first = 0, count = 0;
  unsigned counter = 0;
};

// What one launch is given: row i of its grid is problem i, as wide as the one with most blocks. So which problem a
// block has is known before any register is, and its fields are constants. Rows after the problems are casts that no
// block has to finish first.
template <typename P>
struct Problems {
  static constexpr int MOST = 8, MOST_CASTS = P::MOST_CASTS;
  void add(const P& problem, int64_t blocks) {
    check(blocks <= INT32_MAX, Code::Unsupported, "loraLinear: ", blocks, " blocks of a launch");
    static_assert(sizeof(Problems) <= 4096, "parameters of a kernel");
    most = std::max(most, unsigned(blocks));
    list[count++] = problem;
  }
  // Casts of a problem whose blocks meet at `places`.
  Finish finish(const CastFactors& own, int64_t places) {
    check(used + places <= COUNTERS, Code::Unsupported, "loraLinear: ", used + places, " places where blocks meet");
    const Finish made = {casts, int(own.size()), unsigned(used)};
    for (const CastFactor& each : own) cast[casts++] = each;
    if (made.count) used += places;
    return made;
  }
  // Casts beside the problems: from the end of the list on.
  void add_casts(const CastFactors& own) {
    for (const CastFactor& each : own) {
      cast[MOST_CASTS - ++apart] = each;
      most = std::max(most, unsigned(std::min<int64_t>(ceil_div(each.elements(), 256), 128)));
    }
  }
  dim3 grid() const { return dim3(most, unsigned(count + apart)); }

  int count = 0, casts = 0, apart = 0;
  unsigned most = 0;
  int64_t used = 0;
  unsigned* counters = nullptr;
  P list[MOST] = {};
  CastFactor cast[MOST_CASTS] = {};
};

// Calls f(thins, count, their largest rank) for as many at a time as one launch takes.
template <typename P, typename F>
void each_launch(const Thins& thins, F&& f) {
  for (size_t first = 0, end = 0; first < thins.size(); first = end) {
    size_t casts = 0;
    int rank = 0;
    for (; end < thins.size() && end - first < Problems<P>::MOST; ++end) {
      casts += thins[end].down_casts.size() + thins[end].outer_casts.size() + thins[end].casts.size();
      if (end > first && casts > Problems<P>::MOST_CASTS) break;
      rank = std::max(rank, thins[end].sites.rank());
    }
    f(&thins[first], int(end - first), rank);
  }
}

// The same for f32 and f64, in plain multiply-adds, one adapter at a time: a factor is f32, or f64 beside f64, and
// element (i, j) of it lies at i * stride_i + j * stride_j. down: i is a column of z, outer: a row.
struct PlainFactor {
  View data;
  int64_t stride_i, stride_j;
};
int64_t plain_pieces(int64_t rows, int64_t columns);  // of outer; down has one
// sum [rows, r]
void plain_down(void* sum, View z, PlainFactor f, int64_t r, const Dropout& dropout);
// sum [pieces][columns, r]
void plain_outer(void* sum, View z, PlainFactor f, int64_t r, const Dropout& dropout);

inline int64_t slab_width(int64_t rank, Form form) { return padded(form == Form::Rounded ? rank : 3 * rank, 8); }
// In as few launches as their parameters allow; type: of the slabs.
void cast_factors(const CastFactors& casts, DType type);

}  // namespace lowrank::cuda::lora
