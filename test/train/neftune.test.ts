import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { noisyRows, withNoise } from '../../lib/nn/noise.ts'
import { withRandom } from '../../lib/ops/random.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { answers, eventsOf, runToEnd, sequences, tinyLora, tinyModel, tinySeq2seq } from './support.ts'

const owner = {}
const random = { seed: 3, step: 2, rowOffset: 0, sequenceOffset: 0 }

async function noiseOf(lengths: readonly number[], from = 0, alpha = 5, width = 64): Promise<Float32Array> {
  const cuSeqlens = Int32Array.from([0, ...lengths].map((_, i) => lengths.slice(0, i).reduce((a, b) => a + b, 0)))
  const { read } = scope(() => {
    const rows = Tensor.zeros([cuSeqlens.at(-1)!, width])
    const noisy = () => withNoise(owner, alpha, cuSeqlens, () => noisyRows(owner, rows))
    return { read: withRandom({ ...random, rowOffset: from }, noisy).data() }
  })
  return (await read) as Float32Array
}

test('noise is even over its range, which follows the length of each sequence', async () => {
  const noise = await noiseOf([100, 25])
  for (const [part, length] of [
    [noise.subarray(0, 6400), 100],
    [noise.subarray(6400), 25],
  ] as const) {
    const most = 5 / Math.sqrt(length * 64)
    assert.ok(part.every(value => Math.abs(value) <= most))
    const mean = part.reduce((a, b) => a + b, 0) / part.length
    const variance = part.reduce((a, b) => a + b * b, 0) / part.length
    assert.ok(Math.abs(mean) < 0.05 * most, `mean ${mean} of ${most}`)
    assert.ok(Math.abs(variance / (most ** 2 / 3) - 1) < 0.06, `variance ${variance}`)
    assert.ok(new Set(part).size > 200)
  }
})

test('it follows seed and token, however a step is cut, and is none in evaluation', async () => {
  const whole = await noiseOf([10, 7])
  assert.equal([...(await noiseOf([7], 10))], [...whole.subarray(640)])
  const { read } = scope(() => {
    const rows = Tensor.zeros([3, 4])
    return { read: withNoise(owner, 5, Int32Array.of(0, 3), () => noisyRows(owner, rows)).data() }
  })
  assert.ok(((await read) as Float32Array).every(value => value === 0))
})

for (const [name, make, examples] of [
  ['an encoder', tinyModel, sequences],
  ['an encoder-decoder', tinySeq2seq, answers],
] as const)
  test(`a run of ${name} trains under it, to the same bytes each time, and evaluates without it`, async () => {
    const losses = async (neftune: number) => {
      const model = make()
      const data = { train: examples(32), validation: examples(8, 9) }
      const events = await runToEnd(tinyLora(model), data, { epochs: 2, batchSize: 8, neftune })
      model.dispose()
      return [eventsOf(events, 'step').map(e => e.loss), eventsOf(events, 'evaluation')[0]!.loss] as const
    }
    const [[noisy, before], [again], [plain, same]] = [await losses(10), await losses(10), await losses(0)]
    assert.equal(noisy, again)
    assert.is.not(noisy[0], plain[0])
    assert.is(before, same)
  })

test('of an encoder-decoder what is read has noise, and what is said has none', async () => {
  const model = tinySeq2seq()
  const { wordEmbeddings } = model.backbone
  const said = [...model.embeddings.values()].find(table => table !== wordEmbeddings)!
  const ids = Tensor.from(Int32Array.of(3, 4, 5), [3])
  const cuSeqlens = Int32Array.of(0, 3)
  const read = (table: typeof said, alpha: number) =>
    withRandom(random, () => scope(() => withNoise(wordEmbeddings, alpha, cuSeqlens, () => table.apply(ids)))).data()
  assert.equal(await read(said, 5), await read(said, 0))
  assert.not.equal(await read(wordEmbeddings, 5), await read(wordEmbeddings, 0))
  model.dispose()
})

test.run()
