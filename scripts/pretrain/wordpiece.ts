// Trains the tokenizer of the bundled encoder: lower-case WordPiece, pieces learned by frequency (see merges.ts).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { readCorpus } from './corpus.ts'
import { learnPieces } from './merges.ts'
import { bertWords } from './pretokenize.ts'
import { SOURCES } from './sources.ts'

export const VOCABULARY = 8192
export const SPECIALS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] as const
export const MAX_LENGTH = 256
export const ENCODER = fileURLToPath(new URL('../../assets/encoder/', import.meta.url))

const MIN_CHARACTER_COUNT = 200
const MAX_WORD = 100

/** Counts the words of the corpus; each source counts as often as its weight says. */
function countWords(): Map<string, number> {
  const weights = new Map(SOURCES.map(({ id, weight }) => [id, weight]))
  const counts = new Map<string, number>()
  for (const { source, text } of readCorpus())
    for (const word of bertWords(text)) counts.set(word, (counts.get(word) ?? 0) + (weights.get(source) ?? 1))
  return counts
}

/** The Hugging Face tokenizer file for a vocabulary in order of id, special tokens first. */
export function tokenizerJson(vocabulary: readonly string[]): string {
  const special = (content: string, id: number) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })
  const token = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } })
  const sequence = (id: string, type_id: number) => ({ Sequence: { id, type_id } })
  const single = [token('[CLS]', 0), sequence('A', 0), token('[SEP]', 0)]
  const template = (id: (typeof SPECIALS)[number]) => ({ id, ids: [SPECIALS.indexOf(id)], tokens: [id] })
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIALS.map(special),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, sequence('B', 1), token('[SEP]', 1)],
      special_tokens: { '[CLS]': template('[CLS]'), '[SEP]': template('[SEP]') },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: MAX_WORD,
      vocab: Object.fromEntries(vocabulary.map((piece, id) => [piece, id])),
    },
  }
  return integerKeysInOrder(JSON.stringify(tokenizer, null, 2), vocabulary)
}

/** JavaScript objects put integer-like keys first; the file lists the vocabulary by id. */
function integerKeysInOrder(json: string, vocabulary: readonly string[]): string {
  const start = json.indexOf('"vocab": {')
  const lines = vocabulary.map((piece, id) => `      ${JSON.stringify(piece)}: ${id}`)
  return `${json.slice(0, start)}"vocab": {\n${lines.join(',\n')}\n    }\n  }\n}`
}

function tokenizerConfig(): string {
  const config = {
    cls_token: '[CLS]',
    do_lower_case: true,
    mask_token: '[MASK]',
    model_max_length: MAX_LENGTH,
    pad_token: '[PAD]',
    sep_token: '[SEP]',
    strip_accents: null,
    tokenize_chinese_chars: true,
    tokenizer_class: 'BertTokenizer',
    unk_token: '[UNK]',
  }
  return `${JSON.stringify(config, null, 2)}\n`
}

/** The vocabulary of the bundled tokenizer, by id. */
export function readVocabulary(): string[] {
  const file = JSON.parse(readFileSync(join(ENCODER, 'tokenizer.json'), 'utf8')) as {
    model: { vocab: Record<string, number> }
  }
  const out: string[] = []
  for (const [piece, id] of Object.entries(file.model.vocab)) out[id] = piece
  return out
}

async function main(): Promise<void> {
  const counts = countWords()
  const pieces = learnPieces(counts, VOCABULARY - SPECIALS.length, MIN_CHARACTER_COUNT)
  await writeFileAtomic(join(ENCODER, 'tokenizer.json'), tokenizerJson([...SPECIALS, ...pieces]))
  await writeFileAtomic(join(ENCODER, 'tokenizer_config.json'), tokenizerConfig())
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  const whole = pieces.reduce((sum, piece) => sum + (counts.get(piece) ?? 0), 0)
  const share = ((100 * whole) / total).toFixed(1)
  console.log(
    `${pieces.length + SPECIALS.length} pieces from ${counts.size} words; ${share} % of the words are one piece`,
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
