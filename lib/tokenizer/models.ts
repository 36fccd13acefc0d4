// Models of tokenizer.json: the tokens of one word.

import { brief, check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { readBpe } from './bpe.ts'
import { asObject, type Fields } from './json.ts'
import type { SubwordModel, Tokens } from './model.ts'
import { readUnigram } from './unigram.ts'
import { readVocabulary } from './vocabulary.ts'

const longestCached = 256
const mostCached = 50_000

/** The model of a parsed tokenizer.json, which remembers the words it has met. @throws ERR_CONFIG, ERR_UNSUPPORTED */
export function readModel(value: unknown, path: string): SubwordModel {
  const config = asObject(value)
  const vocab = config?.vocab
  check(config && (asObject(vocab) || Array.isArray(vocab)), 'ERR_CONFIG', () => {
    return `tokenizer: ${path} has no model with a vocabulary; is it a tokenizer.json?`
  })
  const type = String(config.type ?? typeOf(config))
  switch (type) {
    case 'WordPiece':
      return remembering(readWordPiece(config))
    case 'WordLevel':
      return readWordLevel(config)
    case 'BPE':
      return remembering(readBpe(config))
    case 'Unigram':
      return remembering(readUnigram(config))
    default:
      check(false, 'ERR_UNSUPPORTED', () => `tokenizer: the model ${shown(type)} is not known`)
  }
}

/** Old files do not name the type. */
function typeOf(config: Fields): string {
  if (Array.isArray(config.vocab)) return 'Unigram'
  if (config.merges !== undefined) return 'BPE'
  return config.max_input_chars_per_word === undefined ? 'WordLevel' : 'WordPiece'
}

function remembering(model: SubwordModel): SubwordModel {
  const known = new Map<string, Tokens>()
  return {
    ...model,
    tokenize(word) {
      const found = known.get(word)
      if (found) return found
      const tokens = model.tokenize(word)
      if (word.length <= longestCached) {
        if (known.size >= mostCached) known.clear()
        known.set(word, tokens)
      }
      return tokens
    },
  }
}

/** Longest pieces first; a word that leaves a rest is unknown as a whole. */
function readWordPiece(config: Fields): SubwordModel {
  const vocabulary = readVocabulary(config.vocab, 'WordPiece')
  const unknown = String(config.unk_token ?? '[UNK]')
  const prefix = String(config.continuing_subword_prefix ?? '##')
  const most = Number(config.max_input_chars_per_word ?? 100)
  const { ids } = vocabulary
  let longest = 0
  for (const token of ids.keys()) longest = Math.max(longest, token.length)
  const whole = (word: string): Tokens => {
    const id = ids.get(unknown)
    check(id !== undefined, 'ERR_DATA', () => {
      return `tokenizer: "${brief(word)}" is not in the vocabulary, nor is ${shown(unknown)} that would stand for it`
    })
    return [id, 0, word.length]
  }
  const tokenize = (word: string): Tokens => {
    if (word.length > most && [...word].length > most) return whole(word)
    const tokens: number[] = []
    for (let from = 0; from < word.length; ) {
      const head = from === 0 ? '' : prefix
      let to = Math.min(word.length, from + longest - head.length)
      let id: number | undefined
      for (; to > from; to--) {
        id = ids.get(head + word.slice(from, to))
        if (id !== undefined) break
      }
      if (id === undefined) return whole(word)
      tokens.push(id, from, to)
      from = to
    }
    return tokens
  }
  return { vocabulary, tokenize, continuing: prefix }
}

function readWordLevel(config: Fields): SubwordModel {
  const vocabulary = readVocabulary(config.vocab, 'WordLevel')
  const unknown = String(config.unk_token ?? '<unk>')
  const tokenize = (word: string): Tokens => {
    const id = vocabulary.ids.get(word) ?? vocabulary.ids.get(unknown)
    check(id !== undefined, 'ERR_DATA', () => {
      return `tokenizer: "${brief(word)}" is not in the vocabulary, nor is ${shown(unknown)} that would stand for it`
    })
    return [id, 0, word.length]
  }
  return { vocabulary, tokenize, continuing: undefined }
}
