// Tokens that are found in the text before anything is split: [MASK], <|endoftext|>.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { codePointIn, nth } from '../tuple.ts'
import { asArray, asObject } from './json.ts'
import type { Normalizer } from './normalizers.ts'
import { Piece } from './piece.ts'
import { Trie } from './trie.ts'
import { isWhiteSpace, isWord } from './unicode.ts'
import { checkId, type Vocabulary } from './vocabulary.ts'

/** An entry of `added_tokens`. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
  /** Found only where no letter or digit touches it. */
  readonly singleWord: boolean
  /** Takes the white space before it along. */
  readonly lstrip: boolean
  readonly rstrip: boolean
  /** Looked for in the normalised text. */
  readonly normalized: boolean
  /** Whether it is looked for in a text at all. */
  readonly searched: boolean
}

/** A part of a text: the id of an added token, or text that is yet to be tokenised. */
interface Part {
  readonly piece: Piece
  readonly id: number | undefined
}

/**
 * Ids are those of the vocabulary, or follow it in the order of the list, as the Rust library gives them, whatever the
 * list says. Of two tokens with one text the last says how it is found.
 * @throws ERR_CONFIG for a token without content or id
 */
export function readAddedTokens(value: unknown, vocabulary: Vocabulary): AddedToken[] {
  const tokens = new Map<number, AddedToken>()
  let next = vocabulary.ids.size
  for (const item of asArray(value)) {
    const token = asObject(item)
    check(typeof token?.content === 'string' && token.id !== undefined, 'ERR_CONFIG', () => {
      return `tokenizer: an added token is without content or id: ${shown(item)}`
    })
    const { content } = token
    checkId(content, token.id, 'added_tokens')
    if (content === '') continue
    const id = vocabulary.id(content) ?? next++
    const special = token.special === true
    vocabulary.add(content, id)
    tokens.set(id, {
      id,
      content,
      special,
      singleWord: token.single_word === true,
      lstrip: token.lstrip === true,
      rstrip: token.rstrip === true,
      normalized: typeof token.normalized === 'boolean' ? token.normalized : !special,
      searched: token.searched !== false,
    })
  }
  return [...tokens.values()]
}

/** What a token that is looked for in the normalised text looks like there. */
export function normalText(token: AddedToken, normalize: Normalizer): string {
  return token.normalized ? normalize(new Piece(token.content)).text : token.content
}

/** Cuts a text at its added tokens and normalises what lies between. */
export function tokenFinder(all: readonly AddedToken[], normalize: Normalizer): (text: string) => Part[] {
  const tokens = all.filter(token => token.searched)
  const raw = finder(tokens.filter(token => !token.normalized).map(token => [token.content, token]))
  const normalised = tokens.filter(token => token.normalized)
  const later = finder(normalised.map(token => [normalText(token, normalize), token]))
  return text =>
    raw({ piece: new Piece(text), id: undefined }).flatMap(part =>
      part.id === undefined ? later({ piece: normalize(part.piece), id: undefined }) : [part],
    )
}

type Finder = (part: Part) => Part[]

function finder(entries: readonly (readonly [text: string, token: AddedToken])[]): Finder {
  const byText = new Map(entries.filter(([text]) => text !== ''))
  if (byText.size === 0) return part => (part.piece.text === '' ? [] : [part])
  const trie = new Trie()
  const starts = new Uint8Array(0x10000)
  const tokens = [...byText.values()]
  for (const [i, text] of [...byText.keys()].entries()) {
    trie.add(text, i)
    starts[text.charCodeAt(0)] = 1
  }
  return ({ piece }) => {
    const parts: Part[] = []
    const { text } = piece
    let last = 0
    for (let at = 0; at < text.length; ) {
      const [entry, end] = starts[text.charCodeAt(at)] ? longest(trie, text, at) : nothing
      const span = entry < 0 ? undefined : spanOf(text, at, end, nth(tokens, entry), last)
      at = entry < 0 ? at + 1 : end
      if (!span) continue
      const [from, to] = span
      // The Rust library goes on from the end of the last match, even where the one before had taken more white space.
      if (from > last) parts.push({ piece: piece.slice(last, from), id: undefined })
      parts.push({ piece: piece.slice(from, to), id: nth(tokens, entry).id })
      last = to
    }
    if (last < text.length) parts.push({ piece: piece.slice(last, text.length), id: undefined })
    return parts
  }
}

const nothing = [-1, 0] as const

/** The longest entry that begins at a place, and where it ends; −1 without one. */
function longest(trie: Trie, text: string, at: number): readonly [entry: number, end: number] {
  let found: readonly [number, number] = nothing
  for (let node = 0, end = at; end < text.length; ) {
    node = trie.child(node, text.charCodeAt(end++))
    if (node < 0) break
    if (trie.entry(node) >= 0) found = [trie.entry(node), end]
  }
  return found
}

/** What a token found at [start, end) takes; undefined where it may not stand. */
function spanOf(
  text: string,
  start: number,
  end: number,
  token: AddedToken,
  last: number,
): [from: number, to: number] | undefined {
  if (
    token.singleWord &&
    ((start > 0 && isWord(charBefore(text, start))) || (end < text.length && isWord(charAt(text, end))))
  )
    return undefined
  let from = start
  let to = end
  while (token.lstrip && from > 0 && isWhiteSpace(text.charAt(from - 1))) from--
  if (token.lstrip) from = Math.max(from, last)
  while (token.rstrip && to < text.length && isWhiteSpace(text.charAt(to))) to++
  return from < to ? [from, to] : undefined
}

const charAt = (text: string, at: number) => String.fromCodePoint(codePointIn(text, at))
const charBefore = (text: string, at: number) => {
  const pair = at > 1 ? codePointIn(text, at - 2) : 0
  return pair > 0xffff ? String.fromCodePoint(pair) : text.charAt(at - 1)
}
