// Bad input as a user sees it: a code, what is wrong, a cure, exit code 1, and never a stack.
// timeout: 600

import { appendFileSync, copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bundled } from '../../lib/bundled.ts'
import { cli, cliHere, reviews, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
writeJsonl(join(cwd, 'good.jsonl'), reviews(40))

async function refuses(args: readonly string[], pattern: RegExp, code = 1): Promise<void> {
  const found = await cliHere(args, cwd)
  assert.is(found.code, code, `${args.join(' ')}\n${found.stderr}`)
  const last =
    found.stderr
      .trimEnd()
      .split('\n')
      .filter(line => line.startsWith('error '))
      .at(-1) ?? ''
  assert.match(found.stderr, pattern)
  assert.match(last, /^error ERR_[A-Z]+: /)
  assert.not.match(found.stderr, /\n\s+at /)
  assert.not.match(found.stderr, /ERR_INTERNAL/)
}

/** A copy of the bundled encoder with some files changed. */
function model(name: string, files: Readonly<Record<string, (path: string) => void>>): string {
  const dir = join(cwd, name)
  mkdirSync(dir, { recursive: true })
  for (const file of ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(bundled.encoder, file), join(dir, file))
  for (const [file, change] of Object.entries(files)) change(join(dir, file))
  return dir
}

const config = (change: Record<string, unknown>) => (path: string) =>
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }))

/** Changes entries of a safetensors header, and bytes of the data. */
const tensors =
  (change: (entries: Record<string, { data_offsets: [number, number] }>, data: Buffer) => void) => (path: string) => {
    const bytes = readFileSync(path)
    const end = 8 + Number(bytes.readBigUInt64LE())
    const entries = JSON.parse(bytes.toString('utf8', 8, end))
    const data = bytes.subarray(end)
    change(entries, data)
    const header = Buffer.from(JSON.stringify(entries))
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(header.length))
    writeFileSync(path, Buffer.concat([length, header, data]))
  }
const query = 'bert.encoder.layer.0.attention.self.query.weight'
const key = 'bert.encoder.layer.0.attention.self.key.weight'

test('data that cannot be read', async () => {
  const write = (name: string, content: string | Buffer) => writeFileSync(join(cwd, name), content)
  write('empty.jsonl', '')
  write('latin.jsonl', Buffer.from('{"text":"caf\xe9","label":"a"}\n', 'latin1'))
  write('broken.jsonl', '{"text":"a","label":"b"}\n{"text":\n')
  write('ragged.csv', 'text,label\na,b\nc,d,e\n')
  write('data.feather', 'PAR1')
  await refuses(['train', 'none.jsonl'], /error ERR_DATA: data: none.jsonl does not exist/)
  await refuses(['train', 'empty.jsonl'], /error ERR_DATA: data: .*empty.jsonl is empty/)
  await refuses(['train', 'latin.jsonl'], /latin.jsonl:1: .*UTF-8/)
  await refuses(['train', 'broken.jsonl'], /broken.jsonl:2/)
  await refuses(['inspect', 'data', 'ragged.csv'], /ragged.csv:3/)
  await refuses(['train', 'data.feather'], /unknown extension ".feather"/)
})

test('labels that fit nothing', async () => {
  writeJsonl(
    join(cwd, 'one.jsonl'),
    reviews(40).map(row => ({ ...row, label: 'good' })),
  )
  writeJsonl(join(cwd, 'mixed.jsonl'), [
    { text: 'a', label: ['x'] },
    { text: 'b', label: 'y' },
  ])
  writeJsonl(join(cwd, 'nulls.jsonl'), [
    { text: 'a', label: null },
    { text: 'b', label: 'y' },
  ])
  writeJsonl(
    join(cwd, 'ids.jsonl'),
    Array.from({ length: 300 }, (_, i) => ({ text: `t ${i}`, label: `id-${i}` })),
  )
  await refuses(
    ['train', 'one.jsonl'],
    /ERR_DATA: labels: all rows have the label "good" in "label"; there is nothing to tell apart/,
  )
  await refuses(['train', 'mixed.jsonl'], /"label" is a list in some rows and not in others/)
  await refuses(['train', 'nulls.jsonl'], /nulls.jsonl:1: "label" is null, as in 1 of \d+ rows: no label/)
  await refuses(['train', 'ids.jsonl'], /300 different values in 300 rows, too many for classes/)
  await refuses(['train', 'good.jsonl', '--labels', 'good,fine'], /"bad" is not a known label.*known: good, fine/)
  await refuses(['train', 'good.jsonl', '--columns', 'text=body'], /no column "body"/)
  await refuses(['train', 'good.jsonl', '--task', 'token-classification'], /needs words and tags/)
})

/** A word whose id is past the embedding. */
function addToken(path: string): void {
  const file = JSON.parse(readFileSync(path, 'utf8')) as { added_tokens: object[] }
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false }
  file.added_tokens.push({ id: 12000, content: 'zebra-crossing', ...flags })
  writeFileSync(path, JSON.stringify(file))
}

