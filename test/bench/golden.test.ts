// Training traces made by PyTorch + PEFT, replayed by `npm run golden`.

import { spawnSync } from 'node:child_process'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { shared } from '../support/shared.ts'

const traces = join(packageRoot, 'test/golden/traces')
const names = ['full_seq__tiny-bert', 'lora_seq__tiny-bert', 'lora_seq__tiny-roberta', 'lora_tok__tiny-distilbert']

function replay(dirs: string[], weights: string, ...more: string[]) {
  const self = fileURLToPath(import.meta.url)
  const script = fileURLToPath(new URL(`../../bench/golden${extname(self)}`, import.meta.url))
  const args = [...process.execArgv, script, ...dirs, '--weights', weights, ...more]
  return spawnSync(process.execPath, args, { encoding: 'utf8' })
}

test('committed traces stay inside every bar', () => {
  const { status, stdout, stderr } = replay(
    names.map(name => join(traces, name)),
    join(traces, 'weights'),
  )
  assert.is(status, 0, stdout + stderr)
  for (const name of names) assert.match(stdout, name)
})

test('products in bf16 are past the bars, so that the bars can fail', () => {
  const { status, stdout } = replay([join(traces, names[1]!)], join(traces, 'weights'), '--compute', 'bf16')
  assert.is(status, 1, stdout)
  assert.match(stdout, '!')
})

test('a folder that is no trace is an error', () => {
  const { status, stderr } = replay([traces], traces)
  assert.is(status, 1)
  assert.match(stderr, 'holds no meta.json')
})

test('shared traces stay inside every bar', () => {
  const tasks = ['seq__minibert-own', 'tok__minibert-own', 'lm__stories260K', 'seq__stories260K', 'tok__stories260K']
  const dirs = tasks.map(name => shared(`golden/mini_${name}`))
  const weights = shared('weights')
  if (!weights || dirs.includes(undefined)) return console.log('skip: shared golden traces are not here')
  const { status, stdout, stderr } = replay(dirs as string[], weights)
  assert.is(status, 0, stdout + stderr)
})

test.run()
