// Every method of the registry under the same demands. A new method is tested by its line there; what it needs beside
// its defaults, or does otherwise on purpose, is a row of `ROWS`.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import type { Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { AdamW } from '../../lib/optim/adamw.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { type Adapter, attach, createMethod, loadAdapter, METHODS } from '../../lib/peft/index.ts'
import { scope } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'
import { targetsOf } from '../support/targets.ts'
import { temporaryFolder } from '../support/temporary.ts'
import {
  answers,
  counting,
  runToEnd,
  sequences,
  tinyDecoder,
  tinySeq2seq,
  trainedBytes,
  tinyModel as trainingModel,
} from '../train/support.ts'
import { backward, bytesOf, logitsOf, tinyBatch, tinyModel, train, withFolder } from './golden.ts'

interface Row {
  /** Of which method, where the row is a way of it. */
  readonly kind?: string
  /** Beside the defaults. */
  readonly options?: object
  /** It trains the model's own weights: nothing to switch off, save as an adapter, merge, or quantise. */
  readonly isWhole?: boolean
  /** Parameters whose gradient leaves a term out, as PEFT's does; test/peft/methods.test.ts holds them to PEFT's. */
  readonly partial?: RegExp
  /** The output changes as soon as it is attached. */
  readonly changesAtOnce?: boolean
  /** Why it cannot be merged. */
  readonly unmergeable?: RegExp
}

const ROWS: Readonly<Record<string, Row>> = {
  full: { isWhole: true },
  'last-layers': { isWhole: true },
  adapter: {
    options: { reductionFactor: 4, nonLinearity: 'tanh' },
    unmergeable: /has no change of its weight/,
  },
  pfeiffer: {
    kind: 'adapter',
    options: { form: 'pfeiffer', reductionFactor: 4, nonLinearity: 'tanh' },
    unmergeable: /has no change of its weight/,
  },
  parallel: {
    kind: 'adapter',
    options: { form: 'parallel', reductionFactor: 4, nonLinearity: 'tanh', scaling: 4 },
    unmergeable: /has no change of its weight/,
  },
  'lora on tables and output layers': {
    kind: 'lora',
    options: { targetModules: '(.*\\.)?word_embeddings|model\\.embed_tokens|lm_head|.*\\.query' },
  },
  'token-rows': { options: { tokenIndices: [3, 5, 7, 10, 12, 15, 20] } },
  'lora with token rows': { kind: 'lora', options: { trainableTokenIndices: [3, 5, 7, 10, 12, 15, 20] } },
  prompt: { options: { numVirtualTokens: 3 }, changesAtOnce: true, unmergeable: /changes no weight/ },
  prefix: { options: { numVirtualTokens: 3 }, changesAtOnce: true, unmergeable: /changes no weight/ },
  adalora: { options: { initR: 6, targetR: 3, tinit: 1, tfinal: 2 } },
  miss: { options: { r: 5 } }, // which divides no layer's inputs
  ptuning: {
    options: { numVirtualTokens: 3, encoderHiddenSize: 8 },
    changesAtOnce: true,
    unmergeable: /changes no weight/,
  },
  'prefix with projection': {
    kind: 'prefix',
    options: { numVirtualTokens: 3, prefixProjection: true, encoderHiddenSize: 8 },
    changesAtOnce: true,
    unmergeable: /changes no weight/,
  },
  vera: { options: { r: 16 } },
  dora: { partial: /lora_[AB]/ }, // the norm counts as a constant
}

const WAYS = METHODS.flatMap(({ type, lr }) => {
  const others = Object.keys(ROWS).filter(name => ROWS[name]!.kind === type)
  return [type, ...others].map(name => ({ name, type, lr }))
})
type Way = (typeof WAYS)[number]

const rowOf = ({ name }: Way): Row => ROWS[name] ?? {}
const method = (kind: Way, more = {}) => createMethod(kind.type, { ...rowOf(kind).options, ...more })
/** A decoder with every bias and tied words, and an encoder-decoder. */
const OTHERS = ['llama-lm-tied', 't5']
/** Why a method is not for one of them. */
const REFUSED: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
  bitfit: { t5: /bitfit: t5 has no biases/ },
  head: {
    'llama-lm-tied': /head: llama for causal-lm has no head of its own/,
    t5: /head: t5 for seq2seq-lm has no head of its own/,
  },
  pfeiffer: { 'llama-lm-tied': /form: llama hands no residual on/, t5: /form: t5 hands no residual on/ },
  parallel: { 'llama-lm-tied': /form: llama hands no residual on/, t5: /form: t5 hands no residual on/ },
}
const refusedOf = ({ name, type }: Way) => REFUSED[name] ?? REFUSED[type] ?? {}
const withOthers = (way: Way, ...encoders: string[]) => [...encoders, ...OTHERS.filter(base => !refusedOf(way)[base])]

