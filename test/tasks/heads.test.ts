// A base that classifies already: rows by name, in order, or anew.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toRows } from '../../lib/data/row.ts'
import { createModel, loadModel, type Model } from '../../lib/model.ts'
import { labelRows } from '../../lib/models/labelRows.ts'
import { saveMerged } from '../../lib/peft/merged.ts'
import { inOrderOf, splitData } from '../../lib/tasks/prepare.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { tinyConfig } from '../train/support.ts'

const dir = temporaryFolder()
const names = ['negative', 'neutral', 'positive']

async function base(modelType: string, labels: readonly string[]): Promise<string> {
  const path = join(dir, `${modelType}-${labels.join('-')}`)
  const config = { ...tinyConfig(), modelType }
  const shape = { dim: 32, n_layers: 1, n_heads: 2, hidden_dim: 64 }
  const values = { ...config.values, ...shape, model_type: modelType, num_hidden_layers: 1, type_vocab_size: 1 }
  const model = createModel(
    { ...config, values },
    { task: 'sequence-classification', labels, problem: 'single', seed: 9 },
  )

  await saveMerged(model, path)
  model.dispose()
  return path
}

async function classifier(model: Model): Promise<number[][]> {
  const output = [...model.linears.values()].at(-1)!
  const [bias, weight] = [await output.bias!.tensor.data(), await output.weight.tensor.data()]
  const width = weight.length / bias.length
  return Array.from(bias, (b, i) => [b, ...Array.from(weight.subarray(i * width, (i + 1) * width))])
}

for (const modelType of ['bert', 'roberta', 'distilbert'])
  test(`${modelType}: rows of the classifier follow the names of their labels`, async () => {
    const path = await base(modelType, names)
    const load = (labels: readonly string[], headRows?: 'byName' | 'inOrder' | 'anew') =>
      loadModel(path, { task: 'sequence-classification', labels, headRows, problem: 'single' })
    const read = async (labels: readonly string[], headRows?: 'byName' | 'inOrder' | 'anew') => {
      const model = await load(labels, headRows)
      const found = { rows: await classifier(model), notices: model.notices, fresh: model.newTensors.length }
      model.dispose()
      return found
    }
    const own = await read(names)
    assert.equal([own.notices, own.fresh], [[], 0])
    const turned = await read(['positive', 'negative', 'neutral'])
    assert.equal(
      turned.rows,
      [2, 0, 1].map(i => own.rows[i]!),
    )
    assert.match(turned.notices[0]!, /its rows are taken by name/)
    const fewer = await read(['positive', 'negative'])
    assert.equal(fewer.rows, [own.rows[2]!, own.rows[0]!])
    const more = await read(['positive', 'mixed', 'negative', 'neutral'])
    assert.equal([more.rows[0], more.rows[2], more.rows[3]], [own.rows[2], own.rows[0], own.rows[1]])
    assert.match(more.notices[0]!, /mixed starts anew/)
    assert.ok(more.fresh > 0, 'it is trained and saved')
    const other = await read(['a', 'b', 'c'])
    assert.match(other.notices[0]!, /its rows are taken in this order for a, b, c/)
    assert.equal([other.rows, other.fresh], [own.rows, 0])
    const two = await read(['a', 'b'])
    assert.match(two.notices[0]!, /none of which is a label here: the classifier starts anew/)
    assert.ok(two.fresh > 0)
    const renamed = await read(['positive', 'negative', 'neutral'], 'inOrder')
    assert.equal([renamed.rows, renamed.notices], [own.rows, []])
    assert.ok((await read(names, 'anew')).fresh > 0)
  })

test('labels that a base only numbers are taken in their order, and said so', () => {
  const { rows, notice } = labelRows(['no', 'yes'], ['LABEL_0', 'LABEL_1'])
  assert.equal(rows, [0, 1])
  assert.match(notice!, /LABEL_0, LABEL_1: its rows are taken in this order for no, yes/)
  assert.equal(labelRows(['1', '0'], ['LABEL_0', 'LABEL_1']).rows, [1, 0])
  assert.equal(labelRows(['Negative', ' Neutral', 'POSITIVE'], ['positive', 'negative', 'neutral']).rows, [1, 2, 0])
  assert.equal(labelRows(['US', 'us'], ['us', 'US']).rows, [1, 0])
  assert.equal(labelRows(['Us', 'it'], ['us', 'US']).rows, [0, 1], 'none is told apart: by order')
  assert.equal(labelRows(['no', 'maybe', 'yes'], ['LABEL_0', 'LABEL_1']).rows, [-1, -1, -1])
})

test("data take the order of a base's labels where they have the same", async () => {
  const train = toRows(names.map(label => ({ text: 'x', label })))
  const data = await splitData({ train, validation: train })
  const order = ['positive', 'negative', 'neutral']
  assert.equal(inOrderOf(data, order).labels!.names, order)
  assert.is(inOrderOf(data, ['positive', 'negative']), data)
  assert.is(inOrderOf(data, ['positive', 'negative', 'mixed']), data)
  assert.is(inOrderOf(data, undefined), data)
})

test.run()
