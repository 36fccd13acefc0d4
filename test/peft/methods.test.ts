// Adapters of every other method as PEFT writes them (test/golden/peft/methods), both directions.

import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { generateTokens } from '../../lib/generate/generate.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors } from '../../lib/io/safetensors.ts'
import { native } from '../../lib/native.ts'
import { attach, loadAdapter, lora, METHODS } from '../../lib/peft/index.ts'
import { transformersModule } from '../../lib/peft/task.ts'
import { compare } from '../support/compare.ts'
import { unpad } from '../support/padded.ts'
import { targetsOf } from '../support/targets.ts'
import { backward, bytesOf, logitsOf, readMeta, tinyBatch, tinyModel, train, withFolder } from './golden.ts'

const FOLDER = join(packageRoot, 'test/golden/peft/methods')
const CASES = readdirSync(FOLDER).filter(name => existsSync(join(FOLDER, name, 'meta.json')))

interface Meta {
  base: string
  task: string
  loss: number | null
  /** What a prompt is continued with. */
  greedy?: { prompt: number[]; ids: number[] }
}

const readConfig = (dir: string) => JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8'))
/** PEFT writes Python sets: their order follows the hash seed. */
const asSets = (config: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(config).map(([key, value]) => [
      key,
      /_modules$/.test(key) && Array.isArray(value) ? [...value].sort() : value,
    ]),
  )

for (const name of CASES)
  test(`${name}: what PEFT saved computes what PEFT computed, and is saved as it was`, async () => {
    const before = native.live()
    const dir = join(FOLDER, name)
    const { base, task, loss: expected, greedy } = readMeta<Meta>(dir)
    const io = openSafetensors(join(dir, 'io.safetensors'))
    const model = await tinyModel(base)
    const { batch, labels, total, lengths, said } = tinyBatch(base)
    // PEFT passes no segments to a model with virtual tokens.
    if (/^(prompt|prefix|ptuning)-/.test(name)) batch.typeIds = undefined
    const original = await bytesOf(model)
    const adapter = await loadAdapter(model, dir, { trainable: true })
    const logits = io.readF32('logits')
    const wanted = task === 'seq' ? logits : unpad(logits, said ?? lengths, io.info('logits').shape[2])
    compare('logits', await logitsOf(model, batch), wanted)
    const stop = train(adapter.trainable)
    const targets = targetsOf(model, batch, labels)
    // The first token of a text follows none.
    const all = task === 'lm' ? targets.weight : total
    const loss = await backward(() => model.loss(batch, targets, { total: all }))
    if (expected !== null) compare('loss', [loss], [expected])
    if (greedy) {
      const found: number[] = []
      const options = { maxNewTokens: greedy.ids.length, endIds: [] }
      for await (const id of generateTokens(model, Int32Array.from(greedy.prompt), options)) found.push(id)
      assert.equal(found, greedy.ids)
    }
    for (const [key, { gradient, isTransposed, shape }] of adapter.tensors()) {
      if (!io.has(`grad.${key}`)) continue
      const [found, [rows = 1, columns = 1]] = [await gradient!.data(), shape]
      const got = isTransposed ? found.map((_, i) => found[(i % rows) * columns + Math.floor(i / rows)]!) : found
      compare(key, got, io.readF32(`grad.${key}`), { relative: 5e-5, absolute: 1e-7 })
    }
    stop()
    await withFolder(async out => {
      await adapter.save(join(out, 'again'))
      assert.equal(asSets(readConfig(join(out, 'again'))), asSets(readConfig(dir)))
      const files = [dir, join(out, 'again')].map(folder => readFileSync(join(folder, 'adapter_model.safetensors')))
      assert.ok(files[0]!.equals(files[1]!), 'the same tensors, byte for byte')
    })
    adapter.detach()
    assert.equal(await bytesOf(model), original, 'detached, the base is as it was')
    model.dispose()
    io.close()
    assert.is(native.live(), before)
  })

for (const [base, library] of [
  ['xlm-roberta-seq', 'xlm_roberta'],
  ['gemma3-lm', 'gemma3'],
] as const)
  test(`without a task PEFT names the module of the class: ${library}`, async () => {
    const model = await tinyModel(base)
    await withFolder(async out => {
      const adapter = attach(model, lora({ r: 2 }))
      assert.is(transformersModule(model), `transformers.models.${library}.modeling_${library}`)
      await adapter.save(out)
      adapter.detach()
      rmSync(join(out, 'lowrank.json'))
      const path = join(out, 'adapter_config.json')
      const mapping = { base_model_class: 'Any', parent_library: `transformers.models.${library}.modeling_${library}` }
      writeFileSync(path, JSON.stringify({ ...readConfig(out), task_type: null, auto_mapping: mapping }))
      const loaded = await loadAdapter(model, out)
      assert.is(loaded.matched.length, 2 * model.backbone.layers)
    })
    model.dispose()
  })

test("every method that PEFT has is held to PEFT's own files", () => {
  const made = new Set(['LORA', ...CASES.map(name => readConfig(join(FOLDER, name)).peft_type)])
  const ours = ['BITFIT', 'BOTTLENECK', 'HEAD', 'TRAINABLE_TOKENS'] // the last in tables.test.ts
  for (const { peftType } of METHODS)
    if (peftType) assert.ok(made.has(peftType) || ours.includes(peftType), `${peftType} has no golden case`)
})

test.run()