/** What is trained, for as long as it takes to stop in the middle. */
const RUNS = [
  ['an encoder', trainingModel, sequences],
  ['a decoder', tinyDecoder, counting],
  ['an encoder-decoder', tinySeq2seq, answers],
] as const

async function randomise({ trainable }: Adapter): Promise<void> {
  for (const [i, { tensor, size }] of trainable.entries()) {
    const start = await tensor.data()
    tensor.upload(Float64Array.from({ length: size }, (_, j) => start[j]! + 0.2 * Math.sin(i * 3.1 + j * 1.7)))
  }
}

async function balanced(body: () => Promise<void>): Promise<void> {
  const before = native.live()
  await body()
  assert.is(native.live(), before, 'every tensor is freed')
}

for (const kind of WAYS) {
  const { isWhole, partial, changesAtOnce, unmergeable } = rowOf(kind)

  for (const [base, message] of Object.entries(refusedOf(kind)))
    test(`${kind.name} on ${base}: refused, with the reason`, async () => {
      const model = await tinyModel(base)
      const { batch } = tinyBatch(base)
      const used = async () => {
        attach(model, method(kind))
        await logitsOf(model, batch)
      }
      assert.match(String(await used().catch(error => error)), message)
      model.dispose()
    })

  for (const base of withOthers(kind, 'bert-seq', 'roberta-seq', 'distilbert-tok'))
    test(`${kind.name} on ${base}: nothing changes at the start, all of it comes off`, () =>
      balanced(async () => {
        const model = await tinyModel(base)
        const { batch } = tinyBatch(base)
        const [original, bytes] = [await logitsOf(model, batch), await bytesOf(model)]
        const adapter = attach(model, method(kind))
        assert.ok(adapter.trainable.length > 0)
        assert.ok(adapter.matched.every(({ text }) => text.length > 0))
        // The scores of T5 are not scaled down, nor is their rounding.
        const relative = base === 't5' ? 3e-6 : 1e-6
        if (!changesAtOnce) compare('at the start', await logitsOf(model, batch), original, { relative })
        await randomise(adapter)
        if (!isWhole) {
          const trained = await logitsOf(model, batch)
          assert.not.equal(trained, original)
          adapter.setActive(false)
          assert.equal(await logitsOf(model, batch), original, 'switched off: bit for bit')
          adapter.setActive(true)
          assert.equal(await logitsOf(model, batch), trained, 'switched on again: bit for bit')
          adapter.detach()
          assert.equal(await bytesOf(model), bytes, 'detached: byte for byte')
        }
        model.dispose()
      }))

  for (const base of withOthers(kind, 'bert-seq'))
    test(`${kind.name} on ${base}: the gradient of every parameter, by central differences`, () =>
      balanced(async () => {
        const model = await tinyModel(base, { storage: 'f64' })
        const { batch, labels, total } = tinyBatch(base)
        const adapter = attach(model, method(kind))
        await randomise(adapter)
        const loss = () => model.loss(batch, targetsOf(model, batch, labels), { total })
        const stop = train(adapter.trainable)
        await backward(loss)
        const value = async () => {
          const tensor = scope(loss)
          const found = await tensor.item()
          tensor.dispose()
          return found
        }
        for (const { name, tensor, gradient } of adapter.trainable) {
          if (partial?.test(name)) continue
          const [x, g] = [Float64Array.from(await tensor.data()), Float64Array.from(await gradient!.data())]
          // The steepest element, and one in the middle.
          const steepest = g.reduce((best, v, i) => (Math.abs(v) > Math.abs(g[best]!) ? i : best), 0)
          for (const i of new Set([steepest, x.length >> 1])) {
            const at = async (h: number) => {
              tensor.upload(Float64Array.from(x).with(i, x[i]! + h))
              return value()
            }
            const numeric = ((await at(1e-5)) - (await at(-1e-5))) / 2e-5
            compare(`${name}[${i}]`, [g[i]!], [numeric], { relative: 1e-5, absolute: 1e-9 })
          }
          tensor.upload(x)
        }
        stop()
        model.dispose()
      }))

  for (const base of isWhole ? [] : withOthers(kind, 'bert-seq'))
    test(`${kind.name} on ${base}: saved, loaded and saved again it is the same bytes, and computes the same`, () =>
      balanced(() =>
        withFolder(async out => {
          const model = await tinyModel(base)
          const { batch } = tinyBatch(base)
          const adapter = attach(model, method(kind), { seed: 3 })
          await adapter.save(join(out, 'start')) // what has not been trained can be saved too
          await randomise(adapter)
          const logits = await logitsOf(model, batch)
          await adapter.save(join(out, 'a'))
          adapter.detach()
          const loaded = await loadAdapter(model, join(out, 'a'), { trainable: true })
          assert.equal(await logitsOf(model, batch), logits)
          await loaded.save(join(out, 'b'))
          for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
            assert.ok(readFileSync(join(out, 'a', file)).equals(readFileSync(join(out, 'b', file))), file)
          model.dispose()
        }),
      ))

  for (const base of withOthers(kind, 'roberta-seq'))
    test(`${kind.name} on ${base}: merged it computes the same, or says why not`, () =>
      balanced(async () => {
        const model = await tinyModel(base, { storage: 'f64' })
        const { batch } = tinyBatch(base)
        const adapter = attach(model, method(kind))
        await randomise(adapter)
        const [logits, bytes] = [await logitsOf(model, batch), await bytesOf(model)]
        if (isWhole || unmergeable) {
          assert.throws(
            () => adapter.merge(),
            (error: unknown) =>
              error instanceof LowrankError && (unmergeable ?? /nothing to merge/).test(error.message),
          )
        } else {
          adapter.merge()
          compare('merged', await logitsOf(model, batch), logits, { relative: 1e-10 })
          adapter.unmerge()
          assert.equal(await bytesOf(model), bytes)
          assert.equal(await logitsOf(model, batch), logits)
          adapter.merge()
          adapter.detach({ keep: true })
          compare('merged for good', await logitsOf(model, batch), logits, { relative: 1e-10 })
        }
        model.dispose()
      }))

  for (const [base, make, examples] of RUNS.slice(0, kind.type === 'lora' ? RUNS.length : 1))
    test(`${kind.name} on ${base}: a run that is resumed ends with the bytes of one that was not`, () =>
      balanced(async () => {
        const data = { train: examples(48), validation: examples(12, 9) }
        const settings = { epochs: 2, batchSize: 8, lr: kind.lr, evaluateBefore: false }
        const run = async (model: Model, options: object) => {
          const adapter = attach(model, method(kind), { seed: 2 })
          await runToEnd(adapter, data, { ...settings, ...options })
          const bytes = await trainedBytes(adapter)
          model.dispose()
          return bytes
        }
        const whole = await run(make(), {})
        const outputDir = temporaryFolder()
        await interrupted(make(), outputDir)
        assert.is(await run(make(), { outputDir, resume: true }), whole)

        async function interrupted(model: Model, dir: string): Promise<void> {
          const adapter = attach(model, method(kind), { seed: 2 })
          const abort = new AbortController()
          await runToEnd(adapter, data, { ...settings, outputDir: dir, signal: abort.signal }, event => {
            if (event.type === 'step' && event.step === 8) abort.abort()
          })
          model.dispose()
        }
      }))

  for (const base of withOthers(kind, 'bert-seq'))
    for (const storage of ['int8', 'nf4'] as const)
      test(`${kind.name} on ${base}: beside weights in ${storage} the loss falls`, () =>
        balanced(async () => {
          const model = await tinyModel(base, { storage })
          if (isWhole) {
            assert.throws(
              () => attach(model, method(kind)),
              (error: Error) => /stored as/.test(error.message),
            )
            return model.dispose()
          }
          const { batch, labels, total } = tinyBatch(base)
          const adapter = attach(model, method(kind), { seed: 1 })
          const arena = new Arena(adapter.trainable, model.device)
          const optimizer = new AdamW(arena)
          const losses: number[] = []
          for (let i = 0; i < 6; i++) {
            arena.zeroGrads()
            losses.push(await backward(() => model.loss(batch, targetsOf(model, batch, labels), { total })))
            scope(() => {
              optimizer.step(4 * kind.lr)
            })
          }
          assert.ok(losses.at(-1)! < losses[0]!, `${losses}`)
          arena.dispose()
          model.dispose()
        }))
}

test.run()
