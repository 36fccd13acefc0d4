// A head that the base lacks learns at a rate of its own; what the base has, and what a method adds, do not.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel } from '../../lib/model.ts'
import { attach } from '../../lib/peft/attach.ts'
import { fullFineTuning } from '../../lib/peft/full.ts'
import { lora } from '../../lib/peft/lora.ts'
import type { Method } from '../../lib/peft/method.ts'
import type { TrainOptions } from '../../lib/train/events.ts'
import { optimizerOf } from '../../lib/train/run.ts'
import { resolveTrainSettings } from '../../lib/train/settings.ts'

/** Rates of the head and of the rest, each beside that of the run, and the settings they came from. */
async function rates(name: string, method: Method, options: TrainOptions) {
  const model = await loadModel(join(packageRoot, 'test/golden/models', name), { task: 'sequence-classification' })
  const adapter = attach(model, method)
  try {
    const settings = resolveTrainSettings(adapter, options, { train: { length: 16 } })
    const optimizer = optimizerOf(adapter, settings)
    const scales = (isHead: boolean) => {
      const own = optimizer.arena.slices.filter(({ parameter }) => parameter.name.startsWith('classifier.') === isHead)
      return [...new Set(own.map(({ lrScale }) => lrScale))]
    }
    const found = { settings, head: scales(true), rest: scales(false) }
    optimizer.arena.dispose()
    return found
  } finally {
    adapter.detach()
    model.dispose()
  }
}

const METHODS: [name: string, make: () => Method][] = [
  ['lora', () => lora({ r: 2, targetModules: 'all-linear' })],
  ['full', () => fullFineTuning()],
]

for (const [name, make] of METHODS) {
  test(`${name}: one rate holds for all, unless the head's is said too`, async () => {
    for (const options of [{}, { lr: 1e-3 }]) {
      const one = await rates('bert-base-only', make(), options)
      assert.equal([one.settings.headLr, one.head, one.rest], [undefined, [1], [1]])
    }
    const two = await rates('bert-base-only', make(), { lr: 1e-3, headLr: 4e-3 })
    assert.equal([two.head, two.rest], [[4], [1]])
  })
}

test('a rate for a head that came with the base is refused', async () => {
  const refused = (error: Error) => /headLr: 0\.01 has no effect.*leave it out/.test(error.message)
  await rates('bert-seq', lora({ r: 2 }), { headLr: 0.01 }).then(
    () => assert.unreachable('should have been refused'),
    error => assert.ok(refused(error), error),
  )
})

test.run()
