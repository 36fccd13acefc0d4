// Encodes the corpus once: .cache/pretrain/tokens.bin and tokens.json, from which a pretraining run reads at once.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { check } from '../../lib/errors.ts'
import { sha256File, writeFileAtomic } from '../../lib/io/atomic.ts'
import { readCorpus } from './corpus.ts'
import { WordPieceEncoder } from './encode.ts'
import { CACHE, SOURCES, type Source } from './sources.ts'
import { ENCODER, MAX_LENGTH, readVocabulary } from './wordpiece.ts'

/**
 * The encoded corpus. Document d is `ids[starts[d] … starts[d + 1])`: word pieces only, without `[CLS]` and `[SEP]`,
 * never more than {@link MAX_LENGTH} − 2 of them. Documents of one source follow one another: `sources` says which.
 */
export interface Tokens {
  readonly ids: Uint16Array
  readonly starts: Uint32Array
  readonly sources: readonly { id: Source['id']; weight: number; first: number; end: number }[]
}

interface Header {
  readonly documents: number
  readonly tokens: number
  readonly unknown: number
  readonly tokenizer: string
  readonly sources: Tokens['sources']
}

const BINARY = join(CACHE, 'tokens.bin')
const HEADER = join(CACHE, 'tokens.json')
const TOKENIZER = join(ENCODER, 'tokenizer.json')

/**
 * Reads the encoded corpus. `tokens.bin` holds `u32 starts[documents + 1]`, then `u16 ids[tokens]`, little-endian.
 * Errors: ERR_DATA when it was made with another tokenizer or is cut short.
 */
export async function readTokens(): Promise<Tokens> {
  const header = JSON.parse(readFileSync(HEADER, 'utf8')) as Header
  const tokenizer = await sha256File(TOKENIZER)
  const again = 'run scripts/pretrain/tokens.ts again'
  check(
    header.tokenizer === tokenizer,
    'ERR_DATA',
    () => `tokens: made with tokenizer ${header.tokenizer}, not ${tokenizer}; ${again}`,
  )
  const bytes = readFileSync(BINARY)
  const boundary = 4 * (header.documents + 1)
  const size = boundary + 2 * header.tokens
  check(bytes.length === size, 'ERR_DATA', () => `tokens: ${bytes.length} bytes instead of ${size}; ${again}`)
  const copy = new Uint8Array(bytes).buffer
  return {
    starts: new Uint32Array(copy, 0, header.documents + 1),
    ids: new Uint16Array(copy, boundary, header.tokens),
    sources: header.sources,
  }
}

function encodeCorpus(vocabulary: readonly string[]): { documents: number[][]; sources: Tokens['sources'] } {
  const encoder = new WordPieceEncoder(vocabulary)
  const corpus = readCorpus()
  const documents: number[][] = []
  const sources: Tokens['sources'][number][] = []
  for (const { id, weight } of SOURCES) {
    const first = documents.length
    for (const { source, text } of corpus) {
      if (source !== id) continue
      const ids = encoder.encode(text)
      for (let at = 0; at < ids.length; at += MAX_LENGTH - 2) documents.push(ids.slice(at, at + MAX_LENGTH - 2))
    }
    sources.push({ id, weight, first, end: documents.length })
  }
  return { documents, sources }
}

async function main(): Promise<void> {
  const vocabulary = readVocabulary()
  const { documents, sources } = encodeCorpus(vocabulary)
  const starts = new Uint32Array(documents.length + 1)
  for (const [d, ids] of documents.entries()) starts[d + 1] = starts[d]! + ids.length
  const tokens = starts[documents.length]!
  const ids = new Uint16Array(tokens)
  for (const [d, document] of documents.entries()) ids.set(document, starts[d]!)
  const unknownId = vocabulary.indexOf('[UNK]')
  const unknown = ids.reduce((sum, id) => sum + (id === unknownId ? 1 : 0), 0)
  await writeFileAtomic(BINARY, Buffer.concat([Buffer.from(starts.buffer), Buffer.from(ids.buffer)]))
  const header: Header = {
    documents: documents.length,
    tokens,
    unknown,
    tokenizer: await sha256File(TOKENIZER),
    sources,
  }
  await writeFileAtomic(HEADER, `${JSON.stringify(header, null, 2)}\n`)
  for (const { id, first, end } of sources)
    console.log(`${id}: ${end - first} documents, ${starts[end]! - starts[first]!} tokens`)
  console.log(`${tokens} tokens, ${unknown} unknown`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
