// One line to use what a run left.
// timeout: 300

import { once } from 'node:events'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bundled, type Input, LowrankError, open } from '../../lib/index.ts'
import { native } from '../../lib/native.ts'
import { cli, records, reviews, spawnModule, workFolder, writeJsonl } from '../cli/support.ts'

const cwd = workFolder()
const at = (name: string): string => join(cwd, name)
async function trained(name: string, rows: object[], ...args: string[]): Promise<string> {
  writeJsonl(at(`${name}.jsonl`), rows)
  const quick = ['--max-steps', '12', '--batch-size', '8', '--no-evaluate-before', '--no-report', '--out', name]
  const { code, stderr } = await cli(['train', `${name}.jsonl`, ...quick, ...args], { cwd })
  assert.is(code, 0, stderr)
  return at(name)
}
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    error => (error instanceof LowrankError ? `${error.code}: ${error.message}` : `${error}`),
  )

test('a run is opened, and says what the command says; calls at once are answered each', async () => {
  const folder = await trained('reviews', reviews(60))
  const live = native.live()
  const model = await open(folder)
  assert.equal([model.task, model.labels], ['sequence-classification', ['bad', 'good']])
  const texts = ['the film was great', 'the meal was terrible', 'a walk, '.repeat(400)]
  const all = await model.predict(texts, { top: 2 })
  const shown = await cli(['predict', 'reviews', ...texts, '--top', '2', '--json'], { cwd })
  const told = records(shown.stdout).slice(0, 3)
  for (const [i, { type: _, ...record }] of told.entries()) assert.equal(all[i], record)
  assert.ok((all[2] as { windows?: number }).windows! > 1)
  const odd = { text: 7 } as unknown as Input
  const calls = [...texts.map(text => model.predict(text, { top: 2 })), model.predict(texts, { top: 2 })]
  const [one, two, three, list] = await Promise.all([...calls, codeOf(model.predict(odd))])
  assert.equal([one, two, three], all)
  assert.equal(list, all)
  assert.match(await codeOf(model.predict(odd)), /ERR_OPTION: predict: input 1 is {"text":7}; give a text/)
  assert.equal(await model.predict([]), [])
  assert.match(await codeOf(model.predict('a', { topK: 2 } as never)), /ERR_OPTION: topK: is no option of predict/)
  assert.match(await codeOf(model.predict('a', { top: 'all' as never })), /ERR_OPTION: top: "all" is no whole number/)
  const other = await trained(
    'turned',
    reviews(60).map(row => ({ ...row, label: row.label === 'good' ? 'x' : 'y' })),
  )
  await model.swap(other)
  assert.equal(model.labels, ['x', 'y'])
  assert.ok(['x', 'y'].includes((await model.predict(texts[0]!)).label as string))
  model.dispose()
  assert.is(native.live(), live)
})

test('the tokenizer trained with goes into adapter and merged folders; where it is gone, it is asked for', async () => {
  cpSync(bundled.encoder, at('words'), { recursive: true })
  // Another tokenizer than the base's: its configuration alone tells them apart.
  const config = JSON.parse(readFileSync(join(at('words'), 'tokenizer_config.json'), 'utf8'))
  writeFileSync(join(at('words'), 'tokenizer_config.json'), JSON.stringify({ ...config, model_max_length: 77 }))
  await trained('apart', reviews(40), '--tokenizer', 'words')
  assert.is((await cli(['merge', 'apart/adapter', '--out', 'merged'], { cwd })).code, 0)
  const merged = JSON.parse(readFileSync(join(at('merged'), 'tokenizer_config.json'), 'utf8'))
  assert.is(merged.model_max_length, 77)
  rmSync(at('words'), { recursive: true })
  ;(await open(at('apart'))).dispose()
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) rmSync(join(at('apart'), 'adapter', name))
  assert.match(await codeOf(open(at('apart'))), /ERR_CONFIG: adapter: it was trained with the tokenizer of .*words/)
  using model = await open(at('apart'), { tokenizer: at('merged') })
  assert.ok((await model.predict('a walk')).label)
})

test('pairs, and entities at their places in the text', async () => {
  const pairs = reviews(40).map(({ text, label }) => ({ premise: text, hypothesis: 'it was fine', label }))
  using model = await open(await trained('pairs', pairs))
  const found = await model.predict({ text: 'the film was great', text2: 'it was fine' })
  assert.type(found.probability, 'number')
  const words = ['Anna lives in Paris', 'Tom met Eva in Rome', 'it rained in Oslo'].map(text => text.split(' '))
  const tag = (word: string) => (/^(Paris|Rome|Oslo)$/.test(word) ? 'B-LOC' : /^[A-Z]/.test(word) ? 'B-PER' : 'O')
  const rows = Array.from({ length: 30 }, (_, i) => ({ tokens: words[i % 3]!, tags: words[i % 3]!.map(tag) }))
  using tagger = await open(await trained('tags', rows, '--lr', '0.01', '--epochs', '20'))
  const text = '  (Anna)\tlives \u{1f600} in  Paris.'
  const { entities } = await tagger.predict(text)
  const spans = entities as { start: number; end: number; text: string }[]
  assert.ok(spans.length > 0)
  for (const { start, end, text: said } of spans) assert.is(text.slice(start, end), said)
  const tokens = ['Tom', 'met', 'Eva']
  assert.is((await tagger.predict({ tokens })).text, 'Tom met Eva')
})

test('examples/server.ts answers, and outlives a bad request', async () => {
  const child = spawnModule('examples/server', [at('reviews'), '0'])
  try {
    const [line] = (await once(child.stdout!, 'data')) as [Buffer]
    const { port } = JSON.parse(String(line)) as { port: number }
    const ask = (path: string, body: string) => fetch(`http://localhost:${port}${path}`, { method: 'POST', body })
    assert.is((await ask('/', '{')).status, 400)
    assert.is((await ask('/', `${'['.repeat(9000)}${']'.repeat(9000)}`)).status, 400)
    assert.is((await ask('/', `"${'a '.repeat(600_000)}"`)).status, 400)
    assert.is((await fetch(`http://localhost:${port}/`)).status, 405)
    const all = await Promise.all(['good', 'bad'].map(async word => (await ask('/', JSON.stringify([word]))).json()))
    for (const [answer] of all as { label: string }[][]) assert.ok(['bad', 'good'].includes(answer!.label))
    assert.is(await (await ask('/swap', JSON.stringify(at('turned')))).json(), 'swapped')
    const [turned] = (await (await ask('/', '["good"]')).json()) as { label: string }[]
    assert.ok(['x', 'y'].includes(turned!.label))
  } finally {
    child.kill()
  }
})

test('what cannot be opened', async () => {
  assert.match(await codeOf(open(at('nowhere'))), /ERR_CONFIG: adapter: there is no folder/)
  assert.match(
    await codeOf(open(at('x'), { maxlength: 3 } as object)),
    /ERR_OPTION: maxlength: is no option of open.*maxLength/,
  )
})

test.run()
