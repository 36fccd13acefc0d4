// A tiny training run on the emulated device, end to end: in f32 it gives the CPU's losses, in bf16 nearly so, and the
// meta device predicts its memory to the byte.
// timeout: 900

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Example } from '../../lib/data/example.ts'
import type { Model, ModelOptions } from '../../lib/model.ts'
import type { Adapter } from '../../lib/peft/adapter.ts'
import { attach } from '../../lib/peft/attach.ts'
import type { TrainOptions } from '../../lib/train/events.ts'

const { packageRoot } = await import('../../lib/io/package.ts')
const GGUF = join(packageRoot, 'test/golden/gguf/blocks.gguf')
const FOLDER = join(process.env.LOWRANK_PREBUILD ?? packageRoot, 'build/emulator')

if (existsSync(join(FOLDER, 'build/Release/lowrank_emu.node'))) {
  process.env.LOWRANK_PREBUILD = FOLDER
  await registerTests()
} else test('training on the emulator', () => console.log('skip: lowrank_emu.node is not built'))

interface Case {
  /** Default: a tiny encoder. */
  make?: (options: Partial<ModelOptions>) => Model | Promise<Model>
  model: Partial<ModelOptions>
  examples: readonly Example[]
  attach?: (model: Model) => Adapter<Model>
  options?: Partial<TrainOptions>
  /** Allowed difference of losses, relative. */
  tolerance: number
}

