#include <algorithm>

#include "core/ops/checks.h"
#include "core/ops/rope.h"

namespace lowrank::ops {
namespace {

constexpr const char* OP = "loraLinearRows";

// What a call is given of each group of rows.
struct Groups {
  const std::vector<double>& rows;
  const Tensors &a, &b;
  const std::vector<double>& scales;
  const std::vector<Dropout>& dropouts;

  size_t count() const { return rows.size(); }
};

void check_groups(const Tensor& x, const Tensor& w, const Groups& groups) {
  int64_t all = 0;
  for (const size_t length : {groups.a.size(), groups.b.size(), groups.scales.size(), groups.dropouts.size()})
    check(length == groups.count(), Code::Option, OP, ": a list of ", length, ", expected ", groups.count(),
          ", one for each group");
  for (size_t i = 0; i < groups.count(); ++i) {
    const double rows = groups.rows[i];
    check(rows >= 1 && rows <= double(x.shape[0]) && rows == double(int64_t(rows)), Code::Option, OP, ": group ", i,
          " of ", rows, " rows, expected a whole number from 1 to ", x.shape[0]);
    all += int64_t(rows);
    check(groups.a[i].defined() == groups.b[i].defined(), Code::Option, OP, ": group ", i,
          " has one factor, expected two or none");
    if (groups.a[i].defined()) check_factors(OP, x, w, groups.a[i], groups.b[i]);
    check_dropout_rows(OP, groups.dropouts[i], int64_t(rows));
  }
  check(all == x.shape[0], Code::Shape, OP, ": groups of ", all, " rows, x ", x.shape);
}

// The dropout of all rows. A GPU draws one for all; of groups that have none of one batch it takes a call each.
Dropout shared_dropout(Device& device, const std::vector<LoraRows::Group>& groups) {
  const LoraRows::Group* first = nullptr;
  for (const LoraRows::Group& own : groups) {
    if (!own.a) continue;
    if (!first) first = &own;
    const Dropout &a = first->dropout, &b = own.dropout;
    const bool same = a.keep == b.keep && a.site == b.site && a.step == b.step && a.seed == b.seed &&
                      a.row_offset - first->begin == b.row_offset - own.begin;
    const bool one = same || (!a.active() && !b.active());
    check(one || device.kind != DeviceKind::Cuda, Code::Unsupported, OP,
          ": groups with a dropout of their own each, on a GPU; call it for each");
    if (!one) return {};
  }
  Dropout all = first ? first->dropout : Dropout{};
  if (first && all.active()) all.row_offset -= first->begin;
  return all;
}

// Groups [first, end) as a call of their own.
LoraRows call_of(const LoraRows& whole, const std::vector<LoraRows::Group>& groups, size_t first, size_t end) {
  LoraRows call = whole;
  const int64_t begin = groups[first].begin, rows = groups[end - 1].begin + groups[end - 1].rows - begin;
  for (View* each : {&call.x, &call.y, &call.dx, &call.dy}) *each = each->part(begin, rows);
  if (call.rope) call.rope.positions = call.rope.positions.part(begin, rows);
  call.dropout.row_offset += begin;
  call.count = int32_t(end - first);
  for (size_t i = first; i < end; ++i) {
    call.group[i - first] = groups[i];
    call.group[i - first].begin -= begin;
  }
  return call;
}

void hand_over(Device& device, const char* op, void (*kernel)(LoraRows), const LoraRows& whole,
               const std::vector<LoraRows::Group>& groups) {
  for (size_t first = 0; first < groups.size(); first += LoraRows::MOST)
    run(device, op, kernel, call_of(whole, groups, first, std::min(groups.size(), first + LoraRows::MOST)));
}

std::vector<LoraRows::Group> groups_of(const Groups& given) {
  std::vector<LoraRows::Group> groups(given.count());
  int64_t begin = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i].begin = begin, groups[i].rows = int64_t(given.rows[i]), groups[i].scale = given.scales[i];
    groups[i].dropout = given.dropouts[i];
    if (given.a[i].defined()) groups[i].a = given.a[i].view(), groups[i].b = given.b[i].view();
    begin += groups[i].rows;
  }
  return groups;
}

}  // namespace

