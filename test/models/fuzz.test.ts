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
import { pack } from '../../lib/nn/batch.ts'
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
  ['gemma3_text', { use_bidirectional_attention: true }, /use_bidirectional_attention is true.*only causal/],
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

/** What a config says in two ways, given by hand or left out; and one that means something else. */
const SAME: [modelType: string, one: Record<string, Json>, same: Record<string, Json>, other: Record<string, Json>][] =
  [
    ['phi3', {}, { rms_norm_eps: 1e-5 }, { rms_norm_eps: 1e-6 }],
    ['gemma3_text', {}, { rope_local_base_freq: 1e4 }, { rope_local_base_freq: 100 }],
    ['gemma3_text', { sliding_window_pattern: 1 }, { sliding_window_pattern: 1, rope_theta: 1e6 }, { rope_theta: 1e4 }],
    ['gemma3_text', {}, { attn_logit_softcapping: 0.001 }, { final_logit_softcapping: 3, sliding_window: 1 }],
    [
      'modernbert',
      { rope_scaling: { type: 'linear', factor: 4 } },
      { rope_parameters: { full_attention: { rope_type: 'linear', factor: 4, rope_theta: 160000 } } },
      {},
    ],
  ]

for (const [modelType, ...configs] of SAME)
  test(`${modelType}: ${JSON.stringify(configs[0])} is ${JSON.stringify(configs[1])}, not ${JSON.stringify(configs[2])}`, async () => {
    const sizes = { max_position_embeddings: 64, head_dim: 4, num_key_value_heads: 2, initializer_range: 0.7 }
    const ids = Int32Array.from({ length: 12 }, (_, i) => (i * 7) % 19)
    const found: Float32Array[] = []
    for (const config of configs) {
      const model = tiny(modelType, { pad_token_id: 0, ...sizes, ...config })
      found.push(await logitsOf(model, pack([ids])))
      model.dispose()
    }
    assert.equal(found[1], found[0])
    assert.not.equal(found[2], found[0])
  })

test('families have lengths and start tokens of their own where a config says none', () => {
  const values = { hidden_size: 8, head_dim: 4, num_attention_heads: 2, num_hidden_layers: 1, intermediate_size: 6 }
  const modelOf = (modelType: string) =>
    createModel({ path: 'config.json', modelType, values: { ...values, vocab_size: 20 } }, { task: 'causal-lm' })
  for (const [modelType, positions] of [
    ['mistral', 131072],
    ['qwen2', 32768],
    ['gemma', 8192],
  ] as const) {
    const model = modelOf(modelType)
    assert.is(model.backbone.limits.maxPositions, positions)
    model.dispose()
  }
  const t5 = { d_model: 8, d_kv: 4, d_ff: 6, num_heads: 2, num_layers: 1, pad_token_id: 7 }
  for (const [modelType, id] of [
    ['mt5', 0],
    ['t5', 7],
  ] as const) {
    const model = tiny(modelType, t5)
    assert.is(model.backbone.startId, id)
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
