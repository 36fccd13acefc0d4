// Random configurations of every family against transformers: test/golden/fuzz (made by its make.py), or the folder
// that LOWRANK_FUZZ names.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ModelConfig } from '../../lib/io/config.ts'
import type { Json } from '../../lib/io/json.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors, type SafetensorsFile, writeSafetensors } from '../../lib/io/safetensors.ts'
import { createModel, loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { attach, loadAdapter, lora, saveAdapter } from '../../lib/peft/index.ts'
import { backward, logitsOf, tinyBatch, tinyModel, train, withFolder } from '../peft/golden.ts'
import { compare } from '../support/compare.ts'
import { batchOf, checkHidden, ints, unpad } from '../support/padded.ts'
import { TASKS_BY_WORD, targetsOf } from '../support/targets.ts'

const FOLDER = process.env.LOWRANK_FUZZ ?? join(packageRoot, 'test/golden/fuzz')
const PROBLEM = {
  regression: 'regression',
  multi_label_classification: 'multi',
  single_label_classification: 'single',
} as const

interface Meta {
  task: string
  problem: keyof typeof PROBLEM | null
  /** Null: config.json says how many. */
  labels: number | null
  loss: number
  lengths: number[]
  missing: string[]
}

function labelsFrom(io: SafetensorsFile, { task, lengths }: Meta): Int32Array | Float32Array {
  if (io.info('labels').dtype === 'F32') return io.readF32('labels')
  return task === 'seq' ? ints(io, 'labels') : unpad(ints(io, 'labels'), lengths)
}

async function open(dir: string, meta: Meta): Promise<Model> {
  const labels = meta.labels === null ? undefined : Array.from({ length: meta.labels }, (_, i) => `L${i}`)
  const problem = meta.labels !== null && meta.problem ? PROBLEM[meta.problem] : undefined
  const model = await loadModel(dir, { task: TASKS_BY_WORD[meta.task]!, labels, problem })
  assert.equal([...model.newTensors].sort(), meta.missing)
  if (meta.missing.length > 0) {
    const extra = openSafetensors(join(dir, 'extra.safetensors'))
    for (const name of meta.missing) model.parameters.get(name)!.tensor.upload(extra.readF32(name))
    extra.close()
  }
  return model
}

async function checkGradients(model: Model, io: SafetensorsFile): Promise<void> {
  const names = io.names().filter(name => name.startsWith('grad.'))
  const largest = Math.max(...names.map(name => io.readF32(name).reduce((m, g) => Math.max(m, Math.abs(g)), 0)))
  for (const name of names) {
    const parameter = model.parameters.get(name.slice('grad.'.length))
    assert.ok(parameter, `${name}: no such parameter`)
    compare(name, await parameter.gradient!.data(), io.readF32(name), { relative: 5e-5, absolute: 1e-6 * largest })
  }
  for (const { name, gradient } of model.parameters.values())
    if (!names.includes(`grad.${name}`)) compare(name, await gradient!.data(), new Float32Array(gradient!.size))
}

for (const name of readdirSync(FOLDER).filter(n => existsSync(join(FOLDER, n, 'meta.json'))))
  test(`${name}: hidden states, logits, loss and every gradient equal transformers'`, async () => {
    const before = native.live()
    const dir = join(FOLDER, name)
    const meta = JSON.parse(readFileSync(join(dir, 'meta.json'), 'utf8')) as Meta
    const io = openSafetensors(join(dir, 'io.safetensors'))
    const model = await open(dir, meta)
    const batch = batchOf(io, meta.lengths)
    const labels = labelsFrom(io, meta)
    await checkHidden(model, io, batch, meta.lengths)
    const logits = io.readF32('logits')
    const expected = meta.task === 'seq' ? logits : unpad(logits, meta.lengths, model.head.outputs)
    compare('logits', await logitsOf(model, batch), expected, { relative: 1e-5 })
    const end = train([...model.parameters.values()])
    const total = Array.from(labels).filter(label => label !== -100).length
    compare(
      'loss',
      [await backward(() => model.loss(batch, targetsOf(model, batch, labels), { total }))],
      [meta.loss],
      { relative: 1e-5 },
    )
    await checkGradients(model, io)
    end()
    model.dispose()
    io.close()
    assert.is(native.live(), before, 'every tensor is freed')
  })

/** A tiny model of a config, never run. */
function tiny(modelType: string, more: Record<string, Json>, labels?: string[]): Model {
  const shape = { hidden_size: 8, num_attention_heads: 2, num_hidden_layers: 1, intermediate_size: 6, vocab_size: 20 }
  const distil = { dim: 8, n_heads: 2, n_layers: 1, hidden_dim: 6, max_position_embeddings: 12 }
  const config: ModelConfig = { path: 'config.json', modelType, values: { ...shape, ...distil, ...more } }
  return createModel(config, { task: 'sequence-classification', labels: labels ?? ['a', 'b'] })
}

const REFUSED: [modelType: string, more: Record<string, Json>, message: RegExp][] = [
  ['bert', { is_decoder: true }, /is_decoder is true, but only encoders/],
  ['roberta', { add_cross_attention: true }, /add_cross_attention is true/],
  ['bert', { position_embedding_type: 'relative_key_query' }, /position_embedding_type is "relative_key_query"/],
  ['bert', { hidden_act: 'gelu_10' }, /activation "gelu_10" is unknown.*known are gelu, /],
  ['roberta', { hidden_act: 'toString' }, /activation "toString" is unknown/],
  ['distilbert', { activation: 'rleu' }, /activation "rleu" is unknown \(did you mean "relu"\?\)/],
  ['distilbert', { n_heads: 3 }, /3 attention heads do not divide the hidden size 8/],
  ['bert', { pad_token_id: 20 }, /pad_token_id is 20, outside 0 to 19/],
  ['bert', { pad_token_id: -1 }, /pad_token_id is -1, outside 0 to 19/],
  ['roberta', { pad_token_id: null }, /positions count from pad_token_id \+ 1, which is null/],
  ['roberta', { pad_token_id: 11 }, /which is 11 \+ 1 of 12 positions/],
]

for (const [modelType, more, message] of REFUSED)
  test(`${modelType} with ${JSON.stringify(more)} is refused, and nothing stays in memory`, () => {
    const before = native.live()
    assert.throws(() => tiny(modelType, more), message)
    assert.is(native.live(), before)
  })

test('without problem_type one label is a number, more are classes', () => {
  for (const [more, labels, problem] of [
    [{}, ['a'], 'regression'],
    [{}, ['a', 'b'], 'single'],
    [{ problem_type: 'single_label_classification' }, ['a'], 'single'],
    [{ problem_type: 'regression' }, ['a', 'b'], 'regression'],
  ] as const) {
    const model = tiny('roberta', more, [...labels])
    assert.is(model.head.problem, problem)
    model.dispose()
  }
})

/** Saves an adapter that trains every bias, with copies of `from` under the names that PEFT writes beside it. */
async function withCopies(model: Model, dir: string, from: string, copies: string[]): Promise<void> {
  const attached = attach(model, lora({ r: 2, bias: 'all', initLoraWeights: false }), { seed: 3 })
  await saveAdapter(attached, dir)
  attached.detach()
  const path = join(dir, 'adapter_model.safetensors')
  const file = openSafetensors(path)
  const read = (name: string, key: string) => ({ ...file.info(key), name, data: file.read(key) })
  const tensors = [...file.names().map(key => read(key, key)), ...copies.map(name => read(name, from))]
  file.close()
  await writeSafetensors(path, tensors as never)
}

for (const [name, from, copies] of [
  [
    'roberta-seq',
    'base_model.model.classifier.dense.bias',
    ['classifier.modules_to_save.default.dense.bias', 'classifier.original_module.dense.bias'],
  ],
  ['bert-mlm', 'base_model.model.cls.predictions.bias', ['cls.predictions.decoder.bias']],
] as const)
  test(`${name}: copies of biases that PEFT writes beside an adapter change nothing`, async () => {
    const model = await tinyModel(name)
    await withFolder(async out => {
      await withCopies(model, join(out, 'a'), from, [])
      const key = (copy: string) => `base_model.model.${copy}`
      await withCopies(model, join(out, 'b'), from, copies.map(key))
      const logits: Float32Array[] = []
      for (const dir of ['a', 'b']) {
        const attached = await loadAdapter(model, join(out, dir))
        logits.push(await logitsOf(model, tinyBatch(name).batch))
        attached.detach()
      }
      assert.equal(logits[1], logits[0])
    })
    model.dispose()
  })

test('tied word embeddings are not trained as a module of their own', async () => {
  const before = native.live()
  const model = await tinyModel('bert-mlm')
  assert.throws(() => attach(model, lora({ modulesToSave: ['word_embeddings'] })), /is also the decoder of this model/)
  model.dispose()
  assert.is(native.live(), before)
})

test.run()
