// GGUF files, whose header makes claims about everything behind it.

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadModel } from '../../lib/model.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { mutateBytes } from './mutate.ts'
import type { Mutate, Reader } from './readers.ts'

const golden = (path: string) => fileURLToPath(new URL(`../golden/gguf/${path}`, import.meta.url))
const HEADER = 3000

/** Changes what stands before the data, and seldom the data. */
const mutateHeader: Mutate = (bytes, rng, others) => {
  if (rng.below(8) === 0) return mutateBytes(bytes, rng, others)
  const header = mutateBytes(bytes.slice(0, HEADER), rng, others)
  return Buffer.concat([header, bytes.slice(HEADER)])
}

function reader(name: string, from: string, read: (path: string) => Promise<void>): Reader {
  const file = 'model.gguf'
  return {
    name,
    files: [file],
    mutate: mutateHeader,
    prepare: dir => cpSync(golden(from), join(dir, file)),
    read: dir => read(join(dir, file)),
  }
}

async function readModel(path: string): Promise<void> {
  const model = await loadModel(path, { task: 'causal-lm' })
  model.dispose()
}

async function readTokenizer(path: string): Promise<void> {
  const tokenizer = await loadTokenizer(path)
  const { ids } = tokenizer.encode("It's 12 日本 <|end|> x")
  tokenizer.decode(ids)
  tokenizer.chatTemplate?.render([{ role: 'user', content: 'hi' }])
}

export const GGUF_READERS: readonly Reader[] = [
  reader('gguf (model)', 'models/llama-lm-llama3.gguf', readModel),
  reader('gguf (blocks)', 'blocks.gguf', readModel),
  reader('gguf (sentencepiece)', 'tokenizers/spm.gguf', readTokenizer),
  reader('gguf (byte-level)', 'tokenizers/llama-bpe.gguf', readTokenizer),
]
