// The op table on the kernels of cuda/, run by the emulator as device cuda:0, against the CPU. With LOWRANK_TEST_GPU=1
// the same on the real cuda:0 (npm run test:gpu).

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { OpCase } from '../../lib/check/case.ts'
import { operands } from '../../lib/check/case.ts'
import type { Tensor, TensorData } from '../../lib/tensor.ts'

const { packageRoot } = await import('../../lib/io/package.ts')
// The addon that holds the emulator; which one is loaded is settled when lib/native.ts is first imported.
const ON_GPU = process.env.LOWRANK_TEST_GPU === '1'
const BUILD = process.env.LOWRANK_PREBUILD ?? packageRoot
const FOLDER = ON_GPU ? BUILD : join(BUILD, 'build/emulator')
const BUILT = ON_GPU || existsSync(join(FOLDER, 'build/Release/lowrank_emu.node'))

async function registerTests(): Promise<void> {
  process.env.LOWRANK_PREBUILD = FOLDER
  const { Tape } = await import('../../lib/autograd/tape.ts')
  const { native } = await import('../../lib/native.ts')
  const { Device, Tensor, scope } = await import('../../lib/tensor.ts')
  const { opCases } = await import('../../lib/check/cases.ts')
  const { compare } = await import('../support/compare.ts')

  /** The output of a case and the gradients of its inputs. */
  async function evaluate({ inputs, run }: OpCase, device: string, wide: boolean): Promise<TensorData[]> {
    const on = { device: Device.get(device) }
    const real = (data: Float64Array) => (wide ? data : Float32Array.from(data))
    const tensors = scope(() => {
      const leaves = inputs.map(({ data, shape, grad }) => {
        const leaf = Tensor.from(data instanceof Float64Array ? real(data) : data, shape, on)
        leaf.requiresGrad = data instanceof Float64Array && grad !== false
        return leaf
      })
      const tape = new Tape()
      const y = tape.run(() => run(operands(leaves)))
      const seed = Float64Array.from({ length: y.size }, (_, i) => Math.cos(i))
      const grads = tape.backward(y, Tensor.from(real(seed), y.shape, on))
      return [y, ...leaves.flatMap(leaf => grads.get(leaf) ?? [])]
    })
    const values: TensorData[] = []
    for (const tensor of tensors) values.push(await tensor.data())
    for (const tensor of new Set<Tensor>(tensors)) tensor.dispose()
    return values
  }

  test(`${ON_GPU ? 'a GPU' : 'the emulator'} is device cuda:0`, () => {
    assert.ok(native.info().cuda.count >= 1, native.info().cuda.reason)
    assert.is(native.info().cuda.devices?.[0]?.name === 'CUDA emulator', !ON_GPU)
  })

  let compared = 0
  for (const size of ['small', 'large'] as const)
    for (const opCase of opCases(size))
      test(`${opCase.name}, ${size}`, async () => {
        const before = native.live()
        for (const wide of [false, true]) {
          const got = await evaluate(opCase, 'cuda:0', wide)
          const expected = await evaluate(opCase, 'cpu', wide)
          const tolerance = { relative: wide ? 1e-12 : (opCase.tolerance ?? 2e-6), absolute: wide ? 1e-14 : 1e-7 }
          assert.is(got.length, expected.length)
          got.forEach((values, i) => {
            const what = `${opCase.name}: ${i ? `gradient ${i}` : 'output'} in ${wide ? 'f64' : 'f32'}`
            compare(what, values as Float64Array, expected[i] as Float64Array, tolerance)
          })
        }
        compared++
        assert.is(native.live(), before, 'every tensor is freed')
      })

  test('add is among what was compared', () => assert.ok(compared >= 2, `${compared} cases`))

  for (const dtype of ['f32', 'f64', 'bf16', 'f16', 'i32', 'i64', 'u8'] as const)
    test(`fill of ${dtype}`, async () => {
      const value = /^[fb]/.test(dtype) ? 3.140625 : 113
      const fill = async (device: string, n: number) => {
        const y = Tensor.empty([n], { device: Device.get(device), dtype })
        native.fill(y.handle, value)
        const bytes = Buffer.from(await native.read(y.handle)).toString('hex')
        y.dispose()
        return bytes
      }
      for (const n of [1, 3, 16, 1001]) assert.is(await fill('cuda:0', n), await fill('cpu', n), `n ${n}`)
    })
}

if (BUILT) await registerTests()
else test('the op table on the emulator', () => console.log('skip: lowrank_emu.node is not built'))

test.run()
