import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { renderBatch } from '../../lib/cli/terminal/batchLines.ts'
import { batches } from '../../lib/data/batches.ts'
import { toRows } from '../../lib/data/row.ts'
import { decoderTokens } from '../../lib/data/targets.ts'
import { generateTokens } from '../../lib/generate/generate.ts'
import { attach } from '../../lib/peft/attach.ts'
import { fullFineTuning } from '../../lib/peft/full.ts'
import { viewBatch } from '../../lib/tasks/batchView.ts'
import { encodeRows } from '../../lib/tasks/encode.ts'
import type { ItemsPrediction } from '../../lib/tasks/items.ts'
import { splitData } from '../../lib/tasks/prepare.ts'
import { seq2seqLm } from '../../lib/tasks/seq2seqLm.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { evaluate } from '../../lib/train/evaluate.ts'
import { answers, eventsOf, runToEnd, tinySeq2seq } from '../train/support.ts'

const tokenizer = await loadTokenizer(
  join(fileURLToPath(new URL('../golden/tokenizer/', import.meta.url)), 'wordpiece.json'),
)
const task = 'seq2seq-lm'
const columns = { prompt: 'prompt', completion: 'completion' }

test('prompts with completions are text to text where the model is an encoder-decoder', async () => {
  const train = toRows([
    { prompt: 'it is', completion: 'raining' },
    { prompt: 'a', completion: 'b' },
  ])
  const of = async (options: object) => (await splitData({ train, validation: train }, options)).choice.task
  assert.is(await of({ able: [task] }), task)
  assert.is(await of({ able: ['causal-lm'] }), 'causal-lm')
  assert.is(await of({ task }), task)
  const texts = toRows([{ text: 'it is raining' }])
  const error = await splitData({ train: texts, validation: texts }, { task }).catch(e => e)
  assert.match(error.message, /task: seq2seq-lm needs prompts and completions/)
})

test('what is read and what is said are texts of their own, each cut where it is too long', () => {
  const rows = toRows([{ prompt: 'it is raining', completion: 'raining hard' }])
  const [example] = encodeRows(rows, tokenizer, { task, columns, maxLength: 50 }).examples
  assert.equal(example!.ids, tokenizer.encode('it is raining').ids)
  assert.equal(example!.target, tokenizer.encode('raining hard').ids)
  const cut = encodeRows(rows, tokenizer, { task, columns, maxLength: 4 })
  assert.is(cut.truncated, 1)
  assert.is(cut.examples.at(0)!.target!.length, 4)
  assert.is(cut.examples.at(0)!.target!.at(-1), example!.target!.at(-1), 'the end stays')
})

test('a batch shows what is read, then what is said, with all of the latter in the loss', () => {
  const rows = toRows([{ prompt: 'it is', completion: 'raining' }])
  const { examples } = encodeRows(rows, tokenizer, { task, columns, maxLength: 50 })
  const [batch] = batches(examples, { batchSize: 1, collate: decoderTokens }).at(0).microBatches
  const [line] = renderBatch(viewBatch(batch!, { tokenizer, task: seq2seqLm as never, labels: [] }), false)
  assert.match(line!, /it is \S+ → ⟦\S+ raining \S+⟧$/)
})

test('an encoder-decoder learns, is judged on every token that it says, and then says it', async () => {
  const model = tinySeq2seq()
  const examples = answers(12)
  const { predictions, loss, metrics } = await evaluate<ItemsPrediction>(model, examples, { batchSize: 7 })
  predictions.forEach(({ gold, positions }, i) => {
    assert.equal([...gold!], [...examples.at(i)!.target!])
    assert.equal([...positions], [...examples.at(i)!.target!.keys()])
  })
  assert.ok(Math.abs(metrics.perplexity! - Math.exp(loss)) < 1e-9)
  const method = attach(model, fullFineTuning())
  const events = await runToEnd(
    method,
    { train: examples, validation: examples },
    { epochs: 100, batchSize: 4, lr: 0.01 },
  )
  const after = eventsOf(events, 'evaluation').at(-1)!
  assert.ok(after.loss < loss / 4, `${loss} to ${after.loss}`)
  const known = (await evaluate<ItemsPrediction>(model, examples)).predictions.findIndex(p => {
    return seq2seqLm.wrong(p) === undefined
  })
  assert.ok(known >= 0, 'one of the answers is learned')
  const said: number[] = []
  for await (const id of generateTokens(model, examples.at(known)!.ids)) said.push(id)
  assert.equal(said, [...examples.at(known)!.target!])
  model.dispose()
})

test.run()
