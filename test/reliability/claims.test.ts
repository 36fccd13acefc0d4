// Files that claim more than they hold, or hold what nobody writes: each is refused with a code, at once.
// timeout: 300

import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { resolveSettings } from '../../lib/cli/options/settings.ts'
import { table } from '../../lib/cli/terminal/table.ts'
import { LowrankError, nearest } from '../../lib/errors.ts'
import { readExactJson, readJson } from '../../lib/io/json.ts'
import { loadModel } from '../../lib/model.ts'
import { loadAdapter } from '../../lib/peft/index.ts'
import { prepareData } from '../../lib/tasks/prepare.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { parseState } from '../../lib/train/state.ts'
import { temporaryFolder } from '../support/temporary.ts'

const golden = (path: string) => fileURLToPath(new URL(`../golden/${path}`, import.meta.url))
const dir = temporaryFolder()
/** Milliseconds in which a file is refused, on a busy machine. */
const SOON = 10_000
const LONG = 'é\x1bx'.repeat(34_000)

let count = 0
function folder(files: Readonly<Record<string, unknown>>, from?: string): string {
  const at = join(dir, String(count++))
  mkdirSync(at)
  if (from) cpSync(golden(from), at, { recursive: true })
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(at, name), typeof content === 'string' ? content : JSON.stringify(content))
  return at
}

async function refused(work: () => unknown, pattern: RegExp, what: string): Promise<void> {
  const started = performance.now()
  try {
    await work()
  } catch (error) {
    assert.ok(error instanceof LowrankError, `${what}: ${(error as Error).stack}`)
    assert.match(error.message, pattern, what)
    assert.ok(error.message.length <= 4100, `${what}: a message of ${error.message.length} characters`)
    assert.ok(performance.now() - started < SOON, `${what}: took too long`)
    return
  }
  assert.unreachable(`${what} was taken`)
}

const json = (path: string) => JSON.parse(readFileSync(golden(path), 'utf8'))

test('configs: layers, labels and sizes that no file of this length has', async () => {
  const config = json('models/bert-seq/config.json')
  const { id2label: _, label2id: __, ...bare } = config
  const cases: [string, object, RegExp][] = [
    ['2^31 − 1 labels', { ...bare, num_labels: 2 ** 31 - 1 }, /num_labels is 2147483647, at most/],
    ['2^31 layers', { ...config, num_hidden_layers: 2 ** 31 }, /num_hidden_layers/],
    ['half a layer', { ...config, num_hidden_layers: 0.5 }, /num_hidden_layers is 0.5/],
    ['a vocabulary of 1e300', { ...config, vocab_size: 1e300 }, /vocab_size/],
    ['labels under a long name', { ...config, id2label: { [LONG]: 'a' } }, /id2label/],
    ['a type with escapes', { ...config, model_type: LONG }, /model_type|type/],
  ]
  for (const [what, values, pattern] of cases) {
    const at = folder({ 'config.json': values }, 'models/bert-seq')
    await refused(() => loadModel(at, { task: 'sequence-classification' }), pattern, what)
  }
})

test('vocabularies: ids that are no places in a table', async () => {
  const tokenizer = json('tokenizer/wordpiece.json')
  for (const id of ['7', 3.5, 1e300, -1, null, [7], 2 ** 31, 1e9]) {
    const vocab = { ...tokenizer.model.vocab, odd: id }
    const at = folder({ 'tokenizer.json': { ...tokenizer, model: { ...tokenizer.model, vocab } } })
    await refused(() => loadTokenizer(at), /odd|id/, `the id ${JSON.stringify(id)}`)
    const added = [{ ...tokenizer.added_tokens[0], content: 'odd', id }]
    const other = folder({ 'tokenizer.json': { ...tokenizer, added_tokens: added } })
    await refused(() => loadTokenizer(other), /odd|id/, `the added id ${JSON.stringify(id)}`)
  }
})

