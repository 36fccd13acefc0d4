// Encoder-decoders against transformers and PEFT, on the tiny checkpoints of test/golden/seq2seq (see its README).

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Decoder } from '../../lib/generate/decoder.ts'
import { generateTokens } from '../../lib/generate/generate.ts'
import { choiceOf, type TokenOptions } from '../../lib/generate/options.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors, type SafetensorsFile } from '../../lib/io/safetensors.ts'
import { createModel, loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type PackedBatch, pack, shiftedRight, upload } from '../../lib/nn/batch.ts'
import { bucketOf } from '../../lib/nn/relativeBias.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { attach } from '../../lib/peft/attach.ts'
import { loadAdapter } from '../../lib/peft/load.ts'
import { lora } from '../../lib/peft/lora.ts'
import { saveMerged } from '../../lib/peft/merged.ts'
import { prefixTuning, promptTuning } from '../../lib/peft/prompt.ts'
import { promptEncoder } from '../../lib/peft/promptEncoder.ts'
import { scope, type Tensor } from '../../lib/tensor.ts'
import { backward, logitsOf, tinyBatch, train, withFolder } from '../peft/golden.ts'
import { compare } from '../support/compare.ts'
import { unpad } from '../support/padded.ts'
import { targetsOf } from '../support/targets.ts'

const FOLDER = join(packageRoot, 'test/golden/seq2seq')
const CASES = readdirSync(FOLDER).filter(name => existsSync(join(FOLDER, name, 'meta.json')))
const task = 'seq2seq-lm'

interface Meta {
  lengths: number[]
  said: number[]
  loss: number
  greedy: { prompt: number[]; ids: number[] }
  generated?: { options: TokenOptions; ends: number[]; texts: number[][] }[]
  adapterLoss?: number
}

const open = (name: string) => openSafetensors(join(FOLDER, name, 'io.safetensors'))
const metaOf = (name: string) => JSON.parse(readFileSync(join(FOLDER, name, 'meta.json'), 'utf8')) as Meta

async function checkHidden(model: Model, io: SafetensorsFile, batch: PackedBatch, meta: Meta) {
  const { backbone, device } = model
  const seen: { encoder: Tensor[]; decoder: Tensor[] } = { encoder: [], decoder: [] }
  scope(() => {
    const into = (list: Tensor[]) => (hidden: Tensor) => void list.push(hidden)
    const memory = model.encode(batch, { observe: into(seen.encoder) })
    const given = shiftedRight(batch.decoder!, backbone.startId!)
    backbone.forward(upload(given, device, backbone), { memory, observe: into(seen.decoder) })
    for (const hidden of [...seen.encoder, ...seen.decoder]) hidden.keep()
  })
  for (const side of ['encoder', 'decoder'] as const) {
    assert.ok(seen[side].length > 2 && !io.has(`${side}.hidden.${seen[side].length}`))
    for (const [i, hidden] of seen[side].entries()) {
      const lengths = side === 'encoder' ? meta.lengths : meta.said
      const expected = unpad(io.readF32(`${side}.hidden.${i}`), lengths, backbone.hiddenSize)
      compare(`${side} state ${i}`, await hidden.data(), expected, { relative: 1e-5 })
      hidden.dispose()
    }
  }
}

async function checkGradients(model: Model, io: SafetensorsFile) {
  const names = io.names().filter(n => n.startsWith('grad.') || n.startsWith('grad_rows.'))
  assert.is(names.length, model.parameters.size, 'every parameter has a gradient')
  for (const name of names) {
    const parameter = model.parameters.get(name.slice(name.indexOf('.') + 1))!
    const [rows, cols] = parameter.shape as [number, number]
    const got = await parameter.gradient!.data()
    const found = name.startsWith('grad.')
      ? got
      : Float64Array.from({ length: rows }, (_, i) =>
          Float64Array.from(got.subarray(i * cols, (i + 1) * cols)).reduce((s, g, j) => s + g * Math.cos(j), 0),
        )
    compare(name, found, io.readF32(name), { relative: 5e-5, absolute: 1e-9 })
  }
}

