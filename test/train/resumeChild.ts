// A run in a process of its own, to be killed: node resumeChild.ts OUTPUT RESULT [write at which it kills itself]

import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { faults } from '../../lib/io/atomic.ts'
import { train } from '../../lib/train/train.ts'
import { sequences, tinyLora, tinyModel } from './support.ts'

const [outputDir, result, killAt] = process.argv.slice(2)
const isBegun = (folder: string): boolean =>
  existsSync(folder) && readdirSync(folder).some(name => /^checkpoint-/.test(name))
let writes = 0
faults.write = path => {
  if (path.includes('checkpoint-') && ++writes === Number(killAt)) process.kill(process.pid, 'SIGKILL')
}

const model = tinyModel({}, { hidden_size: 16, num_hidden_layers: 1, intermediate_size: 32 })
const method = tinyLora(model)
const data = { train: sequences(90), validation: sequences(24, 8), test: sequences(8, 9) }
const events = train(method, data, {
  epochs: 8,
  batchSize: 4,
  accumulate: 2,
  lr: 0.01,
  schedule: 'cosine',
  groupByLength: true,
  classWeights: 'balanced',
  patience: 3,
  metric: 'loss',
  ...(outputDir === '-' ? {} : { outputDir, resume: isBegun(outputDir!), checkpointEvery: 2 }),
})
for await (const event of events) {
  if (event.type === 'start') console.log(event.resumed?.step ?? 0)
  if (event.type !== 'end') continue
  const tensors: Record<string, string> = {}
  for (const { name, tensor } of method.trainable) tensors[name] = Buffer.from(await tensor.bytes()).toString('hex')
  const { reason, step, bestStep, bestMetric } = event
  const evaluations = event.history.flatMap(h => (h.kind === 'evaluation' ? [[h.when, h.split, h.step, h.loss]] : []))
  writeFileSync(result!, JSON.stringify({ reason, step, bestStep, bestMetric, evaluations, tensors }))
}
