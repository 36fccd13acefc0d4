// What JavaScript may hand over in place of what types demand: coded errors that say what belongs there.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  attach,
  evaluate,
  loadAdapter,
  loadModel,
  loadTokenizer,
  lora,
  open,
  predict,
  saveAdapter,
} from '../../lib/index.ts'
import { prepareData, splitData } from '../../lib/tasks/prepare.ts'
import { rejects } from '../data/support.ts'
import { MODELS, tinyModel } from '../peft/golden.ts'
import { temporaryFolder } from '../support/temporary.ts'

const folder = join(MODELS, 'bert-seq')
const tokenizer = await loadTokenizer(fileURLToPath(new URL('../golden/tokenizer/wordpiece.json', import.meta.url)))
const model = await tinyModel('bert-seq')
const rows = { train: [{ values: { text: 'a', label: 'b' }, file: '', line: 1 }] }
const first = (work: AsyncGenerator<unknown>) => work.next()

const HERE: readonly [name: string, here: string][] = [
  ['text-classification', 'sequence-classification'],
  ['sentiment-analysis', 'sequence-classification'],
  ['SEQ_CLS', 'sequence-classification'],
  ['AutoModelForSequenceClassification', 'sequence-classification'],
  ['ner', 'token-classification'],
  ['fill-mask', 'masked-lm'],
  ['text-generation', 'causal-lm'],
  ['CausalLM', 'causal-lm'],
  ['summarization', 'seq2seq-lm'],
  ['text2text_generation', 'seq2seq-lm'],
]
for (const [task, here] of HERE)
  test(`task ${task} is called ${here} here`, async () => {
    const told = new RegExp(`^task: "${task}" is unknown \\((here it is|did you mean) "${here}"\\??\\); use `)
    await rejects(() => loadModel(folder, { task: task as never }), 'ERR_OPTION', told)
    await rejects(() => splitData(rows, { task }), 'ERR_OPTION', told)
    await rejects(() => open(folder, { task }), 'ERR_OPTION', told)
  })

const WRONG: readonly [what: string, call: () => unknown, message: RegExp][] = [
  ['no options', () => loadModel(folder, undefined as never), /^loadModel: no task; give \{ task: 'sequence-/],
  ['no task', () => loadModel(folder, {} as never), /^loadModel: no task/],
  ['a task that is no text', () => loadModel(folder, { task: 3 as never }), /^task: "3" is unknown/],
  [
    'an option of transformers',
    () => loadModel(folder, { task: 'masked-lm', torch_dtype: 'bfloat16' } as never),
    /^torch_dtype: is no option of loadModel \(here it is "storage"\)/,
  ],
  [
    'a mistyped option',
    () => loadModel(folder, { task: 'masked-lm', stroage: 'bf16' } as never),
    /did you mean "storage"/,
  ],
  ['no method', () => attach(model, undefined as never), /^attach: the method is missing; make one with lora\(\)/],
  ['options for a method', () => attach(model, { r: 8 } as never), /^attach: the method is \{"r":8\}/],
  ['a promise of a model', () => attach(tinyModel('bert-seq') as never, lora()), /first argument is no model; .*await/],
  ['a folder for a model', () => loadAdapter(folder as never, undefined as never), /^loadAdapter: expected a model/],
  [
    'a model for an adapter',
    () => saveAdapter(model as never, 'out'),
    /^saveAdapter: expected an adapter and a folder/,
  ],
  ['an adapter for a model', () => evaluate({} as never, []), /^evaluate: the first argument is no model/],
  ['data for a split', () => evaluate(model, { train: [] } as never), /^evaluate: expected examples of one split/],
  ['no examples', () => first(predict(model, undefined as never)), /^predict: expected examples of one split/],
  ['no tokenizer', () => prepareData(rows, undefined as never, { maxLength: 8 }), /second argument is no tokenizer/],
  ['no length', () => prepareData(rows, tokenizer, undefined as never), /^maxLength: undefined, expected a whole/],
  [
    'an option of prepareData by another name',
    () => prepareData(rows, tokenizer, { max_length: 8 } as never),
    /^max_length: is no option of prepareData \(did you mean "maxLength"\?\)/,
  ],
  [
    'columns of splits',
    () => prepareData(rows, tokenizer, { maxLength: 8, colums: {} } as never),
    /^colums: is no option of prepareData/,
  ],
  ['an option of evaluate', () => evaluate(model, [], { batch_size: 8 } as never), /did you mean "batchSize"/],
  ['an option of predict', () => first(predict(model, [], { topK: 8 } as never)), /^topK: is no option of predict/],
  [
    'labels that are one text',
    () => loadModel(folder, { task: 'sequence-classification', labels: 'no,yes' } as never),
    /^labels: "no,yes" is no list of names/,
  ],
  ['no path of a tokenizer', () => loadTokenizer(undefined as never), /^loadTokenizer: undefined is no path/],
]
for (const [what, call, message] of WRONG)
  test(`${what} is told`, () => rejects(async () => await call(), 'ERR_OPTION', message))

test('inputs of several kinds are answered each, and what no input has is told', async () => {
  const words = temporaryFolder()
  writeFileSync(join(words, 'vocab.txt'), ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a', 'b'].join('\n'))
  const opened = await open(folder, { tokenizer: words })
  const pair = { text: 'a', text2: 'b' }
  const [text, both, again] = await opened.predict(['a', pair, 'b'])
  assert.equal([text, both, again], [await opened.predict('a'), await opened.predict(pair), await opened.predict('b')])
  const told = (call: () => Promise<unknown>, says: RegExp) => rejects(call, 'ERR_OPTION', says)
  await told(() => opened.predict({ text: 'a', textPair: 'b' } as never), /^predict: input 1 has "textPair"/)
  await told(() => opened.predict('a', null as never), /^predict: the options are null, expected an object of top/)
  await told(() => open(folder, { seed: 'a' } as never), /^seed: "a", expected a whole number from 0/)
  await told(() => open(folder, { compute: 1 } as never), /^compute: 1, expected one of f32, bf16/)
  opened.dispose()
  opened.dispose()
  await rejects(() => opened.predict('a'), 'ERR_DISPOSED', /^model: it was disposed of; open its folder again/)
})

test('a folder that is no text is told', () =>
  rejects(
    () => loadModel(undefined as never, { task: 'masked-lm' }),
    'ERR_CONFIG',
    /loadModel: undefined is no path of a folder/,
  ))

test.run()