test('models that cannot be loaded', async () => {
  const cut = model('cut', { 'model.safetensors': path => truncateSync(path, 100_000) })
  const strange = model('strange', { 'config.json': config({ model_type: 'berd' }) })
  const wide = model('wide', { 'config.json': config({ hidden_size: 768 }) })
  const small = model('small', { 'config.json': config({ vocab_size: 4000 }) })
  await refuses(['train', 'good.jsonl', '--model', cut], /ERR_CHECKPOINT: .*cut.model.safetensors/)
  await refuses(['train', 'good.jsonl', '--model', strange], /model_type is "berd" \(did you mean "bert"\?\)/)
  await refuses(['train', 'good.jsonl', '--model', wide], /ERR_CHECKPOINT: (.|\n)*\[10752, 384\].*\[10752, 768\]/)
  await refuses(['train', 'good.jsonl', '--model', small], /ERR_C(HECKPOINT|ONFIG)/)
  await refuses(['train', 'good.jsonl', '--model', 'nowhere'], /nowhere/)
  const long = model('long', { 'model.safetensors': path => appendFileSync(path, 'more') })
  const overlap = tensors(entries => {
    entries[query]!.data_offsets = entries[key]!.data_offsets
  })
  const over = model('over', { 'model.safetensors': overlap })
  const infinite = tensors((entries, data) => data.writeUInt16LE(0x7fc0, entries[query]!.data_offsets[0]))
  const bad = model('bad', { 'model.safetensors': infinite })
  const extra = model('extra', { 'tokenizer.json': addToken })
  await refuses(['train', 'good.jsonl', '--model', long], /ERR_CHECKPOINT: .*bytes follow that no tensor owns/)
  await refuses(['train', 'good.jsonl', '--model', over], /ERR_CHECKPOINT: .*it overlaps tensor/)
  await refuses(
    ['train', 'good.jsonl', '--model', bad],
    /ERR_CHECKPOINT: .*query.weight .* holds NaN or infinity; .*fetch/,
  )
  await refuses(['train', 'good.jsonl', '--model', extra], /ERR_CONFIG: .*10753 tokens, the model embeds 10752; take/)
  await refuses(['inspect', 'model', strange], /model_type is "berd"/)
})

test('settings that the model cannot take', async () => {
  await refuses(['train', 'good.jsonl', '--r', '500'], /ERR_OPTION: --r: 500 is above 384, the smaller side of/)
  await refuses(['train', 'good.jsonl', '--target-modules', 'qeury'], /"qeury" matches no linear module.*"query"/)
  await refuses(
    ['train', 'good.jsonl', '--max-length', '300'],
    /--max-length: 300 tokens, the model has positions for 256/,
  )
  await refuses(['train', 'good.jsonl', '--device', 'cuda:9'], /ERR_(DEVICE|CUDA|UNSUPPORTED): /)
  await refuses(['train', 'good.jsonl', '--device', 'tpu'], /device: "tpu" is unknown/)
  await refuses(['train', 'good.jsonl', '--metric', 'acuracy'], /acuracy/)
  await refuses(['train', 'good.jsonl', '--split', '0.5/0.6'], /split: "0.5\/0.6" is not two or three shares/)
  await refuses(['train', 'good.jsonl', '--trackers', 'wandb', '--out', 't'], /trackers: "wandb" is unknown/)
  await refuses(
    ['train', 'good.jsonl', '--lr', '1e30', '--clip', '0', '--out', 'nan'],
    /ERR_OPTION: train: the (loss|gradient)/,
  )
})

test('a line of 10 MB, texts without a word and texts past the maximum length are data like others', async () => {
  const rows = reviews(40)
  rows[3]!.text = 'word '.repeat(2_000_000)
  rows.forEach((row, i) => {
    if (i % 4 === 0) row.text = ''
  })
  writeJsonl(join(cwd, 'odd.jsonl'), rows)
  const args = ['train', 'odd.jsonl', '--max-steps', '1', '--max-length', '3', '--no-evaluate-before', '--no-report']
  const { code, stderr } = await cli(args, { cwd })
  assert.is(code, 0, stderr)
  assert.match(stderr, /examples? truncated to 3 tokens/)
})

test('output that cannot be written', async () => {
  writeFileSync(join(cwd, 'a-file'), 'text')
  await refuses(['train', 'good.jsonl', '--out', 'a-file/run'], /ERR_OPTION: .*a-file/)
  await refuses(['quickstart', '--out', 'a-file/run'], /ERR_OPTION: .*a-file/)
})

test('adapters that are none', async () => {
  mkdirSync(join(cwd, 'hollow'), { recursive: true })
  await refuses(['predict', 'nowhere', 'text'], /adapter: there is no folder nowhere/)
  await refuses(['predict', 'hollow', 'text'], /hollow holds no adapter_config.json/)
  const lost = { peft_type: 'LORA', r: 4, task_type: 'SEQ_CLS', base_model_name_or_path: 'some/base' }
  writeFileSync(join(cwd, 'hollow', 'adapter_config.json'), JSON.stringify(lost))
  await refuses(
    ['predict', 'hollow', 'text'],
    /ERR_HUB: adapter: its base "some\/base" is not here: .*name a folder with --model/,
  )
})

test('the command line itself: exit code 2', async () => {
  await refuses(
    ['train', 'good.jsonl', '--epoch', '3'],
    /--epoch: there is no such option \(did you mean "--epochs"\?\)/,
    2,
  )
  await refuses(['train', 'good.jsonl', '--epochs', '0'], /--epochs: "0" is not a whole number from 1/, 2)
  await refuses(['flap'], /flap: there is no such command/, 2)
  await refuses(['merge', 'good'], /merge: out is missing/, 2)
})

test('LOWRANK_DEBUG shows the stack', async () => {
  const { stderr } = await cli(['train', 'none.jsonl'], { cwd, env: { LOWRANK_DEBUG: '1' } })
  assert.match(stderr, /\n\s+at /)
})

test.run()
