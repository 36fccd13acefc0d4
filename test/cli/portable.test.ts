// A run's folder on another machine: base and data elsewhere, and nothing in it that only this machine knows.

import { copyFileSync, cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { bundled } from '../../lib/bundled.ts'
import { referenceOf } from '../../lib/hub/reference.ts'
import { cli, reviews, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const base = join(cwd, 'my-base')
mkdirSync(base)
for (const file of ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
  copyFileSync(join(bundled.encoder, file), join(base, file))
writeJsonl(join(cwd, 'reviews.jsonl'), reviews(60))
const read = (...names: string[]) => readFileSync(join(cwd, ...names), 'utf8')

test('what train writes can be used elsewhere', async () => {
  const fast = ['--max-steps', '3', '--max-length', '16', '--trackers', 'none']
  const trained = await cli(['train', join(cwd, 'reviews.jsonl'), '--model', base, ...fast, '--out', 'run'], { cwd })
  assert.is(trained.code, 0, trained.stderr)
  const before = await cli(['predict', 'run', 'a fine day', '--json'], { cwd })
  const known = (await referenceOf(base))!
  assert.is(known.name, 'my-base')
  renameSync(base, join(cwd, 'other-place'))
  renameSync(join(cwd, 'run'), join(cwd, 'sent'))
  const missing = await cli(['predict', 'sent', 'a fine day'], { cwd })
  assert.match(missing.stderr, new RegExp(`ERR_CONFIG: adapter: its base .*\\(my-base, SHA-256 ${known.sha256}\\)`))
  const after = await cli(['predict', 'sent', 'a fine day', '--model', 'other-place', '--json'], { cwd })
  assert.is(after.code, 0, after.stderr)
  assert.is(after.stdout.split('\n')[0], before.stdout.split('\n')[0])
  assert.not.match(after.stderr, /trained on/)
  // Other weights, or a config that says other things, are told.
  const config = JSON.parse(read('other-place', 'config.json')) as object
  cpSync(join(cwd, 'other-place'), join(cwd, 'another'), { recursive: true })
  writeFileSync(join(cwd, 'another', 'config.json'), JSON.stringify({ ...config, layer_norm_eps: 1e-5 }))
  const other = await cli(['predict', 'sent', 'a fine day', '--model', 'another', '--json'], { cwd })
  assert.is(other.code, 0)
  assert.match(other.stderr, /it was trained on my-base \(SHA-256 .*the base here is another \(SHA-256 .*--model/)
  // The tokenizer came along.
  renameSync(join(cwd, 'other-place', 'tokenizer.json'), join(cwd, 'other-place', 'gone.json'))
  const own = await cli(['predict', 'sent', 'a fine day', '--model', 'other-place', '--json'], { cwd })
  assert.is(own.stdout.split('\n')[0], before.stdout.split('\n')[0], own.stderr)
})

test('the model card is one, and neither it nor the report names a folder of this machine', () => {
  const card = read('sent', 'adapter', 'README.md')
  const [, front] = card.split('---\n')
  const facts = parse(front!) as Record<string, unknown>
  assert.is(facts.base_model, 'my-base')
  assert.is(facts.library_name, 'peft')
  const metrics = JSON.parse(read('sent', 'metrics.json')) as { after: Record<string, number>; splitHash: string }
  assert.ok(card.includes(`| ${Number(metrics.after.accuracy!.toPrecision(4))} |`))
  for (const part of [metrics.splitHash, 'TF-IDF', 'PeftModel.from_pretrained', "from 'lowrank'", 'reviews.jsonl'])
    assert.ok(card.includes(part), part)
  for (const page of [card, read('sent', 'report.html')]) assert.not.ok(page.includes(cwd))
})

test('another base has another hash', async () => {
  assert.is.not((await referenceOf(join(cwd, 'other-place')))!.sha256, (await referenceOf(join(cwd, 'sent'))) ?? '')
  assert.is(await referenceOf(cwd), undefined)
  const one = (await referenceOf(bundled.encoder))!.sha256
  assert.is((await referenceOf(join(cwd, 'other-place')))!.sha256, one, 'the tokenizer is no part of it')
})

test.run()
