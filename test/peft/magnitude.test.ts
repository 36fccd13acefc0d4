// DoRA's gain m / ‖W + s B A‖: the lengths of rows are found without making the sum, whatever W is stored as.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import { scale as scaleBy } from '../../lib/ops/scale.ts'
import { attach, dora } from '../../lib/peft/index.ts'
import { copyOf, scope } from '../../lib/tensor.ts'
import { must } from '../../lib/tuple.ts'
import { compare } from '../support/compare.ts'
import { tinyModel } from './golden.ts'

const values = async (tensor: { data(): Promise<ArrayLike<number>> }) => Float64Array.from(await tensor.data())

for (const storage of ['f32', 'f64', 'bf16', 'nf4', 'int8'] as const)
  test(`${storage}: the gain is m over the lengths of rows, also of a weight that was replaced`, async () => {
    const before = native.live()
    const model = await tinyModel('bert-seq', { storage })
    const [path, linear] = must(
      [...model.linears].find(([name]) => name.endsWith('query')),
      'query',
    )
    const adapter = attach(model, dora({ r: 3, alpha: 6, targetModules: ['query'], initLoraWeights: false }), {
      seed: 1,
    })
    const { factors, gain } = must(linear.adapters[0], path)
    const { a, b, scale } = must(factors, 'factors')()
    const m = must(
      adapter.trainable.find(({ name }) => name.endsWith('magnitude_vector')),
      'm',
    )
    const wide = storage === 'f64' ? 'f64' : 'f32'
    const check = async (what: string) => {
      const weight = copyOf(linear.weight.tensor, wide)
      const found = scope(() => must(gain, 'gain')(linear))
      const [W, A, B, M, G] = await Promise.all([weight, a, b, m.tensor, found].map(values))
      const [rows, columns, r] = [linear.outFeatures, linear.inFeatures, a.rows]
      const expected = Float64Array.from({ length: rows }, (_, o) => {
        let square = 0
        for (let i = 0; i < columns; i++) {
          let sum = W![o * columns + i]!
          for (let k = 0; k < r; k++) sum += scale * B![o * r + k]! * A![k * columns + i]!
          square += sum * sum
        }
        return M![o]! / Math.sqrt(square)
      })
      compare(what, Float32Array.from(G!), Float32Array.from(expected))
      for (const each of [weight, found]) each.dispose()
    }
    await check('as it was loaded')
    linear.weight.replace(scope(() => scaleBy(copyOf(linear.weight.tensor, wide), 1.5)))
    await check('replaced')
    adapter.detach()
    model.dispose()
    assert.equal(native.live(), before)
  })

test.run()
