// What reads files is asynchronous: other work goes on meanwhile, and sees things whole or not at all.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bundled } from '../../lib/bundled.ts'
import { loadModel } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { loadAdapter } from '../../lib/peft/index.ts'
import { ADAPTERS, bytesOf, tinyModel } from '../peft/golden.ts'

test('the event loop has its turns while a model is read', async () => {
  if (!existsSync(join(bundled.encoder, 'model.safetensors'))) return console.log('skipped: no bundled weights')
  let [turns, done] = [0, false]
  const count = () => {
    turns++
    if (!done) setImmediate(count)
  }
  const loading = loadModel(bundled.encoder, { task: 'masked-lm' })
  setImmediate(count)
  const model = await loading
  done = true
  assert.ok(turns > 0, `${turns} turns`)
  model.dispose()
})

test('while an adapter is read the model is as it was, and then has all of it', async () => {
  const before = native.live()
  const model = await tinyModel('bert-seq')
  const original = await bytesOf(model)
  const loading = loadAdapter(model, join(ADAPTERS, 'bert-seq-default'))
  assert.is(model.adapters.size, 0)
  assert.equal(await bytesOf(model), original)
  const adapter = await loading
  assert.is(model.adapters.get('default'), adapter)
  model.dispose()
  assert.is(native.live(), before)
})

test('two models are read at once', async () => {
  const [a, b] = await Promise.all([tinyModel('bert-seq'), tinyModel('bert-seq')])
  assert.equal(await bytesOf(a), await bytesOf(b))
  for (const model of [a, b]) model.dispose()
})

test.run()
