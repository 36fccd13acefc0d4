// Gradients of low-rank factors on every kind of layer that decoders have, from the golden gradients of the weights:
// at B = 0 the gradient of B is s · dW Aᵀ, and that of A is 0. And checkpointing, to the bit.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors } from '../../lib/io/safetensors.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { attach } from '../../lib/peft/attach.ts'
import { lora } from '../../lib/peft/lora.ts'
import { saveMerged } from '../../lib/peft/merged.ts'
import { backward, logitsOf, tinyBatch, withFolder } from '../peft/golden.ts'
import { compare } from '../support/compare.ts'
import { targetsOf } from '../support/targets.ts'

const FOLDER = join(packageRoot, 'test/golden/models')
const CASES = readdirSync(FOLDER).filter(name => /-lm(-|$)/.test(name))

/** Golden gradients of the weights of the layers, as [out, in]. */
function goldenGradients(model: Model, name: string): Map<string, Float64Array> {
  const io = openSafetensors(join(FOLDER, name, 'io.safetensors'))
  const found = new Map<string, Float64Array>()
  for (const [path, { inFeatures, outFeatures, fanInFanOut }] of model.linears) {
    if (!io.has(`grad.${path}.weight`)) continue
    const stored = io.readF32(`grad.${path}.weight`)
    const at = (o: number, i: number) => (fanInFanOut ? i * outFeatures + o : o * inFeatures + i)
    found.set(
      path,
      Float64Array.from({ length: stored.length }, (_, k) => stored[at(Math.floor(k / inFeatures), k % inFeatures)]!),
    )
  }
  io.close()
  return found
}

for (const name of CASES)
  test(`${name}: gradients of factors, with layers that run again too`, async () => {
    const before = native.live()
    const model = await loadModel(join(FOLDER, name), { task: 'causal-lm' })
    const adapter = attach(model, lora({ r: 2, alpha: 6, targetModules: 'all-linear' }), { seed: 4 })
    const arena = new Arena(adapter.trainable, model.device)
    const { batch, labels } = tinyBatch(name)
    const targets = targetsOf(model, batch, labels)
    const golden = goldenGradients(model, name)
    const loss = (checkpoint: boolean) =>
      backward(() => model.loss(batch, targets, { total: targets.weight, checkpoint }))
    const plain = await loss(false)
    const { loss: expected } = JSON.parse(readFileSync(join(FOLDER, name, 'meta.json'), 'utf8')) as { loss: number }
    compare('loss', [plain], [expected], { relative: 1e-5 })
    const tensors = new Map(adapter.tensors())
    let compared = 0
    for (const [path, dW] of golden) {
      const [a, b] = ['A', 'B'].map(which => tensors.get(`base_model.model.${path}.lora_${which}.weight`))
      assert.ok(a && b, `${path} has factors`)
      const values = await a.tensor.data()
      const [rows, columns] = [b.shape[0]!, a.shape[1]!]
      const dB = Float64Array.from({ length: rows * 2 }, (_, k) => {
        let sum = 0
        for (let i = 0; i < columns; i++) sum += dW[Math.floor(k / 2) * columns + i]! * values[(k % 2) * columns + i]!
        return 3 * sum
      })
      compare(`${path} B`, await b.gradient!.data(), dB, { relative: 1e-4 })
      compare(`${path} A`, await a.gradient!.data(), new Float32Array(a.size), { absolute: 1e-9 })
      compared++
    }
    assert.ok(compared >= 2 * model.backbone.layers, `${compared} layers compared`)
    const grads = Buffer.from(await arena.grads.bytes())
    arena.zeroGrads()
    assert.is(await loss(true), plain)
    assert.equal(Buffer.from(await arena.grads.bytes()).compare(grads), 0)
    arena.dispose()
    model.dispose()
    assert.is(native.live(), before, 'every tensor is freed')
  })

for (const name of ['gpt2-lm', 'phi3-lm', 'llama-lm-tied', 'llama-lm-head-only'])
  test(`${name}: a merged model is written as its family stores it, and loads again`, async () => {
    const before = native.live()
    await withFolder(async dir => {
      const model = await loadModel(join(FOLDER, name), { task: 'causal-lm' })
      const adapter = attach(model, lora({ r: 2, targetModules: 'all-linear', initLoraWeights: false }), { seed: 4 })
      assert.is(adapter.config()!.fan_in_fan_out, name === 'gpt2-lm')
      assert.is(adapter.config()!.task_type, 'CAUSAL_LM')
      const { batch } = tinyBatch(name)
      const expected = await logitsOf(model, batch)
      await saveMerged(model, join(dir, 'merged'))
      model.dispose()
      const merged = await loadModel(join(dir, 'merged'), { task: 'causal-lm' })
      compare('logits', await logitsOf(merged, batch), expected, { relative: 1e-5 })
      merged.dispose()
    })
    assert.is(native.live(), before)
  })

test.run()
