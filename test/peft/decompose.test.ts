// The largest singular values and their vectors beside those of a full decomposition.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import { normal } from '../../lib/nn/init.ts'
import { topSvd } from '../../lib/peft/decompose.ts'
import { jacobiSvd, matrix, product, transposed } from '../../lib/peft/linearAlgebra.ts'
import { Tensor } from '../../lib/tensor.ts'

const RANK = 4

/** B A of a rank, [rows, columns]. */
function ofRank(rank: number, rows: number, columns: number) {
  const [b, a] = [normal(rows * rank, 1, 1, 'b'), normal(rank * columns, 1, 1, 'a')]
  return product(matrix(rows, rank, b), matrix(rank, columns, a))
}

for (const [name, w] of [
  ['close values, as those of random weights', matrix(90, 140, normal(90 * 140, 1, 1, 'w'))],
  ['more rows than columns', matrix(140, 60, normal(140 * 60, 1, 2, 'w'))],
  ['one value above all others', product(matrix(80, 80, normal(6400, 1, 3, 'w')), transposed(ofRank(1, 80, 80)))],
  ['fewer values than are asked for', ofRank(2, 70, 50)],
  ['nothing but zeros', matrix(40, 50, new Float64Array(2000))],
] as const)
  test(`${name}: values are those of a full decomposition, and so is what the vectors make`, async () => {
    const live = native.live()
    const full = jacobiSvd(w)
    const tensor = Tensor.from(w.data, [w.rows, w.columns], { dtype: 'f64' })
    const { u, vt, values } = await topSvd(tensor, RANK, { seed: 0, name })
    const most = Math.max(full.values[0]!, 1e-300)
    for (let k = 0; k < RANK; k++)
      assert.ok(Math.abs(values[k]! - full.values[k]!) <= 1e-7 * most, `${k}: ${values[k]}`)
    const part = (
      left: ArrayLike<number>,
      right: ArrayLike<number>,
      at: (side: 'u' | 'v', i: number, k: number) => number,
    ) =>
      Array.from({ length: w.rows * w.columns }, (_, each) => {
        const [i, j] = [Math.floor(each / w.columns), each % w.columns]
        let sum = 0
        for (let k = 0; k < RANK; k++) sum += left[at('u', i, k)]! * full.values[k]! * right[at('v', j, k)]!
        return sum
      })
    const found = part(await u.data(), await vt.data(), (side, i, k) =>
      side === 'u' ? i * RANK + k : k * w.columns + i,
    )
    const exact = part(full.u.data, full.v.data, (side, i, k) => i * full[side].columns + k)
    for (const [i, value] of exact.entries()) assert.ok(Math.abs(found[i]! - value) <= 1e-5 * most, `${i}: ${found[i]}`)
    for (const each of [tensor, u, vt]) each.dispose()
    assert.is(native.live(), live)
  })

test.run()
