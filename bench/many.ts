// Many adapters at once against one, on the CPU: a model of MiniLM's shape with random weights.
//   npm run bench:many -- [--rounds 3] [--only train|decoder|search|inference] [--json FILE]
// train: CPU seconds a token of 16 adapters of r 8, each with its own rows, over those of one with as many rows.
// decoder: the same of a language model of SmolLM2-135M's shape.
// search: CPU seconds of 16 trials at once over those of 16 runs one after another, validations counted.
// inference: rows a CPU second of 32 rows with an adapter each, over those with one for all.
// Sides take turns; the least of each is compared.

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { packExamples } from '../lib/data/batches.ts'
import type { Example } from '../lib/data/example.ts'
import { createModel, type Model } from '../lib/model.ts'
import { withRoutes } from '../lib/nn/routes.ts'
import { attach } from '../lib/peft/attach.ts'
import { lora } from '../lib/peft/lora.ts'
import { random } from '../lib/random.ts'
import { runMember, type Spec } from '../lib/study/member.ts'
import { runMembers } from '../lib/study/members.ts'
import { scope } from '../lib/tensor.ts'
import { trainMany } from '../lib/train/many.ts'
import { cpuSeconds, machine, round } from './machine.ts'

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, only: { type: 'string' }, json: { type: 'string' } },
})

const VOCAB = 30522
const values = {
  ...{ model_type: 'bert', vocab_size: VOCAB, hidden_size: 384, num_hidden_layers: 6, num_attention_heads: 12 },
  ...{ intermediate_size: 1536, max_position_embeddings: 512, type_vocab_size: 2, pad_token_id: 0 },
}
const open = (): Model =>
  createModel(
    { path: 'config.json', modelType: 'bert', values },
    { task: 'sequence-classification', labels: ['a', 'b'] },
  )

/** A language model of SmolLM2-135M's shape. */
function openDecoder(): Model {
  const sizes = { vocab_size: 49152, hidden_size: 576, intermediate_size: 1536, max_position_embeddings: 2048 }
  const heads = { num_hidden_layers: 30, num_attention_heads: 9, num_key_value_heads: 3, rope_theta: 100000 }
  const rest = { model_type: 'llama', rms_norm_eps: 1e-5, tie_word_embeddings: true, bos_token_id: 1, eos_token_id: 2 }
  const config = { path: 'config.json', modelType: 'llama', values: { ...rest, ...sizes, ...heads } }
  return createModel(config, { task: 'causal-lm' })
}

/** Rows of a length each; the class is that of the first token. */
function rows(count: number, length: number, seed: number): Example[] {
  const rng = random(seed, 'rows')
  return Array.from({ length: count }, (_, line) => {
    const ids = Int32Array.from({ length }, () => 1000 + rng.below(VOCAB - 1000))
    return { ids, label: (ids[0] ?? 0) % 2, truncated: false, row: { values: {}, file: 'made up', line } }
  })
}

const plain = { evaluateBefore: false, epochs: 1, evalEvery: 'never' } as const

/** What is trained, and on how much of it. */
interface Work {
  readonly members: number
  /** Rows of a member in a step, and their tokens. */
  readonly each: number
  readonly length: number
  readonly steps: number
}

/** CPU seconds of training so many adapters at once, each on its own rows. */
async function trained(model: Model, { members, each, length, steps }: Work): Promise<number> {
  const adapters = Array.from({ length: members }, (_, i) => {
    return {
      adapter: attach(model, lora({ r: 8, targetModules: 'all-linear' }), { name: `m${i}` }),
      options: { seed: i },
    }
  })
  const train = rows(each * steps, length, 1)
  // A language model learns every token.
  const data = { train: model.task === 'causal-lm' ? train.map(row => ({ ...row, label: row.ids })) : train }
  const before = cpuSeconds()
  for await (const _ of trainMany(adapters, data, { ...plain, batchSize: each, lr: 1e-4 }));
  const spent = cpuSeconds() - before
  for (const { adapter } of adapters) adapter.detach()
  return spent
}

