// `lowrank doctor --kernels`: every op of a GPU against the CPU, on the user's own card. The cases are those of the
// tests.

import { Tape } from '../autograd/tape.ts'
import { type Device, Device as Devices, scope, Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { attempt, type CaseOutcome } from './attempt.ts'
import type { CaseInput, OpCase } from './case.ts'
import { operands } from './case.ts'
import { opCases } from './cases.ts'
import { mixedCases, plainCases } from './mixed.ts'

type Against = `cpu ${Precision}` | 'differences'

/** One op in one way, and how far off it was; `error` is what was thrown instead. */
interface KernelCheck extends CaseOutcome {
  readonly op: string
  /** Values and gradients with the CPU's; gradients with central differences of the device's own f64 forward. */
  readonly against: Against
  readonly ok: boolean
  /** Worst error as a share of what is allowed; NaN where a number is missing. */
  readonly share: number
}

type Precision = 'f32' | 'f64' | 'bf16'
const PRECISIONS = { 'cpu f32': 'f32', 'cpu f64': 'f64', 'cpu bf16': 'bf16' } as const

/** Allowed error relative to the largest value. bf16 keeps 8 bits, and ops round more than once. */
const ALLOWED: Record<Precision, number> = { f32: 2e-6, f64: 1e-11, bf16: 0.03 }

/**
 * Runs every case on a device, each in the precisions that it has, until one makes it unusable. `filter`: part of an
 * op's name.
 */
export async function* checkKernels(device: Device, filter = ''): AsyncGenerator<KernelCheck> {
  for (const [against, opCase] of checksOf(filter)) {
    const found = await judgeCase(device, against, opCase)
    yield found
    if (found.lost) return
  }
}

function checksOf(filter: string): [Against, OpCase][] {
  const each = (cases: OpCase[], ...ways: Against[]) =>
    cases
      .filter(({ name }) => name.includes(filter))
      .flatMap(opCase => ways.map((way): [Against, OpCase] => [way, opCase]))
  return [
    ...each(opCases('large'), 'cpu f32', 'cpu f64', 'cpu bf16'),
    ...each(mixedCases(), 'cpu f32', 'cpu bf16'),
    ...each(plainCases(), 'cpu f32'),
    ...each(opCases('small'), 'differences'),
  ]
}

/** One case in one way; what it throws is its result. */
export async function judgeCase(device: Device, against: Against, opCase: OpCase): Promise<KernelCheck> {
  let share = Number.NaN
  const outcome = await attempt(device, async () => {
    share = await (against === 'differences'
      ? againstDifferences(device, opCase)
      : againstCpu(device, opCase, PRECISIONS[against]))
  })
  return { op: opCase.name, against, ok: share <= 1, share, ...outcome }
}

/** Values and gradients of a case on two devices. */
async function againstCpu(device: Device, opCase: OpCase, precision: Precision): Promise<number> {
  const got = await evaluateCase(device, opCase, precision)
  const expected = await evaluateCase(Devices.get('cpu'), opCase, precision === 'bf16' ? 'f32' : precision)
  const allowed = Math.max(ALLOWED[precision], precision === 'f32' ? (opCase.tolerance ?? 0) : 0)
  return Math.max(...got.map((values, i) => shareOf(values, nth(expected, i), allowed)))
}

function shareOf(got: ArrayLike<number>, expected: ArrayLike<number>, relative: number): number {
  if (got.length !== expected.length) return Number.NaN
  let [largest, worst] = [0, 0]
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(nth(expected, i)))
  for (let i = 0; i < got.length; i++) {
    const error = got[i] === expected[i] ? 0 : Math.abs(nth(got, i) - nth(expected, i))
    if (!(error <= worst)) worst = error
  }
  return worst / (relative * largest + 1e-30)
}

/** Numbers as the device holds them: rounded to bf16 first, so that both devices get the same ones. */
function leafOf({ data, shape, grad, wide }: CaseInput, device: Device, precision: Precision): Tensor {
  if (!(data instanceof Float64Array)) return Tensor.from(data, shape, { device })
  const leaf =
    precision === 'f64'
      ? Tensor.from(data, shape, { device })
      : Tensor.from(Float32Array.from(data, roundedToBf16), shape, { device, dtype: wide ? 'f32' : precision })
  leaf.requiresGrad = grad !== false
  return leaf
}

const bits = new Uint32Array(1)
const number = new Float32Array(bits.buffer)

function roundedToBf16(x: number): number {
  number[0] = x
  bits[0] = (nth(bits, 0) + 0x7fff + ((nth(bits, 0) >>> 16) & 1)) & 0xffff0000
  return nth(number, 0)
}

/** The output of a case on a device, and the gradients of its inputs. */
export async function evaluateCase(
  device: Device,
  { inputs, run }: OpCase,
  precision: Precision,
): Promise<Float64Array[]> {
  const tensors = scope(() => {
    const leaves = inputs.map(input => leafOf(input, device, precision))
    const tape = new Tape()
    const y = tape.run(() => run(operands(leaves)))
    const seed = Float64Array.from({ length: y.size }, (_, i) => roundedToBf16(Math.cos(i)))
    const host = precision === 'f64' ? seed : Float32Array.from(seed)
    const grads = tape.backward(y, Tensor.from(host, y.shape, { device, dtype: y.dtype }))
    return [y, ...leaves.flatMap(leaf => grads.get(leaf) ?? [])]
  })
  try {
    const values = await Promise.all(tensors.map(tensor => tensor.floats()))
    return values.map(each => Float64Array.from(each))
  } finally {
    for (const tensor of new Set(tensors)) tensor.dispose()
  }
}

/** The gradient of Σ w y of a case in f64, and its central differences. */
async function againstDifferences(device: Device, opCase: OpCase): Promise<number> {
  const [, ...grads] = await evaluateCase(device, opCase, 'f64')
  let worst = 0
  let k = 0
  for (const [i, input] of opCase.inputs.entries()) {
    if (!(input.data instanceof Float64Array) || input.grad === false) continue
    const numeric = new Float64Array(input.data.length)
    for (let j = 0; j < numeric.length; j++) numeric[j] = await slope(device, opCase, i, j)
    worst = Math.max(worst, shareOf(nth(grads, k++), numeric, 5e-7))
  }
  return worst
}

async function slope(device: Device, opCase: OpCase, i: number, j: number): Promise<number> {
  const data = Float64Array.from(nth(opCase.inputs, i).data, Number)
  const h = 1e-5 * Math.max(1, Math.abs(nth(data, j)))
  const at = async (value: number) => {
    const moved = data.with(j, value)
    const inputs = opCase.inputs.map((input, n) => (n === i ? { ...input, data: moved } : input))
    const y = scope(() => opCase.run(operands(inputs.map(input => leafOf(input, device, 'f64')))))
    const values = Float64Array.from(await y.floats())
    y.dispose()
    return values.reduce((sum, v, n) => sum + v * roundedToBf16(Math.cos(n)), 0)
  }
  return ((await at(nth(data, j) + h)) - (await at(nth(data, j) - h))) / (2 * h)
}
