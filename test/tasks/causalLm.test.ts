import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { IGNORED } from '../../lib/data/example.ts'
import { toRows } from '../../lib/data/row.ts'
import { nextTokens } from '../../lib/data/targets.ts'
import { createModel } from '../../lib/model.ts'
import { causalLm } from '../../lib/tasks/causalLm.ts'
import { encodeRows } from '../../lib/tasks/encode.ts'
import type { ItemsPrediction } from '../../lib/tasks/items.ts'
import { splitData } from '../../lib/tasks/prepare.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { evaluate } from '../../lib/train/evaluate.ts'
import { counting, eventsOf, runToEnd, tinyLora } from '../train/support.ts'

const golden = fileURLToPath(new URL('../golden/tokenizer/', import.meta.url))
const tokenizer = await loadTokenizer(join(golden, 'wordpiece.json'))

test('prompts with completions are inferred, text alone only where it is asked for', async () => {
  const train = toRows([
    { prompt: 'it is', completion: 'raining' },
    { prompt: 'a', completion: 'b' },
  ])
  const data = await splitData({ train, validation: train })
  assert.is(data.choice.task, 'causal-lm')
  assert.is(data.labels, undefined)
  assert.is(data.duplicates.within, 0, 'rows are told apart by both columns')
  const texts = toRows([{ text: 'it is raining' }])
  assert.is((await splitData({ train: texts, validation: texts })).choice.task, 'masked-lm')
  const decoder = { able: ['sequence-classification', 'causal-lm'] }
  assert.is((await splitData({ train: texts, validation: texts }, decoder)).choice.task, 'causal-lm')
  const asked = await splitData({ train: texts, validation: texts }, { task: 'causal-lm' })
  assert.is(asked.choice.task, 'causal-lm')
})

test('of a prompt nothing is learned, of its completion everything, and its end', () => {
  const rows = toRows([{ prompt: 'it is', completion: ' raining hard' }])
  const columns = { prompt: 'prompt', completion: 'completion' }
  const spec = { task: 'causal-lm', columns, maxLength: 50 }
  const [example] = encodeRows(rows, tokenizer, spec).examples
  const [before, after] = [tokenizer.tokens('it is'), tokenizer.tokens('raining hard')]
  const label = example!.label as Int32Array
  const { eos } = tokenizer.specials
  assert.equal([...example!.ids], [...before, ...after, ...(eos === undefined ? [] : [eos])])
  assert.ok(label.subarray(0, before.length).every(id => id === IGNORED))
  assert.equal([...label.subarray(before.length)], [...example!.ids.subarray(before.length)])
  const { rows: at, values } = nextTokens([example!])!
  assert.equal(
    [...at!],
    Array.from(after, (_, i) => before.length - 1 + i),
  )
  assert.equal([...values], after)
  assert.is(encodeRows(rows, tokenizer, { ...spec, maxLength: before.length + 1 }).truncated, 1)
})

test('where prompt and completion meet in one token, that token is learned', () => {
  const columns = { prompt: 'prompt', completion: 'completion' }
  const rows = toRows([{ prompt: 'it rain', completion: 'ing' }])
  const [example] = encodeRows(rows, tokenizer, { task: 'causal-lm', columns, maxLength: 50 }).examples
  const whole = tokenizer.tokens('it raining')
  assert.equal([...example!.ids.subarray(0, whole.length)], whole)
  assert.is((example!.label as Int32Array)[0], IGNORED)
  assert.ok(nextTokens([example!])!.values.length > 0)
})

test('long texts lose no token: each is learned once', () => {
  const text = Array.from({ length: 30 }, (_, i) => `raining ${i}`).join(' ')
  const tokens = tokenizer.tokens(text)
  const spec = { task: 'causal-lm', columns: { text: 'text' }, maxLength: 16 }
  const { examples } = encodeRows(toRows([{ text }]), tokenizer, spec)
  assert.ok(examples.length > 3)
  const learned = [...examples].flatMap(example => [...nextTokens([example])!.values])
  assert.equal(learned, tokens.slice(1))
})

const config = {
  path: 'config.json',
  modelType: 'llama',
  values: {
    model_type: 'llama',
    vocab_size: 60,
    hidden_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    intermediate_size: 64,
    max_position_embeddings: 64,
    initializer_range: 0.1,
    rms_norm_eps: 1e-6,
  },
}

test('sequences that are packed say nothing to each other: losses are those of each alone', async () => {
  const model = createModel(config, { task: 'causal-lm', seed: 2 })
  const examples = counting(6)
  const { loss, predictions } = await evaluate<ItemsPrediction>(model, examples, { batchSize: 6 })
  let [sum, weight] = [0, 0]
  for (const [i, example] of examples.entries()) {
    const alone = await evaluate<ItemsPrediction>(model, [example])
    sum += alone.loss * (example.ids.length - 1)
    weight += example.ids.length - 1
    assert.equal([...alone.predictions[0]!.predicted], [...predictions[i]!.predicted])
  }
  assert.ok(Math.abs(sum / weight - loss) < 1e-6, `${sum / weight} alone, ${loss} together`)
  model.dispose()
})

test('a decoder learns, and is judged by perplexity of the tokens that are learned', async () => {
  const model = createModel(config, { task: 'causal-lm', seed: 2 })
  const examples = counting(32).map(e => ({ ...e, label: e.label.map((id, t) => (t < 2 ? IGNORED : id)) }))
  const { predictions, loss, metrics } = await evaluate<ItemsPrediction>(model, examples, { batchSize: 7 })
  predictions.forEach((p, i) => {
    const { ids } = examples.at(i)!
    assert.equal(
      [...p.positions],
      Array.from({ length: ids.length - 2 }, (_, k) => k + 2),
    )
    assert.equal([...p.gold!], [...ids.subarray(2)])
  })
  assert.ok(Math.abs(metrics.perplexity! - Math.exp(loss)) < 1e-9)
  const right = predictions.filter(p => causalLm.wrong(p) === undefined).length
  assert.ok(right < examples.length)
  const method = tinyLora(model, { targetModules: 'all-linear', r: 8, alpha: 32 })
  const data = { train: examples, validation: examples }
  const events = await runToEnd(method, data, { epochs: 12, batchSize: 8, lr: 0.02 })
  const after = eventsOf(events, 'evaluation').at(-1)!
  assert.ok(after.loss < loss / 2, `${loss} to ${after.loss}`)
  model.dispose()
})

test.run()
