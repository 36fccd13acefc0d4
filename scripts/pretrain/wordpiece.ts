// The tokenizer files of the bundled encoder: cased WordPiece without accents (the pieces: vocabulary.ts).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const VOCABULARY = 10_752
export const SPECIALS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] as const
export const MAX_LENGTH = 256
export const ENCODER = fileURLToPath(new URL('../../assets/encoder/', import.meta.url))

const MAX_WORD = 100

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
      strip_accents: true,
      lowercase: false,
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

export function tokenizerConfig(): string {
  const config = {
    cls_token: '[CLS]',
    do_lower_case: false,
    mask_token: '[MASK]',
    model_max_length: MAX_LENGTH,
    pad_token: '[PAD]',
    sep_token: '[SEP]',
    strip_accents: true,
    tokenize_chinese_chars: true,
    tokenizer_class: 'BertTokenizer',
    unk_token: '[UNK]',
  }
  return `${JSON.stringify(config, null, 2)}\n`
}

/** The vocabulary of a folder's tokenizer, by id. */
export function readVocabulary(folder = ENCODER): string[] {
  const file = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8')) as {
    model: { vocab: Record<string, number> }
  }
  const out: string[] = []
  for (const [piece, id] of Object.entries(file.model.vocab)) out[id] = piece
  return out
}
