import { Tape } from '../../lib/autograd/tape.ts'
import type { CaseInput } from '../../lib/check/case.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { compare } from './compare.ts'

const weightsFor = (n: number) => Float64Array.from({ length: n }, (_, i) => Math.sin(i + 1))

function make(inputs: readonly CaseInput[], data: readonly (Float64Array | Int32Array)[]): Tensor[] {
  return data.map((d, i) => Tensor.from(d, inputs[i]!.shape))
}

async function weightedSum(
  f: (t: Tensor[]) => Tensor,
  inputs: readonly CaseInput[],
  data: readonly (Float64Array | Int32Array)[],
) {
  const y = scope(() => f(make(inputs, data)))
  const values = await y.data()
  y.dispose()
  const weights = weightsFor(values.length)
  return Float64Array.from(values).reduce((sum, v, i) => sum + v * weights[i]!, 0)
}

/** Compares the backward rules under `f` with central differences of its forward, in f64. */
export async function gradcheck(
  name: string,
  f: (inputs: Tensor[]) => Tensor,
  inputs: readonly CaseInput[],
  tolerance = 2e-7,
): Promise<void> {
  const checked = inputs.map(input => input.grad ?? input.data instanceof Float64Array)
  const data = inputs.map(input => input.data)
  const grads = scope(() => {
    const leaves = make(inputs, data)
    leaves.forEach((leaf, i) => {
      leaf.requiresGrad = checked[i]!
    })
    const tape = new Tape()
    const y = tape.run(() => f(leaves))
    const found = tape.backward(y, Tensor.from(weightsFor(y.size), y.shape))
    return leaves.flatMap((leaf, i) => (checked[i] ? [found.get(leaf)!] : []))
  })
  let k = 0
  for (const [i, input] of inputs.entries()) {
    if (!checked[i]) continue
    const got = await grads[k++]!.data()
    const numeric = new Float64Array(input.data.length)
    for (let j = 0; j < numeric.length; j++) {
      const h = 1e-5 * Math.max(1, Math.abs(input.data[j]!))
      const at = (v: number) => {
        const moved = Float64Array.from(input.data)
        moved[j] = v
        return weightedSum(
          f,
          inputs,
          data.map((d, n) => (n === i ? moved : d)),
        )
      }
      numeric[j] = ((await at(input.data[j]! + h)) - (await at(input.data[j]! - h))) / (2 * h)
    }
    compare(`${name}: gradient of input ${i}`, got, numeric, { relative: tolerance, absolute: 1e-9 })
  }
  // Two leaves may share one gradient.
  for (const grad of new Set(grads)) grad.dispose()
}