test('templates of special tokens without the text, or without an end', async () => {
  const tokenizer = json('tokenizer/wordpiece.json')
  const cls = { SpecialToken: { id: '[CLS]', type_id: 0 } }
  const special = { '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] } }
  const processor = (single: unknown, pair: unknown = single) => {
    return { type: 'TemplateProcessing', single, pair, special_tokens: special }
  }
  for (const part of [processor([cls]), processor([]), processor(null), processor([cls, {}]), processor(LONG)]) {
    const at = folder({ 'tokenizer.json': { ...tokenizer, post_processor: part } })
    await refused(
      () => loadTokenizer(at),
      /template|post_processor|processor|single|Sequence/i,
      JSON.stringify(part).slice(0, 80),
    )
  }
})

test('JSON: depth, digits and numbers beyond what a number holds', async () => {
  const read = (text: string) => {
    const path = join(folder({ 'a.json': text }), 'a.json')
    return [() => readJson(path), () => readExactJson(path)]
  }
  for (const text of ['['.repeat(100_000), '{"a":'.repeat(5000), `${'['.repeat(600)}${']'.repeat(600)}`])
    for (const work of read(text)) await refused(work, /nested|ends/, text.slice(0, 10))
  const config = { ...json('adapters/bert-seq-default/adapter_config.json') }
  for (const [name, value] of [
    ['r', '1e999'],
    ['r', '123456789012345678901234567890'],
    ['lora_alpha', '123456789012345678901234567890123456789012345678901234567890'.repeat(8)],
    ['r', '"8"'],
  ] as const) {
    const text = JSON.stringify({ ...config, [name]: 'HERE' }).replace('"HERE"', value)
    const at = folder({ 'adapter_config.json': text }, 'adapters/bert-seq-default')
    const model = await loadModel(golden('models/bert-seq'), {
      task: 'sequence-classification',
      labels: ['a', 'b', 'c'],
    })
    await refused(() => loadAdapter(model, at), /./, `${name}: ${value.slice(0, 40)}`)
    model.dispose()
  }
})

test('YAML: merge keys, aliases of themselves, keys that are lists, depth', async () => {
  const cases: [string, RegExp][] = [
    ['base: &b\n  lr: 0.1\n<<: *b\nr: 4\n', /no option "<<"/],
    ['<<: [1, 2]\n', /no option "<<"/],
    ['labels: &x [a, *x]\n', /alias stands for .* itself/],
    ['labels: *nowhere\n', /YAML|alias/i],
    ['? [a, b]\n: c\n', /no option/],
    ['r: !!binary "aaaa"\n', /not a whole number/],
    [`labels: ${'['.repeat(20_000)}`, /is not YAML/],
    [`${LONG}: 1\n`, /no option|YAML/],
    [`seed: ${'9'.repeat(400)}\n`, /seed/],
  ]
  for (const [text, pattern] of cases) {
    const at = join(folder({ 'a.yaml': text }), 'a.yaml')
    await refused(() => resolveSettings('train', { config: at }), pattern, text.slice(0, 30))
  }
})

test('labels of 100 kB: known ones are read, unknown ones refused shortly, and tables stay narrow', async () => {
  const row = (label: string, i: number) => `${JSON.stringify({ text: `text ${i}`, label })}\n`
  const rows = Array.from({ length: 20 }, (_, i) => row(i % 2 ? LONG : 'b', i)).join('')
  const tokenizer = await loadTokenizer(golden('tokenizer/wordpiece.json'))
  const path = join(folder({ 'a.jsonl': rows }), 'a.jsonl')
  const { labels } = await prepareData(path, tokenizer, { maxLength: 16 })
  assert.equal(labels!.names, ['b', LONG])
  const other = join(folder({ 'a.jsonl': rows.replace(JSON.stringify(LONG), JSON.stringify(`${LONG}z`)) }), 'a.jsonl')
  await refused(
    () => prepareData(other, tokenizer, { maxLength: 16, labels: labels! }),
    /is not a known label/,
    'another label',
  )
  assert.is(nearest(`${LONG}z`, [LONG]), '')
  assert.is(nearest('lable', [LONG, 'label']), ' (did you mean "label"?)')
  const lines = table([{ header: 'label' }, { header: 'rows' }], [[LONG, '1']]).split('\n')
  for (const line of lines) assert.ok(line.length < 1000, `a line of ${line.length} characters`)
})

test('states of checkpoints: what is no number, too deep, or of another kind', async () => {
  const cases = [
    'null',
    '[]',
    '{}',
    '['.repeat(100_000),
    '{"step": 1e300}',
    `{"step": ${'9'.repeat(400)}}`,
    '{"step": "1"}',
  ]
  for (const text of cases) await refused(() => parseState(text), /state|step|JSON/, text.slice(0, 20))
})

test.run()
