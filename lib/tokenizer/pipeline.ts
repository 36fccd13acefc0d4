// From text to tokens with their places, special tokens aside.

import { type AddedToken, normalText, readAddedTokens, tokenFinder } from './addedTokens.ts'
import type { Fields } from './json.ts'
import type { SubwordModel } from './model.ts'
import { readModel } from './models.ts'
import { readNormalizer } from './normalizers.ts'
import { readPreTokenizer } from './preTokenizers.ts'
import { isWhiteSpace } from './unicode.ts'

/** Tokens of a text: ids, and the part [start, end) of the text that each stands for, in UTF-16 units. */
export interface Spans {
  readonly ids: number[]
  readonly starts: number[]
  readonly ends: number[]
}

/** How places leave out white space; `addsSpace`: the one before the first word was added, so its place stays. */
interface Trimming {
  readonly addsSpace: boolean
}

/** The working parts of a tokenizer. */
export interface Pipeline {
  readonly model: SubwordModel
  readonly added: readonly AddedToken[]
  /** What an added token is decoded from; undefined for other ids. */
  addedText(id: number): string | undefined
  encode(text: string, trimming?: Trimming): Spans
}

const loneSurrogate = /\p{Surrogate}/gu

/** @throws ERR_CONFIG for malformed parts, ERR_UNSUPPORTED for unknown ones */
export function createPipeline(path: string, source: Fields): Pipeline {
  const model = readModel(source.model, path)
  const listed = readAddedTokens(source.added_tokens, model.vocabulary)
  const normalize = readNormalizer(source.normalizer)
  const find = tokenFinder(listed, normalize)
  const texts = new Map(listed.map(token => [token.id, normalText(token, normalize)]))
  const cut = readPreTokenizer(source.pre_tokenizer)
  const encode = (text: string, trimming?: Trimming): Spans => {
    const spans: Spans = { ids: [], starts: [], ends: [] }
    for (const { piece, id: added } of find(text.replace(loneSurrogate, '\uFFFD'))) {
      if (added !== undefined) {
        push(spans, added, piece.start(0), piece.end(piece.text.length))
        if (trimming) trim(spans, text, piece.text, trimming)
      } else
        for (const word of cut(piece)) {
          const tokens = model.tokenize(word.text)
          for (let i = 0; i < tokens.length; i += 3) {
            const [id, from, to] = [tokens[i]!, tokens[i + 1]!, tokens[i + 2]!]
            push(spans, id, word.start(from), word.end(to))
            const own = id === model.unknownOfText
            if (trimming) trim(spans, text, own ? word.text.slice(from, to) : model.vocabulary.token(id)!, trimming)
          }
        }
    }
    return spans
  }
  return { model, added: listed, addedText: id => texts.get(id), encode }
}

/** Adds one token. */
export function push(spans: Spans, id: number, start: number, end: number): void {
  spans.ids.push(id)
  spans.starts.push(start)
  spans.ends.push(end)
}

const blank = (char: string) => char === 'Ġ' || isWhiteSpace(char)

/** Leaves the white space at the ends of the last token out of its place, character by character. */
function trim({ ids, starts, ends }: Spans, text: string, token: string, { addsSpace }: Trimming): void {
  // A vocabulary may name a token by nothing.
  if (token === '' || (!blank(token.charAt(0)) && !blank(token.charAt(token.length - 1)))) return
  const last = ids.length - 1
  let start = starts[last]!
  let end = ends[last]!
  // Of several spaces none was added.
  const keepsFirst = addsSpace && (last === 0 || start === 0) && !(token.length > 1 && blank(token.charAt(1)))
  for (let i = 0; i < token.length && blank(token.charAt(i)); i++)
    if (!keepsFirst && start < end) start += text.codePointAt(start)! > 0xffff ? 2 : 1
  for (let i = token.length - 1; i >= 0 && blank(token.charAt(i)); i--)
    if (end > start) end -= end > 1 && text.codePointAt(end - 2)! > 0xffff ? 2 : 1
  starts[last] = start
  ends[last] = Math.max(start, end)
}
