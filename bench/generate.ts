// Prefill and decoding of a causal language model with an unmerged LoRA adapter on all linear layers, beside
// transformers + PEFT on the same model: alternating in one sitting, fewest process CPU seconds.
//   npm run bench:generate -- --model DIR [--python PYTHON] [--dtype fp32|bf16|int8|nf4] [--cache f32|bf16]
//     [--prompt 512] [--new 32] [--rounds 3] [--r 16]
// Prints one JSON line. `share`: bytes of the weights that a token reads, over what reading alone moves in the same
// CPU seconds (`build/test/ops_bench COMMIT decode` tells it; give it as --read-rate, GB a CPU second).
// The peer has no int8 and NF4 on the CPU without another package: beside these its bf16 stands.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { check } from '../lib/errors.ts'
import { Decoder } from '../lib/generate/decoder.ts'
import { choiceOf } from '../lib/generate/options.ts'
import { packageRoot } from '../lib/io/package.ts'
import { loadModel, type Model } from '../lib/model.ts'
import { attach, lora } from '../lib/peft/index.ts'
import { must } from '../lib/tuple.ts'
import { cpuSeconds, machine, round } from './machine.ts'

const PEER = join(packageRoot, 'bench/peers/generate.py')
const STORAGES = { fp32: 'f32', bf16: 'bf16', int8: 'int8', nf4: 'nf4' } as const

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    python: { type: 'string' },
    dtype: { type: 'string', default: 'fp32' },
    cache: { type: 'string', default: 'f32' },
    prompt: { type: 'string', default: '512' },
    new: { type: 'string', default: '32' },
    rounds: { type: 'string', default: '3' },
    r: { type: 'string', default: '16' },
    'read-rate': { type: 'string' },
  },
})

interface Side {
  prefill(tokens: number): Promise<number>
  decode(prompt: number, tokens: number): Promise<number>
}

const promptOf = (count: number) => Int32Array.from({ length: count }, (_, i) => (i % 1000) + 100)

function ours(model: Model): Side {
  const cacheType = options.cache === 'bf16' ? 'bf16' : 'f32'
  /** CPU seconds until the first token, and from there to the last. */
  const run = async (prompt: number, tokens: number) => {
    const decoder = new Decoder(model, { sequences: 1, cacheType })
    const choice = choiceOf(model, { maxNewTokens: tokens, endIds: [] })
    const start = cpuSeconds()
    let first: number | undefined
    for await (const _ of decoder.tokens(promptOf(prompt), choice)) first ??= cpuSeconds()
    const end = cpuSeconds()
    await decoder.close()
    return [must(first, 'first') - start, end - must(first, 'first')] as const
  }
  return {
    prefill: async tokens => (await run(tokens, 1))[0],
    decode: async (prompt, tokens) => (await run(prompt, tokens + 1))[1],
  }
}

async function peer(python: string, dtype: string): Promise<Side & { close(): void }> {
  const args = [PEER, '--model', must(options.model, 'model'), '--dtype', dtype, '--r', must(options.r, 'r')]
  const child = spawn(python, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => JSON.parse(String((await lines.next()).value))
  await next()
  const ask = async (line: string): Promise<number> => {
    child.stdin.write(`${line}\n`)
    return (await next()).cpu
  }
  return {
    prefill: tokens => ask(`prefill ${tokens}`),
    decode: (prompt, tokens) => ask(`decode ${prompt} ${tokens}`),
    close: () => child.stdin.end(),
  }
}

/** Bytes of the weights that each token reads: all but the rows of an embedding that is no output layer. */
function weightBytes(model: Model): number {
  const words = model.backbone.wordEmbeddings.weight
  const isTied = model.config.values.tie_word_embeddings === true
  const all = [...model.parameters.values()].reduce((sum, { tensor }) => sum + tensor.byteLength, 0)
  return all - (isTied ? 0 : words.tensor.byteLength)
}

const dtype = options.dtype as keyof typeof STORAGES
check(dtype in STORAGES, 'ERR_OPTION', () => `--dtype ${dtype}, expected one of ${Object.keys(STORAGES)}`)
check(options.model, 'ERR_OPTION', () => '--model: none given; name a folder with a causal language model')
const [prompt, tokens, rounds] = [options.prompt, options.new, options.rounds].map(Number) as [number, number, number]

const compute = dtype === 'fp32' ? 'f32' : 'bf16'
const model = await loadModel(options.model, { task: 'causal-lm', storage: STORAGES[dtype], compute })
attach(model, lora({ r: Number(options.r), targetModules: 'all-linear', initLoraWeights: false }))
const sides: Record<string, Side> = { lowrank: ours(model) }
const other = options.python ? await peer(options.python, dtype === 'fp32' ? 'float32' : 'bfloat16') : undefined
if (other) sides.peer = other
const best: Record<string, { prefill: number; decode: number }> = {}
for (let i = 0; i <= rounds; i++)
  for (const [name, side] of Object.entries(sides)) {
    const [prefill, decode] = [await side.prefill(prompt), (await side.decode(16, tokens)) / tokens]
    if (i === 0) continue // fills caches and pools
    const old = best[name] ?? { prefill: Number.POSITIVE_INFINITY, decode: Number.POSITIVE_INFINITY }
    best[name] = { prefill: Math.min(old.prefill, prefill), decode: Math.min(old.decode, decode) }
  }
other?.close()
const mine = must(best.lowrank, 'lowrank')
const rate = options['read-rate'] === undefined ? undefined : Number(options['read-rate']) * 1e9
const bytes = weightBytes(model)
const told = Object.entries(best).map(([name, { prefill, decode }]) => [
  name,
  { prefill_cpu: round(prefill, 3), decode_cpu_ms: round(decode * 1000, 2), tokens_a_cpu_second: round(1 / decode, 1) },
])
console.log(
  JSON.stringify({
    machine: machine(),
    dtype,
    cache: options.cache,
    prompt,
    new: tokens,
    ...Object.fromEntries(told),
    ...(best.peer ? { prefill_ratio: round(mine.prefill / best.peer.prefill, 2) } : {}),
    ...(best.peer ? { decode_ratio: round(best.peer.decode / mine.decode, 2) } : {}),
    weight_bytes: bytes,
    ...(rate === undefined ? {} : { share: round(bytes / mine.decode / rate, 2) }),
  }),
)
model.dispose()