for (const name of CASES) {
  test(`${name}: hidden states, logits, loss and every gradient equal transformers'`, async () => {
    const before = native.live()
    const meta = metaOf(name)
    const io = open(name)
    const model = await loadModel(join(FOLDER, name), { task })
    const { batch, labels } = tinyBatch(name)
    await checkHidden(model, io, batch, meta)
    const logits = unpad(io.readF32('logits'), meta.said, model.head.outputs)
    compare('logits', await logitsOf(model, batch), logits, { relative: 1e-5 })
    const targets = targetsOf(model, batch, labels)
    const end = train([...model.parameters.values()])
    for (const checkpoint of [false, true]) {
      for (const parameter of model.parameters.values()) native.fill(parameter.gradient!.handle, 0)
      const loss = await backward(() => model.loss(batch, targets, { total: targets.weight, checkpoint }))
      compare('loss', [loss], [meta.loss], { relative: 1e-5 })
      await checkGradients(model, io)
    }
    end()
    model.dispose()
    io.close()
    assert.is(native.live(), before, 'every tensor is freed')
  })

  test(`${name}: greedy tokens through the caches equal transformers'`, async () => {
    const before = native.live()
    const model = await loadModel(join(FOLDER, name), { task })
    const { prompt, ids } = metaOf(name).greedy
    const found: number[] = []
    const options = { maxNewTokens: ids.length, endIds: [] }
    for await (const id of generateTokens(model, Int32Array.from(prompt), options)) found.push(id)
    assert.equal(found, ids)
    model.dispose()
    assert.is(native.live(), before, 'every tensor is freed')
  })
}

for (const name of CASES.filter(each => metaOf(each).generated))
  test(`${name}: beams and penalties say what transformers says`, async () => {
    const before = native.live()
    const model = await loadModel(join(FOLDER, name), { task })
    const { greedy, generated } = metaOf(name)
    const decoder = new Decoder(model)
    for (const { options, ends, texts } of generated!) {
      const choice = choiceOf(model, { ...options, maxNewTokens: 10, endIds: ends })
      const found: number[][] = []
      if (options.beams) found.push(...(await decoder.beams(Int32Array.from(greedy.prompt), choice)))
      else {
        const ids: number[] = []
        for await (const id of decoder.tokens(Int32Array.from(greedy.prompt), choice)) ids.push(id)
        found.push(ids)
      }
      assert.equal(found, texts, JSON.stringify({ options, ends }))
    }
    await decoder.close()
    model.dispose()
    assert.is(native.live(), before, 'every tensor is freed')
  })

test('answers are said side by side, join and leave, and each is as it is alone', async () => {
  const before = native.live()
  const model = await loadModel(join(FOLDER, 't5'), { task })
  const prompts = [[5], [7, 23, 41, 11, 30, 8], [9, 12], [3, 3, 3, 3, 8, 9, 10, 4, 5], [17, 6, 20], [44]]
  const ids = async (tokens: AsyncIterable<number>) => {
    const found: number[] = []
    for await (const id of tokens) found.push(id)
    return found
  }
  const of = (i: number) => ({ maxNewTokens: 3 + ((5 * i) % 9), endIds: [31], temperature: i % 2, seed: i })
  const alone = []
  for (const [i, prompt] of prompts.entries())
    alone.push(await ids(generateTokens(model, Int32Array.from(prompt), of(i))))
  assert.ok(new Set(alone.map(({ length }) => length)).size > 2, 'they end at different times')
  for (const sequences of [2, 3, 8]) {
    const decoder = new Decoder(model, { sequences })
    const together = prompts.map((prompt, i) => {
      return ids(decoder.tokens(Int32Array.from(prompt), choiceOf(model, of(i))))
    })
    assert.equal(await Promise.all(together), alone, `${sequences} at a time`)
    await decoder.close()
  }
  model.dispose()
  assert.is(native.live(), before, 'every tensor is freed')
})

