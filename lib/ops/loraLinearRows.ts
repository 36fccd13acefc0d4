import { record } from '../autograd/tape.ts'
import { type Handle, native, type Struct } from '../native.ts'
import { type Device, Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import type { LowRankFactors } from './loraLinear.ts'
import { COMPUTE, type Compute } from './matmul.ts'
import { dropoutOfRows, isParted } from './random.ts'
import { type RopeInput, ropeList, ropeTensors, rotateBack } from './rope.ts'

/** Consecutive rows of a batch that share factors; none: they go through the frozen layer alone. */
export interface RowGroup {
  rows: number
  factors?: LowRankFactors | undefined
}

/**
 * Whether one call can serve all groups: they share accuracy; on a GPU, which draws one mask for all rows, dropout and
 * run too. Ranks and scales may differ.
 */
export function sharesRows(groups: readonly RowGroup[], device: Device): boolean {
  const [first, ...more] = groups.flatMap(({ factors }) => factors ?? [])
  if (!first) return true
  const { isCuda } = device
  if (isCuda && [first, ...more].some(({ dropout }) => isParted({ p: dropout }))) return false
  return more.every(({ dropout, site, exact = true }) => {
    const sameMask = dropout === first.dropout && site === first.site
    return exact === (first.exact ?? true) && (sameMask || !isCuda)
  })
}

/**
 * {@link loraLinear} in which each group of consecutive rows has factors of its own: y of a row is what it is where its
 * group is the batch. The frozen weight is read once for all. The groups' rows add up to x's, and {@link sharesRows}
 * holds of them.
 */
export function loraLinearRows(
  x: Tensor,
  w: Tensor,
  bias: Tensor | undefined,
  groups: readonly RowGroup[],
  compute: Compute = 'f32',
  rope?: RopeInput,
): Tensor {
  const c = COMPUTE.indexOf(compute)
  const all = groups.map(({ factors }) => factors)
  const pairs = all.flatMap(factors => (factors ? [factors] : []))
  const { exact = true } = pairs[0] ?? {}
  const a = all.map(factors => factors?.a.handle ?? 0)
  const b = all.map(factors => factors?.b.handle ?? 0)
  const scales = all.map(factors => factors?.scale ?? 1)
  const given = [groups.map(({ rows }) => rows), a, b] as const
  const settings = [scales, masksOf(groups), c, exact] as const
  const frozen = [x.handle, w.handle, bias ? [bias.handle] : []] as const
  const [yHandle, ...sHandles] = native.loraLinearRows(...frozen, ...given, ...settings, ...ropeList(rope))
  const y = new Tensor(yHandle)
  const s = sHandles.map(tensor)
  const ofA = pairs.map(factors => factors.a)
  const ofB = pairs.map(factors => factors.b)
  const inputs = [x, ...ofA, ...ofB, ...(bias ? [bias] : [])]
  const saved = [x, w, ...ofA, ...ofB, ...s.flatMap(each => each ?? []), ...ropeTensors(rope)]
  return record(y, inputs, saved, (rotated, needs) => {
    const dy = rotateBack(rotated, rope)
    const n = pairs.length
    const wants = (from: number, to: number) => needs.slice(from, to).some(Boolean)
    const kept = s.map(each => each?.handle ?? 0)
    const operands = [dy.handle, x.handle, w.handle, ...given, kept, ...settings] as const
    const needed = [nth(needs, 0), wants(1, 1 + n), wants(1 + n, 1 + 2 * n)] as const
    const [dx, ...found] = native.loraLinearRowsBackward(...operands, ...needed)
    const ofGroups = [found.slice(0, groups.length), found.slice(groups.length)]
    const grads = ofGroups.flatMap(list => list.filter((_, i) => all[i]).map(tensor))
    const ofBias = bias && needs[1 + 2 * n] ? [new Tensor(native.sumRows(dy.handle))] : []
    return [tensor(dx), ...grads, ...ofBias]
  })
}

/** The dropout of each group. */
function masksOf(groups: readonly RowGroup[]): (Struct | null)[] {
  let end = 0
  return groups.map(({ rows, factors }) => {
    const begin = end
    end += rows
    return factors ? dropoutOfRows(factors.dropout, factors.site, begin, rows) : null
  })
}

const tensor = (handle: Handle | 0 | undefined) => (handle ? new Tensor(handle) : undefined)
