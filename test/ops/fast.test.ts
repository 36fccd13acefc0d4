// Fast f32 code against the f64 template, and one thread against three, for every instruction set this machine has: the
// set is fixed when the process starts, so each runs in a process of its own.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
import type { OpCase } from '../../lib/check/case.ts'
import { operands } from '../../lib/check/case.ts'
import { opCases } from '../../lib/check/cases.ts'
import { native } from '../../lib/native.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'

const ISAS =
  process.arch === 'arm64' ? ['portable', 'neon', 'neonbf16'] : ['portable', 'avx2', 'avx512', 'avx512bf16', 'amx']

/** The output of a case and the gradients of all its inputs that have one. */
async function evaluate({ inputs, run }: OpCase, wide: boolean): Promise<(Float32Array | Float64Array)[]> {
  const tensors = scope(() => {
    const leaves = inputs.map(({ data, shape, grad }) => {
      const isReal = data instanceof Float64Array
      const leaf = Tensor.from(isReal && !wide ? Float32Array.from(data) : data, shape)
      leaf.requiresGrad = isReal && grad !== false
      return leaf
    })
    const tape = new Tape()
    const y = tape.run(() => run(operands(leaves)))
    const seed = Float64Array.from({ length: y.size }, (_, i) => Math.cos(i))
    const grads = tape.backward(y, Tensor.from(wide ? seed : Float32Array.from(seed), y.shape))
    return [y, ...leaves.flatMap(leaf => grads.get(leaf) ?? [])]
  })
  const values = []
  for (const tensor of tensors) values.push((await tensor.data()) as Float32Array)
  for (const tensor of new Set(tensors)) tensor.dispose()
  return values
}

if (process.env.LOWRANK_ISA === undefined) {
  const best = ISAS.indexOf(native.info().isa)
  for (const isa of ISAS.slice(0, best + 1))
    test(`fast code on ${isa}`, () => {
      const env = { ...process.env, LOWRANK_ISA: isa, LOWRANK_THREADS: '3' }
      const args = [...process.execArgv, fileURLToPath(import.meta.url)]
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' })
      assert.is(status, 0, stdout + stderr)
    })
} else {
  for (const opCase of opCases('large'))
    test(`${opCase.name} on ${native.info().isa}`, async () => {
      const before = native.live()
      native.setThreads(3)
      const expected = await evaluate(opCase, true)
      const got = await evaluate(opCase, false)
      native.setThreads(1)
      const single = await evaluate(opCase, false)
      got.forEach((values, i) => {
        const what = i ? `gradient ${i}` : 'output'
        compare(`${opCase.name}: ${what}`, values, expected[i]!, { relative: opCase.tolerance ?? 2e-6, absolute: 1e-7 })
        assert.equal(
          Buffer.from(values.buffer).compare(Buffer.from(single[i]!.buffer)),
          0,
          `${what}: threads change bits`,
        )
      })
      assert.is(native.live(), before, 'every tensor is freed')
    })
}

test.run()
