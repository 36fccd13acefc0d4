// How many kernels a GPU is asked to launch, as the meta device counts them with the emulator's addon: nothing runs, so
// models have their real sizes. Small models are bound by launches, at about 2 µs each.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const { packageRoot } = await import('../../lib/io/package.ts')
const FOLDER = join(process.env.LOWRANK_PREBUILD ?? packageRoot, 'build/emulator')

if (existsSync(join(FOLDER, 'build/Release/lowrank_emu.node'))) {
  process.env.LOWRANK_PREBUILD = FOLDER
  await registerTests()
} else test('launches', () => console.log('skip: lowrank_emu.node is not built'))

async function registerTests(): Promise<void> {
  const { attach, lora } = await import('../../lib/index.ts')
  const { packExamples } = await import('../../lib/data/batches.ts')
  const { createModel } = await import('../../lib/model.ts')
  const { native } = await import('../../lib/native.ts')
  const { withRoutes } = await import('../../lib/nn/routes.ts')
  const { AdamW } = await import('../../lib/optim/adamw.ts')
  const { Arena } = await import('../../lib/optim/arena.ts')
  const { Device, scope } = await import('../../lib/tensor.ts')
  const { Stepper } = await import('../../lib/train/step.ts')
  const LENGTH = 128

  const modelOf = (modelType: string, values: Record<string, number | string>) =>
    createModel(
      { path: 'of the test', modelType, values: { model_type: modelType, ...values } },
      { task: 'sequence-classification', labels: ['no', 'yes'], device: 'meta', planFor: 'cuda' },
    )
  type Model = ReturnType<typeof modelOf>

  const batchOf = (model: Model, count: number) => {
    const examples = Array.from({ length: count }, (_, line) => ({
      ids: new Int32Array(LENGTH).fill(5),
      label: line % 2,
      truncated: false,
      row: { values: {}, file: 'none', line },
    }))
    return packExamples(examples, Int32Array.from(examples.keys()), { collate: model.head.collate })
  }

  const adapted = (model: Model, targetModules: string[], name = 'default') =>
    attach(model, lora({ r: 16, alpha: 32, dropout: 0.1, targetModules, modulesToSave: [] }), { name })

  const launchesOf = async (body: () => unknown) => {
    const { id } = Device.get('meta')
    const before = native.launches(id)
    await body()
    return native.launches(id) - before
  }

  test('a LoRA step of bert-base, factors on all linear layers', async () => {
    const model = modelOf('bert', { vocab_size: 30522 })
    const adapter = adapted(model, ['query', 'key', 'value', 'dense'])
    const stepper = new Stepper(model, new AdamW(new Arena(adapter.trainable, model.device)), { seed: 0 })
    const batch = batchOf(model, 8)
    const step = () => stepper.launch({ microBatches: [batch], total: 8 }, 0, 1e-4).then(({ numbers }) => numbers)
    await step()
    const launches = await launchesOf(step)
    console.log(`bert-base, one step: ${launches} launches`)
    assert.ok(launches <= 300, `${launches} launches`)
    model.dispose()
  })

  // A linear layer with groups takes two: a pass over x, the product. Each adapter has a head of its own.
  test('rows of eight adapters, forward through bert-base', async () => {
    const model = modelOf('bert', { vocab_size: 30522 })
    const names = Array.from({ length: 8 }, (_, i) => `a${i}`)
    for (const name of names) adapted(model, ['query', 'key', 'value', 'dense'], name)
    const batch = batchOf(model, 8)
    const routes = names.map(adapter => ({ adapter, rows: LENGTH }))
    const forward = () => scope(() => void withRoutes(routes, () => model.loss(batch, batch.targets!, { total: 8 })))
    const launches = await launchesOf(forward)
    console.log(`eight adapters by rows, forward: ${launches} launches`)
    assert.ok(launches <= 228, `${launches} launches`)
    model.dispose()
  })

  test('the forward pass of a decoder layer', async () => {
    const size = { hidden_size: 1024, intermediate_size: 2816, num_attention_heads: 16, num_key_value_heads: 8 }
    const forward = async (layers: number, targets?: string[]) => {
      const model = modelOf('llama', { vocab_size: 32000, num_hidden_layers: layers, ...size })
      if (targets) adapted(model, targets)
      const batch = batchOf(model, 4)
      const launches = await launchesOf(() => scope(() => void model.loss(batch, batch.targets!, { total: 4 })))
      model.dispose()
      return launches
    }
    const plain = (await forward(3)) - (await forward(2))
    const projections = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
    const withFactors = (await forward(3, projections)) - (await forward(2, projections))
    console.log(`a decoder layer forward: ${plain} launches, with factors on all projections ${withFactors}`)
    assert.ok(plain <= 11 && withFactors <= 12, `${plain} and ${withFactors} launches`)
  })
}

test.run()
