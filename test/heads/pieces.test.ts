// A loss in pieces is the loss of all rows at once: value, gradients, masks, routes.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { lossInPieces } from '../../lib/heads/pieces.ts'
import { Linear } from '../../lib/nn/linear.ts'
import { Parameter } from '../../lib/nn/module.ts'
import { withRoutes } from '../../lib/nn/routes.ts'
import { crossEntropy } from '../../lib/ops/crossEntropy.ts'
import { withRandom } from '../../lib/ops/random.ts'
import { Tensor } from '../../lib/tensor.ts'
import { backward, train } from '../peft/golden.ts'
import { compare } from '../support/compare.ts'

const [N, D, V, R] = [13, 6, 17, 3]
const values = (size: number, seed: number) => Float64Array.from({ length: size }, (_, i) => Math.sin(i * seed + seed))
const parameter = (name: string, shape: readonly [number, number], seed: number) =>
  new Parameter(name, Tensor.from(values(shape[0] * shape[1], seed), shape, { dtype: 'f64' }))

for (const routes of [undefined, [4, 5, 4]])
  test(`13 rows in pieces of 5${routes ? ', three routes' : ''}: loss and gradients are those of one piece`, async () => {
    const output = new Linear('lm_head', parameter('w', [V, D], 0.7), undefined, 'f32')
    const pairs = ['one', 'two'].map((name, i) => {
      const [a, b] = [parameter(`a${i}`, [R, D], 0.3 + i), parameter(`b${i}`, [V, R], 1.3 + i)]
      const factors = () => ({ a: a.tensor, b: b.tensor, scale: 2, dropout: 0.25, site: 7 })
      output.adapters.push({ name, params: [a, b], active: i === 0, factors })
      return [a, b]
    })
    const x = parameter('x', [N, D], 0.9)
    const ids = Int32Array.from({ length: N }, (_, i) => (i * 5) % V)
    const run = async (pieceBytes: number) => {
      const parameters = [x, ...pairs.flat()]
      const stop = train(parameters)
      let most = 0
      const loss = () =>
        lossInPieces(
          x.tensor,
          [Tensor.from(ids, [N])],
          V,
          (rows, [targets]) => {
            most = Math.max(most, rows.rows)
            return crossEntropy(output.apply(rows), targets, { scale: 1 / N })
          },
          pieceBytes,
        )
      const random = { seed: 3, step: 1, rowOffset: 2, sequenceOffset: 0 }
      const given = routes?.map((rows, i) => ({ adapter: [null, 'one', 'two'][i] ?? null, rows }))
      const value = await withRandom(random, () => backward(given ? () => withRoutes(given, loss) : loss))
      const grads = await Promise.all(parameters.map(each => each.gradient!.data()))
      stop()
      return { value, grads: grads.flatMap(each => [...each]), most }
    }
    const [whole, cut] = [await run(1 << 20), await run(4 * V * 5)]
    assert.equal([whole.most, cut.most], [N, 5])
    compare('loss', [cut.value], [whole.value], { relative: 1e-12 })
    compare('gradients', cut.grads, whole.grads, { relative: 1e-12 })
    for (const each of [x, output.weight, ...pairs.flat()]) each.dispose()
  })

test.run()
