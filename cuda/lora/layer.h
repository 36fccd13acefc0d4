#pragma once
// Linear layers that share an input, each with its adapter: what lora_linear and lora_linear_group run.

#include "cuda/lora/thin.h"

namespace lowrank::cuda::lora {

inline int64_t out_of(const LoraLayer& l) { return l.b.dims[0]; }
inline int64_t rank_of(const LoraLayer& l) { return l.b.dims[1]; }
// Columns it occupies beside others.
inline int64_t side_of(const LoraLayer& l) { return padded(rank_of(l), RANK_STEP); }

struct Layers {
  const LoraLayer& operator[](int i) const { return own.layer[i]; }
  int count() const { return own.count; }

  int64_t rows() const { return x.rows(); }
  int64_t in() const { return own.layer[0].a.dims[1]; }
  bool half() const { return x.dtype == DType::BF16 || x.dtype == DType::F16; }
  // Of the frozen products, and of the slabs in them.
  DType product() const { return x.dtype == DType::F32 && compute == Compute::BF16 ? DType::BF16 : x.dtype; }
  bool parts() const { return exact && (product() == DType::BF16 || product() == DType::F16); }
  Form left() const { return parts() ? Form::Left : Form::Rounded; }
  Form right() const { return parts() ? Form::Right : Form::Rounded; }
  // f16 rounds to 11 bits, bf16, which factors are rounded to, to 8: f16 keeps the second part anyway.
  bool low() const { return exact || x.dtype == DType::F16; }
  DType sums() const { return x.dtype == DType::F64 ? DType::F64 : DType::F32; }

  LoraLayers own;
  View x, dx;
  Compute compute = Compute::F32;
  bool exact = true;
  Rope rope;                // of those that are turned
  View residual;            // of dx
  View t{};                 // left for a later call in place of da
  LoraGradients earlier{};  // what an earlier one left
};

// Memory of one call, handed out in a first round that only counts and a second one that gives addresses.
struct Workspace {
  template <typename T = char>
  T* take(int64_t n) {
    T* from = base ? reinterpret_cast<T*>(base + used) : nullptr;
    used += padded(n * int64_t(sizeof(T)), 256);
    return from;
  }
  char* base = nullptr;
  int64_t used = 0;
};
template <typename Plan, typename... Args>
Plan plan_in(Scratch& scratch, Args&&... args) {
  Workspace count;
  Plan(count, args...);
  Workspace workspace;
  workspace.base = scratch.take<char>(count.used);
  return Plan(workspace, args...);
}

// The slabs of a product of all rows in which each group of rows has factors of its own: sides [rows, width] and
// [n, width] (or [width, n] across), of which a group has columns `first` on, rows of others zeros.
struct Wide {
  int64_t width = 0;
  char *left = nullptr, *right = nullptr;
};

void forward(const Layers& layers);
void backward(const Layers& layers);
void forward(const LoraRows& op);
void backward(const LoraRows& op);
// Each group that has factors, as a layer of its own.
std::vector<Layers> groups_of(const LoraRows& op);
// Of a left side whose columns begin at `first` of lines of `pitch`: what makes it clears the rest of its lines.
inline void share_lines(CastFactor& cast, int64_t pitch, int64_t first) {
  if (pitch > cast.width) cast.line_begin = int32_t(-first), cast.line_end = int32_t(pitch - first);
}
// Whether rows have no factors, so that nobody writes theirs.
bool has_plain_rows(const LoraRows& op);
// Zeros for all of the left side.
void clear(const Wide& wide, int64_t rows, DType type);

}  // namespace lowrank::cuda::lora
