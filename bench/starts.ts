// CPU seconds that the starts of LoRA take: r 8 on every linear layer of a BERT-base, whose weights are random here
// (their spectrum is flatter than a trained model's, so that `pissa`, which goes on until vectors stay, takes longest).
// eva: of one pass over 512 tokens, without the forward pass, which is given beside it; it takes a few passes, as data
// need. loftq: beside NF4, of weights that are read from a file again.
//
//     node --import tsx bench/starts.ts [--json FILE] [start ...]

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { packExamples } from '../lib/data/batches.ts'
import type { Example } from '../lib/data/example.ts'
import { createModel, loadModel, type Model } from '../lib/model.ts'
import { attach, createMethod, saveMerged } from '../lib/peft/index.ts'
import { type LoraStart, STARTS } from '../lib/peft/starts.ts'
import { scope } from '../lib/tensor.ts'
import { cpuSeconds, machine, round } from './machine.ts'

const VOCAB = 1000
const values = {
  ...{ model_type: 'bert', vocab_size: VOCAB, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12 },
  ...{ intermediate_size: 3072, max_position_embeddings: 128, type_vocab_size: 2 },
}
const task = { task: 'sequence-classification', labels: ['a', 'b'] } as const
const TEXTS = 16
const TOKENS = 32

/** A batch of texts of random tokens. */
function batchOf(model: Model) {
  const texts = Array.from({ length: TEXTS }, (_, line): Example => {
    const ids = Int32Array.from({ length: TOKENS }, (_, i) => 1 + ((line * 131 + i * i * 17) % (VOCAB - 1)))
    return { ids, label: line % 2, truncated: false, row: { values: {}, file: 'made up', line } }
  })
  return packExamples(texts, Int32Array.from(texts.keys()), { collate: model.head.collate })
}

async function begun(model: Model, initLoraWeights: LoraStart): Promise<Record<string, number>> {
  const batch = batchOf(model)
  const forward = () => void model.logits(batch)
  await model.device.synchronize()
  const before = cpuSeconds()
  const adapter = attach(model, createMethod('lora', { targetModules: 'all-linear', initLoraWeights }))
  await adapter.prepare([forward])
  const seconds = cpuSeconds() - before
  adapter.detach()
  if (initLoraWeights !== 'eva') return { seconds }
  const start = cpuSeconds()
  scope(forward)
  await model.device.synchronize()
  const pass = cpuSeconds() - start
  return { seconds: seconds - pass, forward: pass }
}

/** LoftQ, whose base is stored in NF4 and in a folder as it was. */
async function quantised(model: Model): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-starts-'))
  try {
    await saveMerged(model, folder)
    using stored = await loadModel(folder, { ...task, storage: 'nf4' })
    return await begun(stored, 'loftq')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function main(starts: readonly LoraStart[], json?: string): Promise<void> {
  using model = createModel({ path: 'config.json', modelType: 'bert', values }, task)
  const found: Record<string, Record<string, number>> = {}
  for (const start of starts) {
    const taken = start === 'loftq' ? await quantised(model) : await begun(model, start)
    found[`${start}`] = Object.fromEntries(Object.entries(taken).map(([name, value]) => [name, round(value, 3)]))
    console.log(`${start}`.padEnd(16), JSON.stringify(found[`${start}`]))
  }
  if (json) writeFileSync(json, `${JSON.stringify({ machine: machine(), found }, null, 1)}\n`)
}

const { values: options, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: 'string' } } })
const usual = STARTS.filter(start => typeof start === 'string' && start !== 'gaussian' && start !== 'pissa')
const asked = STARTS.filter(start => positionals.includes(`${start}`))
await main(asked.length > 0 ? asked : usual, options.json)
