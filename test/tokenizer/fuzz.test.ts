// Tokenizer files as strangers may write them: every one loads, or is a coded error, and none runs for ever.
// LOWRANK_FUZZ=100000 runs more of them.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { temporaryFolder } from '../support/temporary.ts'

type Tree = null | boolean | number | string | Tree[] | { [key: string]: Tree }

const golden = fileURLToPath(new URL('../golden/tokenizer/', import.meta.url))
const parts = JSON.parse(readFileSync(join(golden, 'parts.json'), 'utf8'))
const count = Number(process.env.LOWRANK_FUZZ ?? 1000)
const slowest = 20_000
const text = "Größe  don't [MASK] 12,345 e\u0301 👍🏽 日本 <tok> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"

let state = 42
function random(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * below)
}

function pick<T>(items: readonly T[]): T {
  return items[random(items.length)]!
}

const strange: readonly (() => Tree)[] = [
  () => null,
  () => true,
  () => '',
  () => 'x',
  () => '(a+)+$',
  () => '[',
  () => -1,
  () => 3.5,
  () => 1e300,
  () => 1e9,
  () => [],
  () => ({}),
  () => [[], {}, 'x'],
  () => 'long '.repeat(20_000),
  () => ({ type: 'Sequence', normalizers: [], pretokenizers: [], decoders: [], processors: [] }),
  () => JSON.parse('['.repeat(300) + ']'.repeat(300)),
]

/** A copy with one part, found by walking down, that is gone, strange, or another part of the tree. */
function mutated(tree: Tree, whole: Tree): Tree {
  if (tree === null || typeof tree !== 'object' || random(5) === 0) return random(4) === 0 ? whole : pick(strange)()
  if (Array.isArray(tree)) {
    if (tree.length === 0) return [pick(strange)()]
    const at = random(Math.min(tree.length, 40))
    return tree.map((item, i) => (i === at ? mutated(item, whole) : item))
  }
  const keys = Object.keys(tree)
  if (keys.length === 0) return pick(strange)()
  const key = pick(keys.slice(0, 40))
  if (random(8) === 0) return Object.fromEntries(Object.entries(tree).filter(([name]) => name !== key))
  return { ...tree, [key]: mutated(tree[key]!, whole) }
}

test(`${count} mutated tokenizer files load or are coded errors`, async () => {
  const folder = temporaryFolder()
  try {
    for (let i = 0; i < count; i++) {
      const { tokenizer, model } = pick(parts.cases as { tokenizer: { model: object }; model: number }[])
      const [vocab, merges] = JSON.parse(parts.models[model])
      const whole = {
        ...tokenizer,
        model: { ...tokenizer.model, vocab, ...(merges ? { merges } : {}) },
      } as unknown as Tree
      let tree = whole
      for (let k = random(3); k >= 0; k--) tree = mutated(tree, (whole as { pre_tokenizer: Tree }).pre_tokenizer)
      writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tree))
      const config = {
        tokenizer_class: pick(['BertTokenizer', 'RobertaTokenizer', 'x']),
        padding_side: pick(strange)(),
      }
      writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(random(2) ? {} : mutated(config, null)))
      const started = performance.now()
      try {
        const loaded = await loadTokenizer(folder)
        const { ids } = loaded.encode(text, { pair: text, maxLength: 40 })
        loaded.encodeWords(text.split(' '))
        loaded.decode(ids)
      } catch (error) {
        if (!(error instanceof LowrankError))
          throw Object.assign(error as Error, { file: JSON.stringify(tree).slice(0, 3000) })
        assert.ok(error.message.length < 1000, error.message.slice(0, 200))
      }
      assert.ok(performance.now() - started < slowest, JSON.stringify(tree).slice(0, 500))
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a token may be called by nothing', async () => {
  const folder = temporaryFolder()
  const model = { type: 'BPE', vocab: { '': 0, a: 1 }, merges: [], unk_token: '' }
  const parts = { pre_tokenizer: { type: 'ByteLevel', trim_offsets: true, add_prefix_space: false } }
  const post = { post_processor: { type: 'ByteLevel', trim_offsets: true, add_prefix_space: false } }
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify({ ...parts, ...post, model }))
  const { ids } = (await loadTokenizer(folder)).encode('ab')
  assert.equal([...ids], [1, 0])
  rmSync(folder, { recursive: true })
})

test.run()
