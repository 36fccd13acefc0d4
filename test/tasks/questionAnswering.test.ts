import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packExamples } from '../../lib/data/batches.ts'
import { type Example, wholeRows } from '../../lib/data/example.ts'
import { toRows } from '../../lib/data/row.ts'
import { answerSpans, questionHead } from '../../lib/heads/questionAnswering.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { encodeRows } from '../../lib/tasks/encode.ts'
import { taskOf } from '../../lib/tasks/index.ts'
import { prepareData, splitData } from '../../lib/tasks/prepare.ts'
import { type QuestionPrediction, questionAnswering } from '../../lib/tasks/questionAnswering.ts'
import { Tensor } from '../../lib/tensor.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { evaluate } from '../../lib/train/evaluate.ts'
import { rejects } from '../data/support.ts'
import { tinyModel } from '../train/support.ts'

const tokenizer = await loadTokenizer(join(packageRoot, 'assets/encoder'))
const { task } = questionHead
const columns = { text: 'question', text2: 'context', label: 'answers' }
const filler = Array.from({ length: 60 }, (_, i) => `word${i % 7}`).join(' ')
const context = `Anna lives in Oslo. ${filler} Her brother Bjørn 🙂 moved to New York in 1999. ${filler}`
const at = (text: string) => [...context.slice(0, context.indexOf(text))].length
const asked = (question: string, ...texts: string[]) => ({
  question,
  context,
  answers: { text: texts, answer_start: texts.map(at) },
})
const rows = toRows([asked('Where does Anna live?', 'Oslo'), asked('Where did Bjørn move?', 'New York'), asked('Why?')])
const encoded = (given = rows, more: object = {}) => [
  ...encodeRows(given, tokenizer, { task, columns, maxLength: 48, ...more }).examples,
]

/** Characters of the text that a label stands for; undefined where the window has no answer. */
function labelled({ label, passage }: Example): string | undefined {
  const [first, last] = label as Int32Array
  if (last === 0) return undefined
  return passage!.text.slice(passage!.places[2 * first!], passage!.places[2 * last! + 1])
}

test('windows share the stride, cover the text, and label the answer where they hold it', () => {
  const examples = encoded(rows.slice(0, 2), { taskOptions: { docStride: 16 } })
  const parts = examples.filter(({ row }) => row === rows[0])
  assert.ok(parts.length > 4)
  assert.equal(
    parts.map(({ part }) => part),
    [...parts.keys()],
  )
  const spans = tokenizer.spans(context)
  const places = parts.map(({ passage }) => Array.from(passage!.places.filter((p, i) => p >= 0 && i % 2 === 0)))
  assert.equal([...new Set(places.flat())], spans.starts)
  for (const [i, window] of places.slice(1).entries())
    assert.equal(window.slice(0, 16), places[i]!.slice(-16), 'the stride is shared')
  for (const { ids, typeIds } of parts) {
    assert.ok(ids.length <= 48)
    assert.is(typeIds!.length, ids.length)
    assert.is(ids[0], tokenizer.specials.cls)
    assert.is(ids.at(-1), tokenizer.specials.sep)
  }
  assert.equal(new Set(parts.map(labelled)), new Set(['Oslo', undefined]))
  assert.is(labelled(parts[0]!), 'Oslo')
  const others = examples.filter(({ row }) => row === rows[1]).map(labelled)
  assert.equal(new Set(others), new Set(['New York', undefined]), 'places count code points, as Python does')
})

