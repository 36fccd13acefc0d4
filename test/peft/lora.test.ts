// LoRA's options: what trains, how it starts, what it computes, what it refuses.

import { createHash } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import type { ModelConfig } from '../../lib/io/config.ts'
import { createModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import type { Parameter } from '../../lib/nn/module.ts'
import { withRandom } from '../../lib/ops/random.ts'
import { AdamW } from '../../lib/optim/adamw.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { type Adapter, attach, createMethod, kindOf, type LoraOptions, lora } from '../../lib/peft/index.ts'
import { scope } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'
import { targetsOf } from '../support/targets.ts'
import { backward, bytesOf, logitsOf, tinyBatch, tinyModel, train } from './golden.ts'

const names = (parameters: readonly Parameter[]) => parameters.map(({ name }) => name)
const QUERY = 'bert.encoder.layer.0.attention.self.query'

/** Runs `body` on a tiny model, and checks that nothing is left behind. */
async function withModel(name: string, body: (model: Model) => void | Promise<void>, storage: 'f32' | 'f64' = 'f32') {
  const before = native.live()
  const model = await tinyModel(name, { storage })
  await body(model)
  model.dispose()
  assert.is(native.live(), before, 'every tensor is freed')
}

async function randomise(attached: Adapter, seed = 1): Promise<void> {
  for (const [i, { tensor, size }] of attached.trainable.entries())
    tensor.upload(Float64Array.from({ length: size }, (_, j) => 0.2 * Math.sin(seed * 7.3 + i * 3.1 + j * 1.7)))
}

test('bert-base, r 8, query and value: 294,912 trained values', () => {
  const before = native.live()
  const config: ModelConfig = { path: 'config.json', modelType: 'bert', values: { model_type: 'bert' } }
  const model = createModel(config, { task: 'sequence-classification', labels: ['a', 'b'], device: 'meta' })
  const attached = attach(model, lora())
  const factors = attached.trainable.filter(({ name }) => name.includes('.lora_'))
  assert.is(
    factors.reduce((sum, { size }) => sum + size, 0),
    294_912,
  )
  assert.is(attached.matched.length, 24)
  assert.equal(names(attached.trainable.slice(-2)), ['classifier.weight', 'classifier.bias'])
  attached.detach()
  model.dispose()
  assert.is(native.live(), before)
})

test('nothing changes at the start: zero B adds exact zeros, a kernel of another order rounds', () =>
  withModel('bert-seq', async model => {
    const { batch } = tinyBatch('bert-seq')
    const base = await logitsOf(model, batch)
    for (const initLoraWeights of [true, 'gaussian'] as const) {
      const attached = attach(model, lora({ initLoraWeights, targetModules: 'all-linear' }))
      compare('logits at the start', await logitsOf(model, batch), base, { relative: 1e-6 })
      attached.setActive(false)
      assert.equal(await logitsOf(model, batch), base, 'switched off: bit for bit')
      attached.detach()
      assert.equal(await logitsOf(model, batch), base, 'detached: bit for bit')
    }
  }))

test('initial values: bounds, spread, and independence of order and of other targets', () =>
  withModel('bert-seq', async model => {
    const start = async (options: LoraOptions, seed: number) => {
      const attached = attach(model, lora({ r: 8, ...options }), { seed })
      const [a, b] = ['A', 'B'].map(which => {
        return attached.trainable.find(({ name }) => name === `${QUERY}.lora_${which}.weight`)!.tensor
      })
      const values = [await a!.data(), await b!.data()] as [Float32Array, Float32Array]
      attached.detach()
      return values
    }
    const largest = (values: Float32Array) => Math.max(...values.map(Math.abs))
    const [a, b] = await start({}, 3)
    assert.ok(largest(a) <= 1 / Math.sqrt(32) && largest(a) > 0.95 / Math.sqrt(32), 'Kaiming uniform, a = √5')
    assert.is(largest(b), 0)
    const [gaussian] = await start({ initLoraWeights: 'gaussian' }, 3)
    const deviation = Math.sqrt(gaussian.reduce((sum, v) => sum + v * v, 0) / gaussian.length)
    assert.ok(Math.abs(deviation - 1 / 8) < 0.02, `deviation ${deviation}`)
    const [, both] = await start({ initLoraWeights: false }, 3)
    assert.ok(largest(both) <= 1 / Math.sqrt(8) && largest(both) > 0.9 / Math.sqrt(8))
    assert.equal((await start({ targetModules: ['key', 'query', 'dense'] }, 3))[0], a, 'other targets')
    assert.not.equal((await start({}, 4))[0], a, 'another seed')
  }))

test('scale: alpha / r, alpha / √r with rsLoRA, both by pattern', () =>
  withModel('bert-tok', model => {
    const scales = (options: LoraOptions) => {
      const attached = attach(model, lora({ r: 4, alpha: 6, ...options }))
      const found = Object.fromEntries(attached.matched.map(({ path, r, scale }) => [path, [r, scale]]))
      attached.detach()
      return found
    }
    assert.equal(scales({})[QUERY], [4, 1.5])
    assert.equal(scales({ useRslora: true })[QUERY], [4, 3])
    const patterns = scales({ rankPattern: { 'layer.0.attention.self.query': 2 }, alphaPattern: { query: 10 } })
    assert.equal(patterns[QUERY], [2, 5])
    assert.equal(patterns[QUERY.replace('0', '1')], [4, 2.5])
    assert.equal(patterns[QUERY.replace('query', 'value')], [4, 1.5])
  }))

test('exact: the products of an adapter keep f32 accuracy unless told otherwise', () =>
  withModel('bert-tok', model => {
    for (const exact of [undefined, true, false]) {
      const attached = attach(model, lora(exact === undefined ? {} : { exact }))
      assert.is(model.linears.get(QUERY)!.adapters[0]!.factors!().exact, exact ?? true)
      attached.detach()
    }
  }))

test('the order of what trains: factors by layer, then what is trained whole, then biases', () =>
  withModel('bert-seq', model => {
    const options: LoraOptions = { layersToTransform: [1], modulesToSave: ['pooler'], bias: 'lora_only' }
    const attached = attach(model, lora(options))
    const path = 'bert.encoder.layer.1.attention.self'
    const factors = ['query', 'value'].flatMap(m => ['A', 'B'].map(which => `${path}.${m}.lora_${which}.weight`))
    const whole = ['bert.pooler.dense', 'classifier'].flatMap(m => [`${m}.weight`, `${m}.bias`])
    assert.equal(names(attached.trainable), [...factors, ...whole, `${path}.query.bias`, `${path}.value.bias`])
    assert.ok([...attached.tensors()].some(([key]) => key === `base_model.model.${path}.query.base_layer.bias`))
    attached.detach()
  }))

test('every family has default targets', async () => {
  for (const [name, ends] of [
    ['bert-seq', ['query', 'value']],
    ['roberta-seq', ['query', 'value']],
    ['distilbert-seq', ['q_lin', 'v_lin']],
  ] as const)
    await withModel(name, model => {
      const attached = attach(model, lora({ r: 2 }))
      assert.equal([...new Set(attached.matched.map(({ path }) => path.split('.').at(-1)!))], ends)
      attached.detach()
    })
})

test('training changes what trains and not a byte of the rest', () =>
  withModel('bert-tok', async model => {
    const hash = async () => {
      const sums = [...(await bytesOf(model))].map(([name, bytes]) => [
        name,
        createHash('sha256').update(bytes).digest('hex'),
      ])
      return Object.fromEntries(sums) as Record<string, string>
    }
    const { batch, labels, total } = tinyBatch('bert-tok')
    const original = await hash()
    const attached = attach(model, lora({ r: 4, dropout: 0.25, bias: 'lora_only' }), { seed: 5 })
    const arena = new Arena(attached.trainable, model.device)
    const optimizer = new AdamW(arena)
    const losses: number[] = []
    for (let step = 0; step < 4; step++) {
      arena.zeroGrads()
      const random = { seed: 1, step, rowOffset: 0, sequenceOffset: 0 }
      losses.push(
        await withRandom(random, () => backward(() => model.loss(batch, targetsOf(model, batch, labels), { total }))),
      )
      scope(() => {
        optimizer.step(0.02)
      })
    }
    assert.ok(losses.at(-1)! < losses[0]!, `the loss falls: ${losses}`)
    const trained = new Set(names(attached.trainable))
    for (const [name, sum] of Object.entries(await hash()))
      assert.is(sum === original[name], !trained.has(name), `${name} ${trained.has(name) ? 'changes' : 'stays'}`)
    assert.throws(
      () => attached.detach(),
      (error: Error) => /optimizer still trains .*dispose its arena/.test(error.message),
    )
    arena.dispose()
    attached.detach()
    assert.equal(await hash(), original)
  }))

test('dropout is active in training only', () =>
  withModel('distilbert-tok', async model => {
    const { batch } = tinyBatch('distilbert-tok')
    const attached = attach(model, lora({ r: 4, dropout: 0.5, initLoraWeights: false }))
    const evaluated = await logitsOf(model, batch)
    assert.equal(await logitsOf(model, batch), evaluated)
    const random = { seed: 1, step: 0, rowOffset: 0, sequenceOffset: 0 }
    const logits = withRandom(random, () => scope(() => model.logits(batch)))
    assert.not.equal(await logits.data(), evaluated)
    logits.dispose()
    attached.detach()
  }))

test('several adapters add up, and each can be switched off', () =>
  withModel('bert-mlm', async model => {
    const { batch } = tinyBatch('bert-mlm')
    const base = await logitsOf(model, batch)
    const first = attach(model, lora({ r: 2 }))
    const second = attach(model, lora({ r: 3, targetModules: ['query', 'key'] }), { name: 'second' })
    await randomise(first)
    await randomise(second, 2)
    const both = await logitsOf(model, batch)
    first.merge()
    compare('one merged', await logitsOf(model, batch), both)
    assert.throws(
      () => second.merge(),
      (error: Error) => /is held by adapter "default"/.test(error.message),
    )
    first.unmerge()
    second.setActive(false)
    const one = await logitsOf(model, batch)
    assert.not.equal(one, both)
    second.detach()
    assert.equal(await logitsOf(model, batch), one)
    first.detach()
    assert.equal(await logitsOf(model, batch), base)
  }))

test('each adapter has a head of its own; that of the last one switched on counts', () =>
  withModel('bert-seq', async model => {
    const { batch } = tinyBatch('bert-seq')
    const base = await logitsOf(model, batch)
    const first = attach(model, lora({ r: 2 }))
    await randomise(first)
    const alone = await logitsOf(model, batch)
    const second = attach(model, lora({ r: 2 }), { name: 'second' })
    const heads = [first, second].map(each => each.trainable.find(({ name }) => name === 'classifier.weight')!)
    assert.is.not(heads[0], heads[1])
    assert.is(model.parameters.get('classifier.weight')!.top, heads[1])
    second.setActive(false)
    assert.equal(await logitsOf(model, batch), alone)
    second.setActive(true)
    first.setActive(false)
    compare('an untrained head is the base', await logitsOf(model, batch), base, { relative: 1e-6 })
    first.setActive(true)
    second.setActive(false)
    second.detach()
    assert.equal(await logitsOf(model, batch), alone)
    first.detach()
    assert.equal(await logitsOf(model, batch), base)
  }))

test('a model frees what is attached to it', async () => {
  const before = native.live()
  const model = await tinyModel('bert-seq')
  const attached = attach(model, lora({ r: 2 }))
  attach(model, lora({ r: 2 }), { name: 'second' }).merge()
  assert.equal([...model.adapters.keys()], ['default', 'second'])
  assert.is(model.adapters.get('default'), attached)
  model.dispose()
  assert.is(native.live(), before)
})

for (const kind of ['l2', 'orth'] as const)
  test(`regulariser ${kind}: value, gradient by central differences, and nothing at weight 0`, () =>
    withModel(
      'bert-tok',
      async model => {
        const off = attach(model, lora({ r: 3 }))
        assert.is(off.training.penalty, undefined)
        off.detach()
        const attached = attach(model, lora({ r: 3, regularizer: 0.3, regularizerKind: kind }))
        const penalty = () => attached.training.penalty!()
        const factors = attached.trainable.filter(({ name }) => name.includes('.lora_'))
        await randomise(attached)
        const value = async () => {
          const y = scope(penalty)
          const found = await y.item()
          y.dispose()
          return found
        }
        const all = await Promise.all(factors.map(async p => ({ shape: p.shape, x: await p.tensor.data() })))
        compare('value', [await value()], [0.3 * expectedPenalty(kind, all)], { relative: 1e-12 })
        const stop = train(factors)
        compare('loss', [await backward(penalty)], [await value()], { relative: 1e-12 })
        const analytic: number[] = []
        const numeric: number[] = []
        for (const { tensor, gradient } of factors.slice(0, 2)) {
          const [x, g] = [await tensor.data(), await gradient!.data()]
          for (let i = 0; i < x.length; i += 7) {
            const at = async (h: number) => {
              tensor.upload(Float64Array.from(x).with(i, x[i]! + h))
              return value()
            }
            numeric.push(((await at(1e-5)) - (await at(-1e-5))) / 2e-5)
            analytic.push(g[i]!)
          }
          tensor.upload(x)
        }
        compare('gradient', analytic, numeric, { relative: 1e-7 })
        stop()
        attached.detach()
      },
      'f64',
    ))

/** The formulas of docs/methods.md, written out. */
function expectedPenalty(kind: 'l2' | 'orth', all: { shape: readonly number[]; x: ArrayLike<number> }[]): number {
  const squares = (x: ArrayLike<number>) => Array.from(x).reduce((sum, v) => sum + v * v, 0)
  if (kind === 'l2') return all.reduce((sum, { x }) => sum + squares(x), 0)
  const off = all.map(({ shape, x }, k) => {
    const [rows, cols] = shape as [number, number]
    // The r rows of A, and the r columns of B.
    const [r, n] = k % 2 === 0 ? [rows, cols] : [cols, rows]
    const at = (i: number, j: number) => (k % 2 === 0 ? x[i * cols + j]! : x[j * cols + i]!)
    const entries: number[] = []
    for (let i = 0; i < r; i++)
      for (let j = 0; j < r; j++) {
        const product = Array.from({ length: n }, (_, m) => at(i, m) * at(j, m)).reduce((sum, v) => sum + v, 0)
        entries.push(product - (i === j ? 1 : 0))
      }
    return squares(entries)
  })
  return off.reduce((sum, v) => sum + v, 0) / all.length
}

test('LoRA+: B learns faster than A, and what trains whole as always', () =>
  withModel('bert-seq', model => {
    const attached = attach(model, lora({ r: 2, loraPlusRatio: 16 }))
    const arena = new Arena(attached.trainable, model.device, attached.training.group)
    for (const { parameter, lrScale } of arena.slices)
      assert.is(lrScale, parameter.name.endsWith('lora_B.weight') ? 16 : 1, parameter.name)
    arena.dispose()
    attached.detach()
  }))

const REFUSED: [what: string, options: LoraOptions, message: RegExp][] = [
  ['an unknown option', { rank: 8 } as LoraOptions, /^rank: is no option of lora/],
  ['r 0', { r: 0 }, /r: 0/],
  ['a rank above the layer', { r: 64 }, /r: 64 is above 32/],
  ['a dropout below 1\\/256', { dropout: 0.001 }, /dropout: 0\.001 is not possible/],
  [
    'a target near another',
    { targetModules: ['querry'] },
    /"querry" matches no linear module \(did you mean "query"\?\)/,
  ],
  [
    'a module to save that is not there',
    { modulesToSave: ['poler'] },
    /"poler" matches no module \(did you mean "pooler"/,
  ],
  [
    'targets that are trained whole',
    { targetModules: ['classifier'] },
    /matches only modules that are trained in full/,
  ],
  ['a layer that is not there', { layersToTransform: 9 }, /no layer 9/],
]
for (const [what, options, message] of REFUSED)
  test(`refused: ${what}`, () =>
    withModel('bert-seq', model => {
      assert.throws(
        () => attach(model, lora(options)),
        (error: unknown) => error instanceof LowrankError && error.code === 'ERR_OPTION' && message.test(error.message),
      )
      assert.ok([...model.linears.values()].every(({ adapters }) => adapters.length === 0))
    }))

test('refused: names, paths, seeds and turns that make no sense', () =>
  withModel('bert-seq', model => {
    const refuses = (body: () => unknown, message: RegExp) =>
      assert.throws(body, (error: unknown) => error instanceof LowrankError && message.test(error.message))
    refuses(() => attach(model, lora(), { name: 'a.b' }), /cannot be called "a\.b"/)
    refuses(() => attach(model, lora(), { seed: -1 }), /seed: -1/)
    refuses(() => kindOf('loar'), /"loar" is unknown \(did you mean "lora"\?\)/)
    assert.is(kindOf('LORA').type, 'lora')
    const attached = attach(model, createMethod('lora', { r: 2 }))
    refuses(() => attach(model, lora()), /has an adapter "default" already/)
    refuses(() => attached.deltaWeight(`${QUERY}s`), /carries no factors \(did you mean/)
    refuses(() => attached.unmerge(), /is not merged/)
    attached.merge()
    refuses(() => attached.merge(), /merged already/)
    refuses(() => attached.setActive(false), /is merged; unmerge it first/)
    attached.unmerge()
    attached.setActive(false)
    refuses(() => attached.merge(), /is switched off/)
    attached.detach()
  }))

test.run()
