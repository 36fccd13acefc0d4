// Seconds that the starts of LoRA take: r 8 on every linear layer of a BERT-base, whose weights are random here (their
// spectrum is flatter than a trained model's, so that `pissa`, which goes on until vectors stay, takes longest).
//
//     node --import tsx bench/starts.ts [start ...]

import { createModel } from '../lib/model.ts'
import { attach, createMethod } from '../lib/peft/index.ts'

const values = {
  model_type: 'bert',
  vocab_size: 1000,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  max_position_embeddings: 128,
  type_vocab_size: 2,
}

async function main(starts: readonly string[]): Promise<void> {
  const config = { path: 'config.json', modelType: 'bert', values }
  const model = createModel(config, { task: 'sequence-classification', labels: ['a', 'b'] })
  for (const initLoraWeights of starts) {
    const adapter = attach(model, createMethod('lora', { targetModules: 'all-linear', initLoraWeights }))
    const [began, before] = [performance.now(), process.cpuUsage()]
    await adapter.prepare()
    const { user, system } = process.cpuUsage(before)
    const seconds = ((performance.now() - began) / 1000).toFixed(2)
    console.log(`${initLoraWeights.padEnd(16)} ${seconds} s, ${((user + system) / 1e6).toFixed(2)} CPU seconds`)
    adapter.detach()
  }
  model.dispose()
}

const [, , ...given] = process.argv
await main(given.length > 0 ? given : ['olora', 'pissa_niter_2', 'pissa_niter_4'])