test('flat rows, JSON in a cell and lists of pairs are the same answers', async () => {
  const start = at('Oslo')
  const question = 'Where does Anna live?'
  const forms = [
    { question, context, answers: JSON.stringify({ text: ['Oslo'], answer_start: [start] }) },
    { question, context, answers: [{ text: 'Oslo', answer_start: start }] },
    { question, context, answer: 'Oslo', answer_start: start },
    { question, context, answer: 'Oslo', answer_start: String(start) },
  ]
  for (const form of forms) {
    const label = 'answer' in form ? 'answer' : 'answers'
    assert.is(labelled(encoded(toRows([form]), { columns: { ...columns, label } })[0]!), 'Oslo', JSON.stringify(form))
  }
  const bad = { question, context, answers: { text: ['Oslo'], answer_start: [start + 1] } }
  await rejects(() => encoded(toRows([bad])), 'ERR_DATA', /the text has "slo\." at 15, not "Oslo"/)
  await rejects(() => encoded(toRows([{ ...bad, answers: 3 }])), 'ERR_DATA', /is 3; expected \{ text/)
  await rejects(() => encoded(rows, { taskOptions: { docStride: 40 } }), 'ERR_OPTION', /docStride: 40 tokens/)
  await rejects(() => encoded(rows, { maxLength: 5 }), 'ERR_DATA', /maxLength: .*the question takes/)
})

test('the task is found by its columns, and whether answers may be missing by the rows', async () => {
  const data = await splitData({ train: rows, validation: rows })
  assert.is(data.choice.task, task)
  assert.equal(data.columns, columns)
  const flat = toRows([{ question: 'Who?', context, answer: 'Anna', answer_start: 0 }])
  assert.equal((await splitData({ train: flat, validation: flat })).columns, { ...columns, label: 'answer' })
  const prepared = async (train: typeof rows) => {
    const { train: set } = await prepareData({ train, validation: train }, tokenizer, { maxLength: 48 })
    return set.examples.every(({ passage }) => passage!.mayLack)
  }
  assert.is(await prepared(rows), true)
  assert.is(await prepared(rows.slice(0, 2)), false)
  const texts = toRows([
    { question: 'Who?', context, label: 'a' },
    { question: 'Why?', context, label: 'b' },
  ])
  assert.is((await splitData({ train: texts, validation: texts })).choice.task, 'sequence-classification')
})

/** Answers of windows whose logits are 0 but at the places given, as start and end. */
function read(examples: readonly Example[], spans: readonly (readonly [number, number, number])[]): QuestionPrediction {
  const batch = packExamples(examples, Int32Array.from(examples.keys()), { collate: answerSpans })
  const data = new Float32Array(2 * batch.ids.length)
  spans.forEach(([first, last, score], i) => {
    data[2 * (batch.cuSeqlens[i]! + first)]! += score / 2
    data[2 * (batch.cuSeqlens[i]! + last) + 1]! += score / 2
  })
  const found = questionAnswering.read({ data, columns: 2 }, examples, batch, 0)
  return questionAnswering.merge!(found, examples)
}

test('the best stretch of all windows is the answer; none is, where that scores higher in each', () => {
  const examples = encoded(rows.slice(0, 1), { taskOptions: { unanswerable: true } })
  const [first, last] = examples.at(0)!.label as unknown as [number, number]
  const others = examples.slice(1).map(() => [0, 0, 12] as const)
  const found = read(examples, [[first, last, 30], ...others])
  assert.is(questionAnswering.right(found), true)
  const reader = { tokenizer, labels: [], columns }
  const record = questionAnswering.record(found, examples.at(0)!, reader, 1)
  assert.equal([record.answer, record.start, record.end], ['Oslo', 14, 18])
  assert.ok(Number(record.probability) > 0.9)
  const none = read(examples, [[0, 0, 12], ...others])
  assert.is(questionAnswering.record(none, examples.at(0)!, reader, 1).answer, '')
  assert.is(questionAnswering.right(none), false)
  assert.equal(questionAnswering.mistake(none, examples.at(0)!, reader).predicted, [{ text: '(no answer)' }])
  const sure = encoded(rows.slice(0, 1))
  assert.is.not(questionAnswering.record(read(sure, [[0, 0, 12], ...others]), sure[0]!, reader, 1).answer, '')
  const wrong = read(examples, [[first + 1, last + 3, 9], ...others])
  const shown = questionAnswering.mistake(wrong, examples.at(0)!, reader)
  const marks = [shown.gold, shown.predicted].map(side => (Array.isArray(side) ? side[1].mark : side))
  assert.equal(marks, ['missed', 'wrong'])
})

test('evaluation gives one prediction a row, whatever the windows', async () => {
  const model = tinyModel({ task, labels: undefined }, { vocab_size: tokenizer.vocabSize })
  const examples = encoded()
  assert.ok(examples.length > wholeRows(examples).length)
  const found = await evaluate<QuestionPrediction>(model, examples, { batchSize: 4 })
  assert.equal([found.examples, found.predictions.length], [3, 3])
  assert.ok('exactMatch' in found.metrics && 'noAnswerF1' in found.metrics)
  const again = await evaluate<QuestionPrediction>(model, examples, { batchSize: 7 })
  assert.equal(
    again.predictions.map(p => p.candidates[0]?.start),
    found.predictions.map(p => p.candidates[0]?.start),
  )
  model.dispose()
})

test('label smoothing spreads over the tokens of a sequence alone', async () => {
  const model = tinyModel({ task, labels: undefined })
  const examples = [3, 7, 5].map((length, i) => {
    return { ids: new Int32Array(length).fill(5), label: Int32Array.of(i, i + 1), truncated: false, row: rows[0]! }
  })
  const batch = packExamples(examples, Int32Array.of(0, 1, 2), { collate: answerSpans })
  const hidden = Tensor.from(
    Float32Array.from({ length: 15 * 32 }, (_, i) => Math.sin(i)),
    [15, 32],
  )
  const targets = Tensor.from(batch.targets!.values, [15, 2])
  const smoothing = 0.2
  const loss = model.head.loss(hidden, targets, { total: 3, labelSmoothing: smoothing }, batch)
  const logits = (await model.head.logits(hidden).data()) as Float32Array
  let expected = 0
  examples.forEach(({ label }, i) => {
    const [from, to] = [batch.cuSeqlens[i]!, batch.cuSeqlens[i + 1]!]
    for (const c of [0, 1]) {
      const own = Array.from({ length: to - from }, (_, t) => logits[2 * (from + t) + c]!)
      const lse = Math.log(own.reduce((sum, x) => sum + Math.exp(x), 0))
      const mean = own.reduce((sum, x) => sum + x, 0) / own.length
      expected += (lse - (1 - smoothing) * own[label[c]!]! - smoothing * mean) / 6
    }
  })
  assert.ok(Math.abs((await loss.item()) - expected) < 1e-6, `${await loss.item()} ${expected}`)
  model.dispose()
})

test('metrics are told apart only where some texts have no answer', () => {
  const { score } = taskOf({ task })
  const one = read(encoded(rows.slice(0, 1)), [[0, 0, 0]])
  assert.equal(Object.keys(score([one], [], { mean: 0, weight: 1 }).metrics), ['exactMatch', 'f1'])
})

test.run()
