// First word embeddings of the encoder, from the co-occurrences of word pieces in the corpus: positive pointwise mutual
// information, factored (Levy, Goldberg, Dagan 2015). Masked language modelling then starts from words that already
// lie near their neighbours.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { check } from '../../lib/errors.ts'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { leadingEigenpairs, type SparseMatrix } from './eigen.ts'
import { random } from './random.ts'
import { CACHE } from './sources.ts'
import { readTokens, type Tokens } from './tokens.ts'
import { ENCODER, SPECIALS, VOCABULARY } from './wordpiece.ts'

const BINARY = join(CACHE, 'embeddings.bin')
const WINDOW = 8
const SMOOTHING = 0.75
const MIN_COUNT = 1
const POWER = 0.5
const SEED = 7

/** Root mean square of every row: a little above BERT's usual 0.02, so that positions don't drown the words. */
const RMS = 0.05

/**
 * Reads `.cache/pretrain/embeddings.bin`: f32 [VOCABULARY, hidden], little-endian. Errors: ERR_DATA on another size.
 */
export function readEmbeddings(hidden: number): Float32Array {
  const bytes = new Uint8Array(readFileSync(BINARY))
  const size = 4 * VOCABULARY * hidden
  check(
    bytes.length === size,
    'ERR_DATA',
    () => `embeddings: ${bytes.length} bytes instead of ${size}; run scripts/pretrain/embeddings.ts again`,
  )
  return new Float32Array(bytes.buffer)
}

/** Symmetric counts of pieces within the window of one document, neighbours at distance d counting 1/d: [V, V]. */
function coOccurrences({ ids, starts, sources }: Tokens): Float32Array {
  const counts = new Float32Array(VOCABULARY * VOCABULARY)
  for (const { weight, first, end } of sources)
    for (let d = first; d < end; d++)
      for (let i = starts[d]!; i < starts[d + 1]!; i++) {
        const stop = Math.min(starts[d + 1]!, i + WINDOW + 1)
        for (let j = i + 1; j < stop; j++) {
          const value = weight / (j - i)
          counts[ids[i]! * VOCABULARY + ids[j]!]! += value
          counts[ids[j]! * VOCABULARY + ids[i]!]! += value
        }
      }
  return counts
}

/**
 * max(0, ln n_ij + ln Σ n_k^α − (1 + α)/2 · (ln n_i + ln n_j)): PPMI with context smoothing α, made symmetric. Rows of
 * the special tokens stay empty.
 */
function positiveMutualInformation(counts: Float32Array): SparseMatrix {
  const totals = Float64Array.from({ length: VOCABULARY }, (_, i) =>
    sum(counts.subarray(i * VOCABULARY, (i + 1) * VOCABULARY)),
  )
  const logs = totals.map(total => ((1 + SMOOTHING) / 2) * Math.log(total || 1))
  const all = Math.log(totals.reduce((left, total) => left + total ** SMOOTHING, 0))
  const starts = new Uint32Array(VOCABULARY + 1)
  const columns: number[] = []
  const values: number[] = []
  for (let i = 0; i < VOCABULARY; i++) {
    for (let j = SPECIALS.length; i >= SPECIALS.length && j < VOCABULARY; j++) {
      const count = counts[i * VOCABULARY + j]!
      const value = count < MIN_COUNT ? 0 : Math.log(count) + all - logs[i]! - logs[j]!
      if (value > 0) {
        columns.push(j)
        values.push(value)
      }
    }
    starts[i + 1] = columns.length
  }
  return { starts, columns: Uint16Array.from(columns), values: Float32Array.from(values) }
}

/** Rows of equal length: eigenvectors scaled by |λ|^POWER; pieces without neighbours get seeded noise. */
function rows({ values, vectors }: ReturnType<typeof leadingEigenpairs>, hidden: number): Float32Array {
  const noise = random(SEED)
  const out = new Float32Array(VOCABULARY * hidden)
  for (let r = 0; r < VOCABULARY; r++) {
    const row = values.map((value, c) => vectors[r * hidden + c]! * Math.abs(value) ** POWER)
    const filled = row.some(component => Math.abs(component) > 1e-12) ? row : row.map(() => noise() - 0.5)
    const rms = Math.sqrt(filled.reduce((left, component) => left + component * component, 0) / hidden)
    for (const [c, component] of filled.entries()) out[r * hidden + c] = (RMS * component) / rms
  }
  return out
}

function sum(values: Float32Array): number {
  let total = 0
  for (const value of values) total += value
  return total
}

async function main(): Promise<void> {
  const config = JSON.parse(readFileSync(join(ENCODER, 'config.json'), 'utf8')) as { hidden_size: number }
  const matrix = positiveMutualInformation(coOccurrences(await readTokens()))
  console.log(`${matrix.values.length} positive entries of ${VOCABULARY}²`)
  const pairs = leadingEigenpairs(matrix, config.hidden_size, SEED)
  console.log(`eigenvalues ${pairs.values[0]!.toFixed(1)} to ${pairs.values.at(-1)!.toFixed(1)}`)
  const bytes = rows(pairs, config.hidden_size)
  await writeFileAtomic(BINARY, new Uint8Array(bytes.buffer))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
