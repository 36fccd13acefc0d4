// Virtual tokens that a network makes while it trains.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import { attach, loadAdapter, prefixTuning, promptEncoder } from '../../lib/peft/index.ts'
import { compare } from '../support/compare.ts'
import { targetsOf } from '../support/targets.ts'
import { backward, tinyBatch, tinyModel, train, withFolder } from './golden.ts'

for (const [name, method] of [
  ['a prompt encoder', promptEncoder({ numVirtualTokens: 3, encoderHiddenSize: 8 })],
  ['a projected prefix', prefixTuning({ numVirtualTokens: 3, encoderHiddenSize: 8, prefixProjection: true })],
] as const)
  for (const base of ['bert-seq', 'llama-lm', 't5'])
    test(`${name} on ${base} has the gradients with checkpointed layers that it has without`, async () => {
      const before = native.live()
      const model = await tinyModel(base)
      const { batch, labels, total } = tinyBatch(base)
      const adapter = attach(model, method)
      const gradients = async (checkpoint: boolean) => {
        const stop = train(adapter.trainable)
        await backward(() => model.loss(batch, targetsOf(model, batch, labels), { total, checkpoint }))
        const found = await Promise.all(adapter.trainable.map(({ gradient }) => gradient!.data()))
        stop()
        return found
      }
      const plain = await gradients(false)
      for (const [i, own] of (await gradients(true)).entries()) {
        assert.ok(
          plain[i]!.some(x => x !== 0) || /\d\.bias$/.test(adapter.trainable[i]!.name),
          adapter.trainable[i]!.name,
        )
        compare(adapter.trainable[i]!.name, own, plain[i]!, { relative: 1e-5 })
      }
      model.dispose()
      assert.is(native.live(), before)
    })

test('a file holds what the network makes, and trains on as that', () =>
  withFolder(async out => {
    const model = await tinyModel('bert-seq')
    const adapter = attach(model, promptEncoder({ numVirtualTokens: 3, encoderHiddenSize: 8 }))
    assert.is(adapter.trainable.filter(({ name }) => name.startsWith('prompt_encoder.')).length, 7)
    await adapter.save(out)
    adapter.detach()
    const loaded = await loadAdapter(model, out, { trainable: true })
    assert.equal(loaded.trainable[0]!.name, 'prompt_embeddings')
    assert.equal(loaded.trainable[0]!.shape, [3, model.backbone.hiddenSize])
    loaded.detach()
    const recurrent = promptEncoder({ encoderReparameterizationType: 'LSTM' })
    assert.throws(() => attach(model, recurrent), /LSTM is not built/)
    model.dispose()
  }))

test.run()
