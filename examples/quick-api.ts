// The main job from code: fine-tune the bundled encoder with LoRA and measure it before and after.
// Run with: node dist/examples/quick-api.js [DATA]

import { attach, bundled, loadModel, loadTokenizer, lora, prepareData, saveAdapter, train } from 'lowrank'

const tokenizer = await loadTokenizer(bundled.encoder)
const data = await prepareData(process.argv[2] ?? bundled.sample, tokenizer, { maxLength: 48 })
const model = await loadModel(bundled.encoder, data.head)
const adapter = attach(model, lora({ r: 8, alpha: 16, targetModules: 'all-linear' }))
for await (const event of train(adapter, data))
  if (event.type === 'evaluation') console.log(event.when, event.split, event.metrics.accuracy, event.metrics.f1)
await saveAdapter(adapter, 'topics-adapter')
model.dispose()
