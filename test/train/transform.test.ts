// A transform of one's own: what training sees of the examples, and what evaluation and a resumed run do.

import { rmSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { batches } from '../../lib/data/batches.ts'
import { sequenceClasses } from '../../lib/data/targets.ts'
import type { Transform } from '../../lib/data/transform.ts'
import { evaluate } from '../../lib/train/evaluate.ts'
import { train } from '../../lib/train/train.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventsOf, runToEnd, sequences, tinyLora, tinyModel } from './support.ts'

/** Word dropout: a share of the tokens becomes the unknown one. */
const wordDropout = (share: number): Transform => ({
  name: 'word dropout',
  key: String(share),
  apply: (example, rng) => ({ ...example, ids: example.ids.map(id => (rng.float() < share ? 1 : id)) }),
})
const short = { epochs: 1, batchSize: 8, lr: 1e-3, evaluateBefore: false }

test('it sees each example with numbers of its own, whatever the batches', () => {
  const examples = sequences(24)
  const plan = { seed: 2, collate: sequenceClasses, transform: wordDropout(0.5) }
  const idsOf = (batchSize: number, epoch: number) =>
    batches(examples, { ...plan, batchSize, epoch }).at(0).microBatches[0]!.ids
  const [few, many, later] = [idsOf(4, 0), idsOf(24, 0), idsOf(24, 1)]
  assert.equal([...many.subarray(0, few.length)], [...few])
  assert.not.equal([...many], [...later])
  const { label: _, ...given } = examples.at(0)!
  assert.equal(given, (({ label: _, ...rest }) => rest)(sequences(24)[0]!), 'the data stay as they are')
})

test('it changes what is trained on and nothing that is measured', async () => {
  const data = { train: sequences(24), validation: sequences(12, 3) }
  const run = async (transform?: Transform) => {
    const model = tinyModel()
    const method = tinyLora(model)
    const events = await runToEnd(method, data, { ...short, transform })
    const lost = eventsOf(events, 'step').map(event => event.loss)
    const plain = await evaluate(model, data.validation)
    const given = await evaluate(model, data.validation, { transform })
    model.dispose()
    return { lost, plain: plain.loss, given: given.loss }
  }
  const [without, dropped] = [await run(), await run(wordDropout(0.5))]
  assert.not.equal(dropped.lost, without.lost)
  assert.is(dropped.plain, dropped.given)
})

test('a checkpoint goes on under an equal transform alone', async () => {
  const data = { train: sequences(24), validation: sequences(12, 3) }
  const outputDir = temporaryFolder()
  const model = tinyModel()
  const method = tinyLora(model)
  const options = { ...short, outputDir }
  try {
    await runToEnd(method, data, { ...options, transform: wordDropout(0.5) })
    const again = async (transform?: Transform) => {
      for await (const _ of train(method, data, { ...options, transform, epochs: 1, resume: true }));
    }
    await again(wordDropout(0.5))
    for (const other of [wordDropout(0.25), undefined]) {
      const error = await again(other).then(
        () => assert.unreachable('should have thrown') as never,
        (error: Error) => error,
      )
      assert.match(error.message, /transform is (word dropout 0.25|none), it was word dropout 0.5/)
    }
  } finally {
    model.dispose()
    rmSync(outputDir, { recursive: true })
  }
})

test.run()