for (const name of CASES.filter(each => metaOf(each).adapterLoss !== undefined))
  test(`${name}: an adapter of PEFT gives its logits, loss and gradients, and is written as it was`, async () => {
    const before = native.live()
    const meta = metaOf(name)
    const io = open(name)
    const model = await loadModel(join(FOLDER, name), { task })
    const folder = join(FOLDER, name, 'adapter')
    const adapter = await loadAdapter(model, folder, { trainable: true })
    const { batch, labels } = tinyBatch(name)
    const expected = unpad(io.readF32('adapter.logits'), meta.said, model.head.outputs)
    compare('logits', await logitsOf(model, batch), expected, { relative: 1e-5 })
    const targets = targetsOf(model, batch, labels)
    const arena = new Arena(adapter.trainable, model.device)
    const loss = await backward(() => model.loss(batch, targets, { total: targets.weight }))
    compare('loss', [loss], [meta.adapterLoss!], { relative: 1e-5 })
    const tensors = new Map(adapter.tensors())
    assert.is(tensors.size, io.names().filter(key => key.startsWith('adapter.grad.')).length)
    for (const [key, { gradient }] of tensors)
      compare(key, await gradient!.data(), io.readF32(`adapter.grad.${key}`), { relative: 1e-4 })
    await withFolder(async dir => {
      await adapter.save(dir)
      const [mine, its] = [dir, folder].map(at => openSafetensors(join(at, 'adapter_model.safetensors')))
      assert.equal([...mine!.names()].sort(), [...its!.names()].sort())
      for (const key of its!.names()) assert.equal(mine!.readF32(key), its!.readF32(key))
      mine!.close()
      its!.close()
      const config = JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8'))
      assert.is(config.task_type, 'SEQ_2_SEQ_LM')
    })
    arena.dispose()
    model.dispose()
    io.close()
    assert.is(native.live(), before, 'every tensor is freed')
  })

for (const name of CASES)
  test(`${name}: a merged model is written as it was stored, and loads again`, async () => {
    const before = native.live()
    await withFolder(async dir => {
      const model = await loadModel(join(FOLDER, name), { task })
      const untied = model.shared.size === 0
      attach(model, lora({ r: 2, targetModules: 'all-linear', initLoraWeights: false }), { seed: 4 })
      const { batch } = tinyBatch(name)
      const expected = await logitsOf(model, batch)
      await saveMerged(model, join(dir, 'merged'))
      model.dispose()
      const file = openSafetensors(join(dir, 'merged/model.safetensors'))
      assert.is(file.has('lm_head.weight'), untied, 'a tied head is not written')
      file.close()
      const merged = await loadModel(join(dir, 'merged'), { task })
      // In the type of the checkpoint: f16 keeps 11 bits.
      compare('logits', await logitsOf(merged, batch), expected, { relative: name === 't5-f16' ? 5e-3 : 5e-5 })
      merged.dispose()
    })
    assert.is(native.live(), before)
  })

test('buckets of distances are those of transformers', () => {
  const cases = JSON.parse(readFileSync(join(FOLDER, 'buckets.json'), 'utf8')) as {
    buckets: number
    maxDistance: number
    bidirectional: boolean
    found: number[]
  }[]
  for (const { found, ...options } of cases)
    assert.equal(
      found.map((_, i) => bucketOf(i - 300, options)),
      found,
      JSON.stringify(options),
    )
})

test('configs that make no sense are refused', () => {
  const config = (values: object) => {
    const given = { model_type: 't5', vocab_size: 20, d_model: 8, d_kv: 4, num_heads: 2, num_layers: 1, ...values }
    return () =>
      createModel({ path: 'config.json', modelType: 't5', values: given }, { task, device: 'meta' }).dispose()
  }
  config({})()
  assert.throws(config({ relative_attention_num_buckets: 2 }), /config.json: 2 buckets for distances up to 128/)
  assert.throws(config({ relative_attention_max_distance: 16 }), /32 buckets for distances up to 16/)
  assert.throws(config({ feed_forward_proj: 'twice-gelu' }), /feed_forward_proj "twice-gelu"/)
  assert.throws(config({ feed_forward_proj: 'gated-none' }), /activation "none" is unknown/)
})

test('default targets are the queries and values of all attentions', async () => {
  const model = await loadModel(join(FOLDER, 't5'), { task })
  const paths = attach(model, lora({ r: 2 })).matched.map(({ path }) => path)
  assert.is(paths.length, 2 * (2 + 2 * 3))
  assert.ok(paths.includes('decoder.block.2.layer.1.EncDecAttention.v'))
  model.dispose()
})

test('f16 weights run in f32, and the model says why', async () => {
  const model = await loadModel(join(FOLDER, 't5-f16'), { task })
  assert.match(model.notices.join(), /f16.*f32.*outgrow the range/)
  model.dispose()
})

