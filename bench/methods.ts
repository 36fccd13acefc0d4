// What a training step costs under each method, over plain LoRA's: CPU seconds, interleaved, the median of rounds.
//
//     LOWRANK_THREADS=1 node --import tsx bench/methods.ts [rounds]

import { batches } from '../lib/data/batches.ts'
import type { Example } from '../lib/data/example.ts'
import { sequenceClasses } from '../lib/heads/targets.ts'
import { createModel } from '../lib/model.ts'
import { AdamW } from '../lib/optim/adamw.ts'
import { Arena } from '../lib/optim/arena.ts'
import { attach, createMethod } from '../lib/peft/index.ts'
import { Stepper } from '../lib/train/step.ts'

const values = {
  model_type: 'bert',
  vocab_size: 2000,
  hidden_size: 384,
  num_hidden_layers: 3,
  num_attention_heads: 12,
  intermediate_size: 1536,
  max_position_embeddings: 128,
  type_vocab_size: 2,
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
}
const config = { path: 'config.json', modelType: 'bert', values }
const targetModules = 'all-linear'

/** Rows of the table: a method and its options. */
const ROWS: readonly [name: string, type: string, options: object][] = [
  ['lora, all layers', 'lora', { targetModules }],
  ['dora, all layers', 'dora', { targetModules }],
  ['svd, all layers', 'svd', { targetModules, orthRegWeight: 0 }],
  ['vera r 64, all layers', 'vera', { targetModules, r: 64 }],
  ['miss r 8, all layers', 'miss', { targetModules, r: 8 }],
  ['ia3', 'ia3', {}],
  ["lora, ia3's layers", 'lora', { targetModules: ['key', 'value', 'output.dense'] }],
]

const STEPS = 2

async function main(rounds: number): Promise<void> {
  const model = createModel(config, { task: 'sequence-classification', labels: ['a', 'b'] })
  const examples = Array.from({ length: 16 }, (_, i): Example => {
    const ids = Int32Array.from({ length: 64 }, (_, j) => 3 + ((i * 31 + j * 7) % 1900))
    return { ids, label: i % 2, truncated: false, row: { values: {}, file: 'made up', line: i } }
  })
  const step = batches(examples, { batchSize: 16, accumulate: 1, collate: sequenceClasses }).at(0)
  const seconds = new Map<string, number[]>(ROWS.map(([name]) => [name, []]))
  for (let round = 0; round < rounds; round++)
    for (const [name, type, options] of ROWS) {
      const adapter = attach(model, createMethod(type, options))
      const arena = new Arena(adapter.trainable, model.device)
      const stepper = new Stepper(model, new AdamW(arena), { seed: 1, training: adapter.training })
      const run = async (index: number) => (await stepper.launch(step, index, 1e-4)).numbers
      await run(0)
      const before = process.cpuUsage()
      for (let i = 1; i <= STEPS; i++) await run(i)
      const { user, system } = process.cpuUsage(before)
      seconds.get(name)!.push((user + system) / 1e6 / STEPS)
      arena.dispose()
      adapter.detach()
    }
  model.dispose()
  const median = (x: readonly number[]) => x.toSorted((a, b) => a - b)[x.length >> 1]!
  const base = median(seconds.get(ROWS[0]![0])!)
  for (const [name, x] of seconds)
    console.log(`${name.padEnd(24)} ${median(x).toFixed(3)} s  ${(median(x) / base).toFixed(2)}`)
}

await main(Number(process.argv[2] ?? 5))
