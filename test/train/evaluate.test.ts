import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { EntityReport } from '../../lib/metrics/entities.ts'
import { native } from '../../lib/native.ts'
import type { ItemsPrediction } from '../../lib/tasks/items.ts'
import { argmax, softmax, softmaxAt } from '../../lib/tasks/logits.ts'
import { metricNames } from '../../lib/tasks/scores.ts'
import type { ClassPrediction, LabelsPrediction } from '../../lib/tasks/sequence.ts'
import { Device } from '../../lib/tensor.ts'
import { evaluate, predict } from '../../lib/train/evaluate.ts'
import { hideTokens, sentences, sequences, TAGS, tinyModel } from './support.ts'

test('logits become probabilities', () => {
  const logits = { data: Float32Array.of(1, 3, 3, -1000, 0, 1000), columns: 3 }
  assert.is(argmax(logits, 0), 1, 'the first of equal ones')
  const row = softmax(logits, 0)
  assert.ok(Math.abs(row[0]! - 1 / (1 + 2 * Math.exp(2))) < 1e-7)
  assert.ok(Math.abs(softmaxAt(logits, 0, 1) - row[1]!) < 1e-7)
  assert.equal(Array.from(softmax(logits, 1)), [0, 0, 1])
  assert.is(softmaxAt(logits, 1, 2), 1)
})

test('two evaluations are identical, whatever is left over between them', async () => {
  const model = tinyModel()
  const examples = sequences(45)
  const live = native.live()
  const first = await evaluate(model, examples, { batchSize: 8 })
  const inUse = Device.get('cpu').memory().live
  const second = await evaluate(model, examples, { batchSize: 8 })
  assert.equal({ ...second, seconds: 0 }, { ...first, seconds: 0 })
  assert.is(native.live(), live)
  assert.is(Device.get('cpu').memory().live, inUse)
  assert.is(first.predictions.length, 45)
  assert.is(first.examples, 45)
  model.dispose()
})

test('loss and accuracy are those of the probabilities', async () => {
  const model = tinyModel()
  const examples = sequences(45)
  const { predictions, loss, metrics } = await evaluate<ClassPrediction>(model, examples, { batchSize: 7 })
  let [sum, right] = [0, 0]
  predictions.forEach((p, i) => {
    assert.ok(p.gold !== undefined && p.gold === examples.at(i)!.label)
    sum -= Math.log(p.probabilities![p.gold]!)
    if (p.predicted === p.gold) right++
    assert.ok(Math.abs(p.probabilities!.reduce((a, b) => a + b, 0) - 1) < 1e-6)
  })
  assert.ok(Math.abs(loss - sum / 45) < 1e-5, `${loss} ${sum / 45}`)
  assert.is(metrics.accuracy, right / 45)
  assert.equal(Object.keys(metrics), metricNames(model))
  model.dispose()
})

test('taggers answer for words, and entities are scored', async () => {
  const model = tinyModel({ task: 'token-classification', labels: TAGS })
  const examples = sentences(12)
  const { predictions, metrics, reports, loss } = await evaluate<ItemsPrediction>(model, examples, { batchSize: 5 })
  let [sum, words] = [0, 0]
  for (const [i, p] of predictions.entries()) {
    assert.is(p.predicted.length, examples.at(i)!.ids.length - 1)
    assert.equal(Array.from(p.gold!), Array.from(examples.at(i)!.label as Int32Array).slice(1))
    words += p.gold!.length
    for (let w = 0; w < p.gold!.length; w++) if (p.gold![w] === p.predicted[w]) sum -= Math.log(p.probabilities[w]!)
  }
  assert.is((reports.entities as EntityReport).sentences, 12)
  assert.equal(Object.keys(metrics), metricNames(model))
  assert.ok(loss > sum / words, 'the loss holds the words that are wrong, too')
  const unlabelled = examples.map(({ label: _, ...example }) => example)
  const alone: ItemsPrediction[] = []
  for await (const p of predict<ItemsPrediction>(model, unlabelled, { batchSize: 12 })) alone.push(p)
  alone.forEach((p, i) => {
    const known = predictions[i]!
    assert.ok(p.gold === undefined)
    assert.equal(p.predicted, known.predicted)
    assert.equal(p.positions, known.positions)
  })
  model.dispose()
})