for (const method of [
  promptTuning({ numVirtualTokens: 3 }),
  promptEncoder({ numVirtualTokens: 3, encoderHiddenSize: 8 }),
  prefixTuning({ numVirtualTokens: 3 }),
  prefixTuning({ numVirtualTokens: 3, prefixProjection: true, encoderHiddenSize: 8 }),
])
  test(`after ${method.type} tuning ${method.options.prefixProjection ? 'with projection ' : ''}answers through the caches are those of whole passes`, async () => {
    const before = native.live()
    const model = await loadModel(join(FOLDER, 't5'), { task })
    const adapter = attach(model, method)
    for (const [i, { tensor, size }] of adapter.trainable.entries())
      tensor.upload(Float32Array.from({ length: size }, (_, j) => Math.sin(i * 3.1 + j * 1.7)))
    const prompts = [[5], [7, 23, 41, 11, 30, 8], [3, 3, 3, 3, 8, 9, 10, 4, 5]].map(ids => Int32Array.from(ids))
    const expected = await Promise.all(
      prompts.map(async prompt => {
        const ids: number[] = []
        for (let step = 0; step < 6; step++) {
          // What stands last is to be said: what is read ends before it.
          const logits = scope(() => model.logits({ ...pack([prompt]), decoder: pack([Int32Array.of(...ids, 0)]) }))
          const last = (await logits.data()).slice(-model.head.outputs)
          logits.dispose()
          ids.push(last.indexOf(Math.max(...last)))
        }
        return ids
      }),
    )
    const options = { maxNewTokens: 6, endIds: [] }
    const decoder = new Decoder(model, { sequences: 2 })
    const found = prompts.map(async prompt => {
      const ids: number[] = []
      for await (const id of decoder.tokens(prompt, choiceOf(model, options))) ids.push(id)
      return ids
    })
    assert.equal(await Promise.all(found), expected)
    const [best] = await decoder.beams(prompts[1]!, choiceOf(model, { ...options, beams: 1 }))
    assert.equal(best, expected[1])
    await decoder.close()
    model.dispose()
    assert.is(native.live(), before)
  })

test('virtual tokens are refused where transformers takes none, and sizes that do not fit', async () => {
  const model = await loadModel(join(FOLDER, 't5'), { task })
  const wrong = (options: object) => () => attach(model, prefixTuning(options))
  assert.throws(wrong({ tokenDim: 24 }), /tokenDim: 24, but t5 reads vectors of 30 here; leave it out/)
  assert.throws(wrong({ numLayers: 2 }), /prefix: keys and values of 2 layers \(num_layers\), the model has 3/)
  assert.throws(wrong({ numTransformerSubmodules: 1 }), /numTransformerSubmodules: 1 set of keys and values/)
  assert.throws(wrong({ numTransformerSubmodules: 3 }), /3 sets of virtual tokens, .* has 1 or 2/)
  model.dispose()
  for (const [word, message, labels] of [
    ['sequence-classification', /virtual tokens: transformers' T5ForSequenceClassification takes no vectors/, ['a']],
    ['question-answering', /virtual tokens: transformers' T5ForQuestionAnswering takes no vectors/, undefined],
  ] as const) {
    const other = await loadModel(join(FOLDER, 't5'), { task: word, labels })
    assert.throws(() => attach(other, promptTuning()), message)
    other.dispose()
  }
  const encoder = await loadModel(join(FOLDER, 't5'), { task: 'token-classification', labels: ['a', 'b'] })
  const { decoder: _, ...batch } = tinyBatch('t5').batch
  attach(encoder, promptTuning({ numVirtualTokens: 2 }))
  scope(() => void encoder.logits(batch))
  attach(encoder, prefixTuning({ numVirtualTokens: 2, tokenDim: 30 }), { name: 'prefix' })
  assert.throws(() => scope(() => encoder.logits(batch)), /prefix: an encoder with biases by distance reads no keys/)
  encoder.dispose()
})

test('another task, and a batch without what is to be said are refused', async () => {
  const model = await loadModel(join(FOLDER, 't5'), { task })
  const { decoder: _, ...batch } = tinyBatch('t5').batch
  assert.throws(() => scope(() => model.logits(batch)), /batch: it does not say what the decoder is to say/)
  const other = await loadModel(join(FOLDER, 't5'), { task: 'causal-lm' }).catch(error => error)
  assert.match(String(other), /t5 has no head for causal-lm; .*seq2seq-lm/)
  model.dispose()
})

test.run()
