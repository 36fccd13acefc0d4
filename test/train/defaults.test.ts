// What a run takes where nothing is said.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { resolveTrainSettings } from '../../lib/train/settings.ts'
import { LABELS, TAGS, tinyLora, tinyModel } from './support.ts'

test('a run of tags takes half the rate and half the steps of a run of classes', () => {
  const found = (task: 'sequence-classification' | 'token-classification', rows: number) => {
    const labels = task === 'token-classification' ? TAGS : LABELS
    const width = { hidden_size: 384, num_attention_heads: 12, num_hidden_layers: 1 }
    using model = tinyModel({ task, labels, device: 'meta' }, width)
    const sizes = { train: { length: rows }, validation: { length: rows } }
    const { lr, epochs } = resolveTrainSettings(tinyLora(model), {}, sizes)
    return { lr, epochs }
  }
  assert.equal(found('sequence-classification', 3394), { lr: 1.4e-3, epochs: 10 })
  assert.equal(found('token-classification', 3394), { lr: 7.1e-4, epochs: 5 })
  assert.equal(found('token-classification', 500), { lr: 7.1e-4, epochs: 20 })
  assert.equal(found('token-classification', 50_000), { lr: 7.1e-4, epochs: 3 })
})

test.run()