async function registerTests(): Promise<void> {
  const { loadModel } = await import('../../lib/model.ts')
  const { native } = await import('../../lib/native.ts')
  const { fullFineTuning } = await import('../../lib/peft/full.ts')
  const { trainableTokens } = await import('../../lib/peft/trainableTokens.ts')
  const { planTraining } = await import('../../lib/train/plan.ts')
  const {
    answers,
    counting,
    eventsOf,
    hideTokens,
    runToEnd,
    sentences,
    sequences,
    TAGS,
    tinyDecoder,
    tinyLora,
    tinyModel,
    tinySeq2seq,
  } = await import('../train/support.ts')
  const allLinear = (model: Model) => tinyLora(model, { targetModules: 'all-linear' })
  const tokens = { task: 'token-classification', labels: TAGS } as const

  const CASES: Record<string, Case> = {
    'LoRA, f32': { model: { compute: 'f32' }, examples: sequences(24), attach: allLinear, tolerance: 2e-5 },
    'LoRA, f32, a bf16 base': {
      model: { compute: 'f32', storage: 'bf16' },
      examples: sequences(24),
      tolerance: 2e-5,
    },
    'LoRA, bf16': { model: { compute: 'bf16' }, examples: sequences(24), attach: allLinear, tolerance: 0.03 },
    'LoRA, tags, accumulated': {
      model: { compute: 'f32', ...tokens },
      examples: sentences(24),
      options: { accumulate: 2 },
      tolerance: 2e-5,
    },
    'full, hidden tokens, bf16': {
      model: { compute: 'bf16', task: 'masked-lm' },
      examples: sequences(24).map(({ label: _, ...rest }) => rest),
      attach: model => attach(model, fullFineTuning()),
      options: { transform: hideTokens },
      tolerance: 0.03,
    },
    'LoRA on words and the output layer, rows of tokens, next tokens': {
      make: tinyDecoder,
      model: { compute: 'f32' },
      examples: counting(24),
      attach: model => {
        const tables = tinyLora(model, { targetModules: ['embed_tokens', 'lm_head', 'q_proj'] })
        attach(model, trainableTokens({ tokenIndices: [5, 6], targetModules: ['embed_tokens'] }), { name: 'rows' })
        return tables
      },
      tolerance: 2e-5,
    },
    'LoRA, next tokens': {
      make: tinyDecoder,
      model: { compute: 'f32' },
      examples: counting(24),
      attach: allLinear,
      tolerance: 2e-5,
    },
    'LoRA, text to text': {
      make: tinySeq2seq,
      model: { compute: 'f32' },
      examples: answers(24),
      attach: allLinear,
      tolerance: 2e-5,
    },
    ...Object.fromEntries(
      (['f32', 'bf16'] as const).map(compute => {
        const make = (options: Partial<ModelOptions>) => loadModel(GGUF, { task: 'causal-lm', ...options })
        const [examples, tolerance] = [counting(24), compute === 'f32' ? 2e-5 : 0.03]
        return [
          `LoRA, blocks of a GGUF file, ${compute}`,
          { make, model: { compute }, examples, attach: allLinear, tolerance },
        ]
      }),
    ),
    'full, text to text, bf16': {
      make: tinySeq2seq,
      model: { compute: 'bf16' },
      examples: answers(24),
      attach: model => attach(model, fullFineTuning()),
      tolerance: 0.03,
    },
  }

  /** Losses of steps and of the last evaluation, and the peak of the pool. */
  async function run(device: string, { make = tinyModel, model: made, examples, attach = tinyLora, options }: Case) {
    const model = await make({ ...made, device })
    const method = attach(model)
    const data = { train: examples.slice(0, 16), validation: examples.slice(16) }
    const events = await runToEnd(method, data, { epochs: 2, batchSize: 8, lr: 5e-3, seed: 7, ...options })
    const losses = eventsOf(events, 'step').map(({ loss }) => loss)
    const after = eventsOf(events, 'evaluation').at(-1)!
    method.detach()
    model.dispose()
    return { losses: [...losses, after.loss], peak: eventsOf(events, 'end')[0]!.memory.peak }
  }

  async function planned({ make = tinyModel, model: made, examples, attach = tinyLora, options }: Case) {
    const model = await make({ ...made, device: 'meta', planFor: 'cuda' })
    const method = attach(model)
    const data = { train: examples.slice(0, 16), validation: examples.slice(16) }
    const plan = await planTraining(method, data, { epochs: 2, batchSize: 8, lr: 5e-3, seed: 7, ...options })
    method.detach()
    model.dispose()
    return plan.peakBytes
  }

  for (const [name, each] of Object.entries(CASES))
    test(`losses equal the CPU's: ${name}`, async () => {
      const live = native.live()
      const [got, expected] = [await run('cuda:0', each), await run('cpu', each)]
      assert.is(got.losses.length, expected.losses.length)
      got.losses.forEach((loss, i) => {
        const [other, error] = [expected.losses[i]!, Math.abs(loss - expected.losses[i]!)]
        assert.ok(error <= each.tolerance * Math.abs(other), `loss ${i}: ${loss}, on the CPU ${other}`)
      })
      assert.is(await planned(each), got.peak, 'the meta device predicts the peak of the pool')
      assert.is(native.live(), live)
    })

  test('an encoder-decoder says what it says on the CPU', async () => {
    const { generateTokens } = await import('../../lib/generate/generate.ts')
    const said = async (device: string) => {
      const model = tinySeq2seq({ device, compute: 'f32' })
      const ids: number[] = []
      const options = { maxNewTokens: 12, temperature: 1, seed: 5, endIds: [] }
      for await (const id of generateTokens(model, answers(1)[0]!.ids, options)) ids.push(id)
      model.dispose()
      return ids
    }
    const expected = await said('cpu')
    assert.ok(new Set(expected).size > 4, `${expected}`)
    assert.equal(await said('cuda:0'), expected)
  })

  for (const compute of ['f32', 'bf16'] as const)
    test(`adapters at once have the losses that each has alone, ${compute}`, async () => {
      const { trainMany } = await import('../../lib/train/many.ts')
      const { lora } = await import('../../lib/peft/lora.ts')
      const live = native.live()
      const examples = sequences(24)
      const data = { train: examples.slice(0, 16), validation: examples.slice(16) }
      const options = { epochs: 2, batchSize: 8, lr: 5e-3 }
      const methods = [
        lora({ r: 4, dropout: 0.1, targetModules: 'all-linear' }),
        lora({ r: 2 }),
        lora({ r: 8, targetModules: 'all-linear' }),
      ]
      const open = () => tinyModel({ device: 'cuda:0', compute })
      const model = open()
      const members = methods.map((method, seed) => ({
        adapter: attach(model, method, { name: `m${seed}`, seed }),
        options: { seed },
      }))
      const losses = new Map<string, number[]>(members.map(({ adapter }) => [adapter.name, []]))
      for await (const told of trainMany(members, data, options))
        if ('event' in told && told.event.type === 'step') losses.get(told.adapter)!.push(told.event.loss)
      model.dispose()
      for (const [seed, method] of methods.entries()) {
        const alone = open()
        const events = await runToEnd(attach(alone, method, { seed }), data, { ...options, seed })
        alone.dispose()
        const got = losses.get(`m${seed}`)!
        for (const [i, { loss }] of eventsOf(events, 'step').entries()) {
          const error = Math.abs(got[i]! - loss)
          assert.ok(
            error <= (compute === 'f32' ? 2e-5 : 0.03) * loss,
            `member ${seed}, step ${i}: ${got[i]}, alone ${loss}`,
          )
        }
      }
      assert.is(native.live(), live)
    })

  test('the same seed gives the same bits', async () => {
    const each = CASES['LoRA, bf16']!
    assert.equal((await run('cuda:0', each)).losses, (await run('cuda:0', each)).losses)
  })
}

test.run()
