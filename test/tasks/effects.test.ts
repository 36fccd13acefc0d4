// Options that would have no effect are errors, and data that say too little are told.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { findColumns } from '../../lib/data/columns.ts'
import { toRows } from '../../lib/data/row.ts'
import { taskOf } from '../../lib/tasks/index.ts'
import { taskValues } from '../../lib/tasks/options.ts'
import { splitData } from '../../lib/tasks/prepare.ts'
import { resolveTrainSettings } from '../../lib/train/settings.ts'
import { rejects } from '../data/support.ts'
import { tinyLora, tinyModel } from '../train/support.ts'

const rows = toRows(Array.from({ length: 20 }, (_, i) => ({ text: i < 2 ? '  ' : `t ${i}`, label: `c${i % 2}` })))

test('shares of a split that the data bring', async () => {
  const fractions = [0.5, 0.3, 0.2] as const
  const whole = { train: rows, validation: rows, test: rows }
  await rejects(() => splitData(whole, { fractions }), 'ERR_OPTION', /split: 0.5\/0.3\/0.2 has no effect/)
  assert.is((await splitData({ train: rows, test: rows }, { fractions })).splits.validation.length > 0, true)
})

test('a part that no row has', async () => {
  await rejects(
    () => findColumns(['text'], { tex: 'text' } as object),
    'ERR_OPTION',
    /columns.tex: there is no such part.*"text"/,
  )
})

test('an option of another task', async () => {
  const options = { maskProbability: 0.3, lr: 1e-3 }
  const classes = taskOf({ task: 'sequence-classification', problem: 'single' })
  await rejects(() => taskValues(classes, options), 'ERR_OPTION', /maskProbability: 0.3 has no effect/)
  assert.equal(taskValues(taskOf({ task: 'masked-lm' }), options), { maskProbability: 0.3 })
  assert.equal(taskValues(classes, { lr: 1e-3 }), {})
})

test('patience without validations', async () => {
  using model = tinyModel()
  const method = tinyLora(model)
  const train = { length: 40 }
  const settled = (options: object, sizes: object = { validation: { length: 9 } }) =>
    resolveTrainSettings(method, options, { train, ...sizes })
  await rejects(() => settled({ patience: 3 }, {}), 'ERR_OPTION', /patience: 3 has no effect.*no validation split/)
  await rejects(() => settled({ patience: 3, evalEvery: 'never' }), 'ERR_OPTION', /evalEvery is never/)
  assert.is(settled({ patience: 0 }, {}).patience, 0)
  assert.is(settled({ patience: 3 }).patience, 3)
  method.detach()
})

test('empty texts and unnamed tags are told', async () => {
  const { notices } = await splitData({ train: rows })
  assert.ok(notices.some(notice => /^2 of 20 rows have an empty "text", the first row 1; drop them/.test(notice)))
  const tagged = toRows(Array.from({ length: 10 }, (_, i) => ({ tokens: ['Ann', `${i}`], ner_tags: [1, 0] })))
  const hint = /a number; labels name them in the order of their numbers/
  assert.ok((await splitData({ train: tagged })).notices.some(notice => hint.test(notice)))
})

test.run()
