// Which files of a model are wanted.

import { piecesOf } from '../io/gguf/pieces.ts'
import { isTokenizerFile, SENTENCE_PIECES, VOCABULARIES } from '../io/tokenizerFiles.ts'

/**
 * What a model of the hub is fetched for: a base, an adapter or whatever was trained, its tokenizer alone, or one GGUF
 * file, which is base and tokenizer in one.
 */
export type Purpose = 'model' | 'trained' | 'tokenizer' | { readonly gguf: string }

const CONFIGS = ['config.json', 'generation_config.json', 'lowrank.json']
const ADAPTER = 'adapter_config.json'
/** The index of sharded weights, and of the same as pickles. */
const INDICES = ['model.safetensors.index.json', 'pytorch_model.bin.index.json'] as const
const WEIGHTS = ['model.safetensors', INDICES[0], 'pytorch_model.bin', INDICES[1]]
const ADAPTER_WEIGHTS = ['adapter_model.safetensors', 'adapter_model.bin']

/** Reads the names of an index's shards. */
type ReadIndex = (file: string) => Promise<readonly string[]>

/** Of the files of a repository those that serve the purpose; the first weights that there are count. */
export async function wantedFiles(
  all: Iterable<string>,
  purpose: Purpose,
  shardsOf: ReadIndex,
): Promise<readonly string[]> {
  const there = new Set(all)
  const has = (name: string): boolean => there.has(name)
  if (typeof purpose === 'object') return piecesOf(purpose.gguf).filter(has)
  // What stands alone in sentencepiece's form cannot be read; fetched, it is refused for what it is.
  const isRead = (name: string) => !has('tokenizer.json') || !SENTENCE_PIECES.includes(name)
  const tokenizer = [...there].filter(name => isTokenizerFile(name) && isRead(name))
  if (purpose === 'tokenizer') return ['config.json'].filter(has).concat(tokenizer)
  const isAdapter = purpose === 'trained' && has(ADAPTER)
  const weights = (isAdapter ? ADAPTER_WEIGHTS : WEIGHTS).find(has)
  const index = INDICES.find(name => name === weights)
  const shards = index === undefined ? [] : (await shardsOf(index)).filter(has)
  const configs = [...CONFIGS, ...(isAdapter ? [ADAPTER] : [])].filter(has)
  return [...configs, ...tokenizer, ...(weights === undefined ? [] : [weights]), ...new Set(shards)]
}

/** What of its kind a folder has to hold to be of use without asking the hub. */
export async function isUsable(there: ReadonlySet<string>, purpose: Purpose, shardsOf: ReadIndex): Promise<boolean> {
  if (typeof purpose === 'object') return piecesOf(purpose.gguf).every(name => there.has(name))
  const hasTokenizer = [...VOCABULARIES, ...SENTENCE_PIECES].some(name => there.has(name))
  if (purpose === 'tokenizer') return hasTokenizer
  if (purpose === 'trained' && there.has(ADAPTER)) return ADAPTER_WEIGHTS.some(name => there.has(name))
  const weights = WEIGHTS.find(name => there.has(name))
  if (weights === undefined || !there.has('config.json')) return false
  return !INDICES.some(index => index === weights) || (await shardsOf(weights)).every(name => there.has(name))
}