async function trainCase(model: Model, rounds: number, work: Work) {
  const { members, each, length, steps } = work
  const [one, many]: [number[], number[]] = [[], []]
  for (let i = 0; i <= rounds; i++) {
    const [a, b] = [await trained(model, { ...work, members: 1, each: members * each }), await trained(model, work)]
    if (i > 0) one.push(a) && many.push(b)
  }
  const tokens = members * each * length * steps
  const [a, b] = [Math.min(...one), Math.min(...many)]
  return { members, tokens, one: a / tokens, many: b / tokens, ratio: b / a }
}

/** As {@link trainCase}, of a model that is there for it alone. */
async function decoderCase(rounds: number) {
  using decoder = openDecoder()
  return await trainCase(decoder, rounds, { members: 16, each: 4, length: 24, steps: 1 })
}

/** Trials of a search that differ in their rate. `layers`: those that have factors; none: all. */
async function searchCase(model: Model, rounds: number, layers: number[] | undefined) {
  const examples = { train: rows(64, 24, 1), validation: rows(32, 24, 2) }
  const bench = { model, examples, options: { epochs: 1, batchSize: 16 } }
  const own = layers
    ? { r: 8, targetModules: ['query', 'key', 'value', 'dense'], layersToTransform: layers }
    : { r: 8, targetModules: 'all-linear' }
  const specs = Array.from({ length: 16 }, (_, i): Spec => {
    return { method: 'lora', options: own, training: { lr: 1e-4 * 1.3 ** i }, seed: 1 }
  })
  const [alone, together]: [number[], number[]] = [[], []]
  for (let i = 0; i < rounds; i++) {
    let before = cpuSeconds()
    for (const spec of specs) await runMember(bench, spec)
    alone.push(cpuSeconds() - before)
    before = cpuSeconds()
    await runMembers(bench, specs, { validated: async () => new Set(), ended: async () => {} })
    together.push(cpuSeconds() - before)
  }
  const [a, b] = [Math.min(...alone), Math.min(...together)]
  return { trials: specs.length, layers: layers ?? 'all', alone: a, together: b, ratio: b / a }
}

async function inferenceCase(model: Model, rounds: number) {
  const adapters = Array.from({ length: 32 }, (_, i) => {
    return attach(model, lora({ r: 8, targetModules: 'all-linear', modulesToSave: [] }), { name: `m${i}` })
  })
  const batch = packExamples(
    rows(32, 24, 3),
    Int32Array.from({ length: 32 }, (_, i) => i),
    { collate: model.head.collate },
  )
  const routes = (distinct: boolean) => adapters.map((_, i) => ({ adapter: `m${distinct ? i : 0}`, rows: 24 }))
  const seconds = async (distinct: boolean) => {
    const before = cpuSeconds()
    for (let i = 0; i < 4; i++) {
      const { read } = scope(() => ({ read: withRoutes(routes(distinct), () => model.logits(batch)).floats() }))
      await read
    }
    return (cpuSeconds() - before) / 4
  }
  const [one, many]: [number[], number[]] = [[], []]
  for (let i = 0; i <= rounds; i++) {
    const [a, b] = [await seconds(false), await seconds(true)]
    if (i > 0) one.push(a) && many.push(b)
  }
  for (const adapter of adapters) adapter.detach()
  const [a, b] = [Math.min(...one), Math.min(...many)]
  return { adapters: 32, one: a, many: b, throughput: a / b }
}

const digits = (_: string, value: unknown) => (typeof value === 'number' ? round(value) : value)
const rounds = Number(options.rounds)
const model = open()
const cases: Readonly<Record<string, () => Promise<object>>> = {
  train: () => trainCase(model, rounds, { members: 16, each: 16, length: 24, steps: 2 }),
  decoder: () => decoderCase(rounds),
  search: () => searchCase(model, rounds, undefined),
  'search, factors in the last two layers': () => searchCase(model, rounds, [4, 5]),
  'search, factors in the last layer': () => searchCase(model, rounds, [5]),
  inference: () => inferenceCase(model, rounds),
}
const found: Record<string, unknown> = { machine: machine() }
for (const [name, run] of Object.entries(cases)) {
  if (options.only && !name.startsWith(options.only)) continue
  found[name] = await run()
  console.log(name, JSON.stringify(found[name]))
}
model.dispose()
if (options.json) writeFileSync(options.json, `${JSON.stringify(found, digits, 1)}\n`)
