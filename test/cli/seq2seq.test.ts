// An encoder-decoder from a folder and a file of prompts and completions, as a user trains, judges and merges it.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { generate } from '../../lib/generate/generate.ts'
import { loadModel } from '../../lib/model.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { HIDDEN, seq2seqFolder, VOCABULARY } from '../support/seq2seqModel.ts'
import { cli, workFolder, writeJsonl } from './support.ts'

const dir = workFolder()
const base = await seq2seqFolder()
const things = ['film', 'book', 'song', 'meal']
const rows = Array.from({ length: 40 }, (_, i) => {
  return { prompt: `say ${things[i % 4]}`, completion: `the ${things[i % 4]} is ${i % 2 ? 'good' : 'bad'}` }
})
const pairs = writeJsonl(join(dir, 'pairs.jsonl'), rows)

test('prompts and completions train a T5, without a word about the task', async () => {
  const out = join(dir, 'run')
  const options = ['--epochs', '40', '--batch-size', '8', '--lr', '0.006', '--r', '16', '--out', out]
  const { code, stderr } = await cli(['train', pairs, '--model', base, ...options])
  assert.is(code, 0, stderr)
  assert.match(stderr, /task seq2seq-lm: "completion" is what is to be said to "prompt"/)
  const config = JSON.parse(readFileSync(join(out, 'adapter/adapter_config.json'), 'utf8'))
  assert.is(config.task_type, 'SEQ_2_SEQ_LM')
  const judged = await cli(['evaluate', join(out, 'adapter'), pairs, '--json'])
  const { metrics } = JSON.parse(judged.stdout.trim().split('\n').at(-1)!)
  assert.ok(metrics.accuracy > 0.9, `${JSON.stringify(metrics)}`)
  const said = await cli(['generate', join(out, 'adapter'), 'say film', '--max-new-tokens', '30'])
  assert.is(said.stdout, 'the film is bad\n', said.stderr)
  const merged = join(dir, 'merged')
  assert.is((await cli(['merge', join(out, 'adapter'), '--out', merged])).code, 0)
  const model = await loadModel(merged, { task: 'seq2seq-lm' })
  const tokenizer = await loadTokenizer(merged)
  let text = ''
  for await (const piece of generate(model, tokenizer, 'say book', { maxNewTokens: 30 })) text += piece.text
  assert.is(text, 'the book is good')
  model.dispose()
})

test('inspect model tells embeddings from layers', async () => {
  const { code, stdout, stderr } = await cli(['inspect', 'model', base, '--json'])
  assert.is(code, 0, stderr)
  const { parameterGroups, task } = JSON.parse(stdout.trim().split('\n').at(-1)!)
  assert.is(task, 'seq2seq-lm')
  assert.equal(Object.keys(parameterGroups).sort(), ['embeddings', 'head and pooler', 'layers'])
  assert.is(parameterGroups.embeddings, VOCABULARY * HIDDEN)
})

test('conversations are not for a T5, and the error says what is', async () => {
  const chat = writeJsonl(join(dir, 'chat.jsonl'), [
    {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ],
    },
  ])
  const { code, stderr } = await cli(['train', chat, '--model', base, '--out', join(dir, 'no')])
  assert.ok(code !== 0)
  assert.match(
    stderr,
    /error ERR_DATA: task: .*"messages" as messages, which ask for causal-lm; .* has heads .*seq2seq-lm; give --model/,
  )
})

test.run()
