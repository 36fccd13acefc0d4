// Cuts the student out of its teacher: the first layers as they are, the word embeddings of the chosen pieces.
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { encodeF32, openSafetensors, type SafetensorsFile, writeSafetensors } from '../../lib/io/safetensors.ts'
import { random } from './random.ts'
import { CACHE } from './sources.ts'
import { fetchTeacher, TEACHER, teacherVocabulary } from './teacher.ts'
import { chooseVocabulary } from './vocabulary.ts'
import { MAX_LENGTH, tokenizerConfig, tokenizerJson } from './wordpiece.ts'

/** Where the student lies while its teacher teaches it, and where when it was taught entities. */
export const STUDENT = join(CACHE, 'student')
export const TAUGHT = join(CACHE, 'taught')
export const HIDDEN = 384
/** Layers of the teacher that the student keeps. */
const LAYERS = [0, 1]
const SEED = 11
/** Length of a case vector, as a share of what it is added to. */
const CASE = 0.4

/** How a piece or word is written: in small letters, with a capital, or in capitals. */
export type Case = 'small' | 'title' | 'capitals'

export function caseOf(word: string): Case {
  const letters = word.replace('##', '')
  if (letters === letters.toLowerCase()) return 'small'
  const isInside = word.startsWith('##')
  return letters.slice(1) === letters.slice(1).toLowerCase() && !isInside ? 'title' : 'capitals'
}

/** What writing adds to the vectors of words of this mean length: a fixed direction for each case, [HIDDEN]. */
export function caseVectors(length: number): Record<Case, Float32Array> {
  const next = random(SEED)
  const direction = () => {
    const raw = Float32Array.from({ length: HIDDEN }, () => next() + next() + next() - 1.5)
    const norm = Math.hypot(...raw)
    return raw.map(x => (CASE * length * x) / norm)
  }
  return { small: new Float32Array(HIDDEN), title: direction(), capitals: direction() }
}

/** The mean length of the rows of a matrix [N, HIDDEN]. */
export function meanLength(rows: Float32Array): number {
  let sum = 0
  for (let at = 0; at < rows.length; at += HIDDEN) sum += Math.hypot(...rows.subarray(at, at + HIDDEN))
  return sum / (rows.length / HIDDEN)
}

/** Embeddings of the student's pieces [V, HIDDEN]: the teacher's of their small forms, and the vector of their case. */
function embeddings(teacher: SafetensorsFile, vocabulary: readonly string[]): Float32Array {
  const table = teacher.readF32('embeddings.word_embeddings.weight')
  const ids = new Map(teacherVocabulary().map((piece, id) => [piece, id]))
  const rows = new Float32Array(vocabulary.length * HIDDEN)
  const written = caseVectors(meanLength(table))
  for (const [id, piece] of vocabulary.entries()) {
    const own = ids.get(piece) ?? ids.get(piece.toLowerCase()) ?? ids.get('[UNK]')!
    const extra = /^\[[A-Z]+\]$/.test(piece) ? written.small : written[caseOf(piece)]
    for (let c = 0; c < HIDDEN; c++) rows[id * HIDDEN + c] = table[own * HIDDEN + c]! + extra[c]!
  }
  return rows
}

/** The student's tensors by name, as the teacher has them. */
function prune(teacher: SafetensorsFile, vocabulary: readonly string[]) {
  const kept = [...teacher.names()].flatMap(name => {
    if (name.startsWith('embeddings.')) return name.endsWith('position_ids') ? [] : [{ name, as: name }]
    const [, layer, rest] = /^encoder\.layer\.(\d+)\.(.*)$/.exec(name) ?? []
    const at = LAYERS.indexOf(Number(layer))
    return layer === undefined || at < 0 ? [] : [{ name, as: `encoder.layer.${at}.${rest}` }]
  })
  return kept.map(({ name, as }) => {
    const shape = [...teacher.info(name).shape]
    let data = teacher.readF32(name)
    if (name.endsWith('word_embeddings.weight')) {
      data = embeddings(teacher, vocabulary)
      shape[0] = vocabulary.length
    } else if (name.endsWith('position_embeddings.weight')) {
      data = data.slice(0, MAX_LENGTH * HIDDEN)
      shape[0] = MAX_LENGTH
    }
    return { name: `bert.${as}`, dtype: 'BF16' as const, shape, data: encodeF32(data, 'BF16') }
  })
}

function configOf(vocabulary: readonly string[]): string {
  const teacher = JSON.parse(readFileSync(join(TEACHER, 'config.json'), 'utf8')) as Record<string, unknown>
  const { _name_or_path, transformers_version, gradient_checkpointing, use_cache, ...kept } = teacher
  const own = {
    architectures: ['BertForMaskedLM'],
    dtype: 'bfloat16',
    max_position_embeddings: MAX_LENGTH,
    num_hidden_layers: LAYERS.length,
    tie_word_embeddings: true,
    vocab_size: vocabulary.length,
  }
  const all = Object.entries({ ...kept, ...own }).sort(([a], [b]) => (a < b ? -1 : 1))
  return `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`
}

async function main(): Promise<void> {
  await fetchTeacher()
  mkdirSync(STUDENT, { recursive: true })
  const vocabulary = chooseVocabulary(teacherVocabulary())
  const teacher = openSafetensors(join(TEACHER, 'model.safetensors'))
  const tensors = prune(teacher, vocabulary)
  teacher.close()
  await writeFileAtomic(join(STUDENT, 'tokenizer.json'), tokenizerJson(vocabulary))
  await writeFileAtomic(join(STUDENT, 'tokenizer_config.json'), tokenizerConfig())
  await writeFileAtomic(join(STUDENT, 'config.json'), configOf(vocabulary))
  await writeSafetensors(join(STUDENT, 'model.safetensors'), tensors, { format: 'pt' })
  const parameters = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
  console.log(`${vocabulary.length} pieces, ${parameters} parameters, ${2 * parameters} bytes`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
