// What a training step costs under each method, over plain LoRA's: CPU seconds of a process, methods in turns, the
// least of all rounds. Two shapes with random weights: `bert-base`, 16 texts of 128 tokens, of which 4 of the 12 layers
// are run; `minilm`, 16 texts of 20 tokens, all 6 layers. bf16: weights and products, as `--compute bf16` has them.
//
//     node --import tsx bench/methods.ts [--case bert-base|minilm] [--dtype f32|bf16] [--rounds 5] [--only lora,dora]
//     [--json FILE]

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { batches } from '../lib/data/batches.ts'
import type { Example } from '../lib/data/example.ts'
import { sequenceClasses } from '../lib/data/targets.ts'
import { createModel } from '../lib/model.ts'
import { AdamW } from '../lib/optim/adamw.ts'
import { Arena } from '../lib/optim/arena.ts'
import { attach, createMethod } from '../lib/peft/index.ts'
import { Stepper } from '../lib/train/step.ts'
import { cpuSeconds, machine, round } from './machine.ts'

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', default: 'minilm' },
    dtype: { type: 'string', default: 'f32' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    json: { type: 'string' },
  },
})

const small = { hidden_size: 384, num_hidden_layers: 6, num_attention_heads: 12, intermediate_size: 1536 }
const base = { hidden_size: 768, num_hidden_layers: 4, num_attention_heads: 12, intermediate_size: 3072 }
const CASES = {
  minilm: { sizes: small, texts: 16, tokens: 20, steps: 8 },
  'bert-base': { sizes: base, texts: 16, tokens: 128, steps: 2 },
}
const rest = { model_type: 'bert', vocab_size: 2000, max_position_embeddings: 128, type_vocab_size: 2 }
const dropouts = { hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 }

const targetModules = 'all-linear'
const LORA = 'lora, all layers'
const ON_IA3 = "lora, ia3's layers"

/** Rows of the table: a method, its options, and the row that it is compared with. */
const ROWS: readonly [name: string, type: string, options: object, beside: string][] = [
  [LORA, 'lora', { targetModules }, LORA],
  ['dora, all layers', 'dora', { targetModules }, LORA],
  ['svd, all layers', 'svd', { targetModules, orthRegWeight: 0 }, LORA],
  ['vera r 64, all layers', 'vera', { targetModules, r: 64 }, LORA],
  ['miss r 8, all layers', 'miss', { targetModules, r: 8 }, LORA],
  [ON_IA3, 'lora', { targetModules: ['key', 'value', 'output.dense'] }, LORA],
  ['ia3', 'ia3', {}, ON_IA3],
]

async function main(): Promise<void> {
  const { sizes, texts, tokens, steps } = CASES[options.case as keyof typeof CASES]
  const storage = options.dtype === 'bf16' ? 'bf16' : 'f32'
  const config = { path: 'config.json', modelType: 'bert', values: { ...rest, ...sizes, ...dropouts } }
  const labels = ['a', 'b']
  const model = createModel(config, { task: 'sequence-classification', labels, storage, compute: storage })
  const examples = Array.from({ length: texts }, (_, i): Example => {
    const ids = Int32Array.from({ length: tokens }, (_, j) => 3 + ((i * 31 + j * 7) % 1900))
    return { ids, label: i % 2, truncated: false, row: { values: {}, file: 'made up', line: i } }
  })
  const step = batches(examples, { batchSize: texts, accumulate: 1, collate: sequenceClasses }).at(0)
  const rows = ROWS.filter(([, type]) => !options.only || options.only.split(',').includes(type))
  const seconds = new Map<string, number[]>(rows.map(([name]) => [name, []]))
  for (let i = 0; i < Number(options.rounds); i++)
    for (const [name, type, own] of rows) {
      const adapter = attach(model, createMethod(type, own))
      const arena = new Arena(adapter.trainable, model.device)
      const stepper = new Stepper(model, new AdamW(arena), { seed: 1, training: adapter.training })
      const run = async (index: number) => (await stepper.launch(step, index, 1e-4)).numbers
      await run(0)
      const before = cpuSeconds()
      for (let k = 1; k <= steps; k++) await run(k)
      seconds.get(name)!.push((cpuSeconds() - before) / steps)
      arena.dispose()
      adapter.detach()
    }
  model.dispose()
  const found: Record<string, { seconds: number; ratio: number }> = {}
  for (const [name, , , beside] of rows) {
    const [own, other] = [name, beside].map(each => Math.min(...(seconds.get(each) ?? [Number.NaN])))
    found[name] = { seconds: round(own!, 5), ratio: round(own! / other!, 3) }
    console.log(`${name.padEnd(24)} ${own!.toFixed(4)} s  ${(own! / other!).toFixed(3)} of ${beside}`)
  }
  const what = { case: options.case, dtype: options.dtype, rounds: Number(options.rounds) }
  if (options.json) writeFileSync(options.json, `${JSON.stringify({ machine: machine(), ...what, found }, null, 1)}\n`)
}

await main()
