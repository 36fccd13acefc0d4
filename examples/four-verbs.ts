// Training as four verbs, for adapters by name: two adapters of one model learn in turns, speak, and are put away.
// Run with: node dist/examples/four-verbs.js MODEL PAIRS (a folder of a small instruct model, and prompts with chosen
// and rejected answers)

import { join } from 'node:path'
import { attach, loadModel, loadTokenizer, lora, prepareData } from 'lowrank'
import { batches } from 'lowrank/data'
import { Tuner, withReference } from 'lowrank/train'

const [folder = 'SmolLM2-135M-Instruct', file = 'pairs.jsonl', out = 'states'] = process.argv.slice(2)
const tokenizer = await loadTokenizer(folder)
const data = await prepareData(file, tokenizer, { maxLength: 256, task: 'preference' })
const model = await loadModel(folder, data.head)

const names = ['careful', 'bold']
for (const [i, name] of names.entries()) attach(model, lora({ r: 8, targetModules: 'all-linear' }), { name, seed: i })

// What preferences are held against: the model with its adapters switched off.
const examples = await withReference(model, data.train.examples)
const steps = batches(examples, { batchSize: 4, shuffle: true, collate: model.head.collate })

const tuner = new Tuner(model, { tokenizer })
for (const step of steps)
  for (const name of names) {
    const loss = await tuner.forwardBackward(name, step)
    const gradNorm = await tuner.optimStep(name, { lr: name === 'bold' ? 5e-3 : 5e-4, weightDecay: 0 })
    console.log(`${name} step ${step.index + 1}: loss ${loss.toFixed(4)}, gradient ${gradNorm.toFixed(3)}`)
  }
for (const name of names) {
  const { text } = await tuner.sample(name, [{ role: 'user', content: 'Hello!' }], { maxNewTokens: 16 })
  console.log(`${name} says ${JSON.stringify(text)}`)
  await tuner.saveState(name, join(out, name))
}
tuner.dispose()
model.dispose()