Tensors lora_linear_rows(Tensor x, Tensor w, Tensors bias, std::vector<double> rows, Tensors a, Tensors b,
                         std::vector<double> scales, std::vector<Dropout> dropouts, Compute compute, bool exact,
                         Tensors rope, int head_dim, bool interleaved) {
  check(bias.size() <= 1 && (rope.empty() || rope.size() == 2), Code::Option, OP, ": ", bias.size(), " biases and ",
        rope.size(), " tensors of a rope, expected at most 1, and 0 or 2");
  const Groups given = {rows, a, b, scales, dropouts};
  check_linear(OP, x, w);
  check_compute(OP, compute, x);
  check_groups(x, w, given);
  const Maybe shift = bias.empty() ? nullptr : &bias[0];
  check_bias(OP, shift, x, w.shape[0]);
  Tensors made(1 + given.count());
  made[0] = Tensor::empty(x.device(), {x.shape[0], w.shape[0]}, x.dtype);
  auto groups = groups_of(given);
  for (size_t i = 0; i < given.count(); ++i) {
    if (!groups[i].a) continue;
    made[1 + i] = Tensor::empty(x.device(), {groups[i].rows, groups[i].rank()}, sums_of(x.dtype));
    groups[i].s = made[1 + i].view();
  }
  LoraRows call;
  call.x = x.view(), call.w = w.view(), call.bias = view_of(shift), call.y = made[0].view();
  call.dropout = shared_dropout(x.device(), groups), call.compute = compute, call.exact = exact;
  if (!rope.empty()) call.rope = rope_of(OP, made[0], &rope[0], &rope[1], head_dim, interleaved);
  hand_over(x.device(), OP, x.device().kernels.lora_linear_rows, call, groups);
  return made;
}

Tensors lora_linear_rows_backward(Tensor dy, Tensor x, Tensor w, std::vector<double> rows, Tensors a, Tensors b,
                                  Tensors s, std::vector<double> scales, std::vector<Dropout> dropouts, Compute compute,
                                  bool exact, bool needs_dx, bool needs_da, bool needs_db) {
  const Groups given = {rows, a, b, scales, dropouts};
  check_linear(OP, x, w);
  check_compute(OP, compute, x);
  check_groups(x, w, given);
  check_like(OP, "dy", dy, x);
  check_shape(OP, "dy", dy, {x.shape[0], w.shape[0]});
  check(s.size() == given.count(), Code::Option, OP, ": ", s.size(), " s for ", given.count(), " groups");
  Tensors made(1 + 2 * given.count());
  if (needs_dx) made[0] = like(x);
  auto groups = groups_of(given);
  for (size_t i = 0; i < given.count(); ++i) {
    LoraRows::Group& own = groups[i];
    if (!own.a) continue;
    check(s[i].defined(), Code::Option, OP, ": s of group ", i, " is missing");
    check_same_device(OP, s[i], x);
    check_dtype(OP, "s", s[i], sums_of(x.dtype));
    check_shape(OP, "s", s[i], {own.rows, own.rank()});
    if (needs_da) made[1 + i] = like(a[i]);
    if (needs_db) made[1 + given.count() + i] = like(b[i]);
    own.s = s[i].view(), own.da = made[1 + i].view(), own.db = made[1 + given.count() + i].view();
  }
  LoraRows call;
  call.x = x.view(), call.w = w.view(), call.dy = dy.view(), call.dx = made[0].view();
  call.dropout = shared_dropout(x.device(), groups), call.compute = compute, call.exact = exact;
  hand_over(x.device(), "loraLinearRowsBackward", x.device().kernels.lora_linear_rows_backward, call, groups);
  return made;
}

}  // namespace lowrank::ops