test('tags that are no entities are scored word by word', async () => {
  const model = tinyModel({ task: 'token-classification', labels: ['NOUN', 'VERB', 'X'] })
  const { reports, metrics } = await evaluate(model, sentences(6))
  assert.ok(reports.classification && !reports.entities)
  assert.is(typeof metrics.accuracy, 'number')
  model.dispose()
})

test('several labels and numbers', async () => {
  const multi = tinyModel({ problem: 'multi' })
  const three = sequences(10).map(e => ({ ...e, label: Float32Array.of(1, 0, (e.label as number) % 2) }))
  const labels = await evaluate<LabelsPrediction>(multi, three)
  let sum = 0
  labels.predictions.forEach((p, i) => {
    p.probabilities.forEach((q, c) => {
      sum -= Math.log(three[i]!.label[c] === 1 ? q : 1 - q)
    })
  })
  assert.ok(Math.abs(labels.loss - sum / 30) < 1e-5)
  multi.dispose()
  const model = tinyModel({ problem: 'regression', labels: ['y'] })
  const one = sequences(10).map((e, i) => ({ ...e, label: Float32Array.of(i / 3) }))
  const values = await evaluate(model, one, { batchSize: 3 })
  assert.ok(Math.abs(values.loss - values.metrics.mse!) < 1e-6)
  model.dispose()
})

test('masked LM: the masks are the same each time, and hidden tokens are in order', async () => {
  const model = tinyModel({ task: 'masked-lm' })
  const examples = sequences(10).map(({ label: _, ...e }) => e)
  const first = await evaluate<ItemsPrediction>(model, examples, { transform: hideTokens, batchSize: 4 })
  const other = await evaluate<ItemsPrediction>(model, examples, { transform: hideTokens, batchSize: 10 })
  assert.ok(Math.abs(first.loss - other.loss) < 1e-6)
  first.predictions.forEach((p, i) => {
    const q = other.predictions[i]!
    assert.equal(p.predicted, q.predicted)
    const hidden = p.positions.map(at => examples.at(i)!.ids[at]!)
    assert.equal(p.gold, hidden)
  })
  assert.ok(Math.abs(first.metrics.perplexity! - Math.exp(first.loss)) < 1e-9)
  model.dispose()
})

const coded = async (work: Promise<unknown>, code: string, text: RegExp) => {
  const error = await work.then(
    () => assert.unreachable('should have thrown'),
    e => e,
  )
  assert.is(error.code, code)
  assert.match(error.message, text)
}

test('what cannot be evaluated is said', async () => {
  const model = tinyModel()
  await coded(evaluate(model, []), 'ERR_DATA', /no example/)
  await coded(
    evaluate(
      model,
      sequences(3).map(({ label: _, ...e }) => e),
    ),
    'ERR_DATA',
    /no label/,
  )
  await coded(evaluate(model, sequences(3), { batchSize: 0 }), 'ERR_OPTION', /batchSize: 0/)
  await coded(
    evaluate(
      model,
      sequences(3).map(e => ({ ...e, label: 3 })),
    ),
    'ERR_DATA',
    /labels: 3/,
  )
  const mlm = tinyModel({ task: 'masked-lm' })
  await coded(evaluate(mlm, sequences(3)), 'ERR_OPTION', /transform/)
  const control = new AbortController()
  control.abort()
  const error = await evaluate(model, sequences(3), { signal: control.signal }).catch(e => e)
  assert.is(error, control.signal.reason)
  model.dispose()
  mlm.dispose()
})

test.run()
