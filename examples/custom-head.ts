// A head of one's own: multi-sample dropout (Inoue 2019), the mean of the logits under four dropout masks.
// Run with: node dist/examples/custom-head.js DATA

import {
  attach,
  bundled,
  type HeadBuilder,
  loadModel,
  loadTokenizer,
  lora,
  prepareData,
  type Tensor,
  train,
} from 'lowrank'
import { sequenceClassification } from 'lowrank/models'
import { add, dropout, scale, site } from 'lowrank/ops'

const multiSample: HeadBuilder = ({ weights, backbone, labels }) => {
  const classifier = weights.fresh().linear('classifier', backbone.hiddenSize, labels.length)
  const masks = [0, 1, 2, 3].map(i => site('classifier', `sample ${i}`))
  const logits = (rows: Tensor): Tensor => {
    const samples = masks.map(mask => classifier.apply(dropout(rows, 0.3, mask)))
    return scale(samples.reduce(add), 1 / samples.length)
  }
  return sequenceClassification(logits, labels.length, 'single')
}

const data = await prepareData(process.argv[2] ?? bundled.sample, await loadTokenizer(bundled.encoder), {
  maxLength: 48,
})
const model = await loadModel(bundled.encoder, { ...data.head, head: multiSample })
const adapter = attach(model, lora({ modulesToSave: ['classifier'] }))
const splits = { train: data.train, test: data.test }
for await (const event of train(adapter, splits, { lr: 2e-3, epochs: 2 }))
  if (event.type === 'evaluation') console.log(event.when, event.metrics.accuracy)
model.dispose()
