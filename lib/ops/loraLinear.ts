import { claim, readsLast, record, runningTape } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { activatedFrom } from './activation.ts'
import { type LowRankFactors, sharesPasses } from './factors.ts'
import { groupGradients } from './loraLinearGroup.ts'
import { COMPUTE, type Compute } from './matmul.ts'
import { dropoutStruct } from './random.ts'
import { type RopeInput, ropeArguments, ropeTensors, rotateBack } from './rope.ts'

export type { LowRankFactors } from './factors.ts'

/**
 * x w^T + bias + scale · drop(x) a^T b^T in one op (LoRA, Hu et al. 2021). x[N, in], w[out, in]. Nothing of size
 * [out, in], and no second [N, out], is ever materialised. `rope` turns the rows as they are written.
 */
export function loraLinear(
  x: Tensor,
  w: Tensor,
  bias: Tensor | undefined,
  factors: LowRankFactors,
  compute: Compute = 'f32',
  rope?: RopeInput,
): Tensor {
  const { a, b, scale, exact = true } = factors
  const c = COMPUTE.indexOf(compute)
  const mask = dropoutStruct(factors.dropout, factors.site)
  const settings = [scale, mask, c, exact] as const
  const frozen = [x.handle, w.handle, bias?.handle ?? 0] as const
  const [yh, sh] = native.loraLinear(...frozen, a.handle, b.handle, ...settings, ...ropeArguments(rope))
  const y = new Tensor(yh)
  const s = new Tensor(sh)
  if (!runningTape()) return y
  const origin = sharesPasses(x) ? activatedFrom(x) : undefined
  const behind = origin ? [origin.x] : []
  const inputs = bias ? [x, a, b, bias] : [x, a, b]
  const saved = [x, w, a, b, s, ...behind, ...ropeTensors(rope)]
  return record(y, [...inputs, ...behind], saved, (rotated, needs) => {
    const dy = rotateBack(rotated, rope)
    const wants = [nth(needs, 0), nth(needs, 1), nth(needs, 2)] as const
    const operands = [dy.handle, x.handle, w.handle, a.handle, b.handle, s.handle] as const
    // What else reads x has mostly given its gradient by now: the product adds its own to it as it is written.
    const soFar = needs[0] ? claim(x) : undefined
    const through = origin && readsLast(x) ? origin : undefined
    const single = () => {
      const found = native.loraLinearBackward(...operands, ...settings, ...wants, soFar?.handle ?? 0)
      return found.map(h => (h ? new Tensor(h) : undefined))
    }
    const group = { x, dy: [dy], weights: [w], a: [a], b: [b], s: [s], wants, soFar, through }
    const grads = sharesPasses(x) ? groupGradients({ ...group, settings: [[scale], [mask], c, exact] }) : single()
    if (bias) grads.push(needs[3] ? new Tensor(native.sumRows(dy.handle)) : undefined)
    return through ? [undefined, ...grads.slice(1), grads[0]] : grads
  })
}
