// Decoders of tokenizer.json: tokens back to text.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { byteOf } from './bytes.ts'
import { asArray, asObject, type Fields } from './json.ts'
import { replaced } from './normalizers.ts'
import { readPattern } from './pattern.ts'
import { Piece } from './piece.ts'

/** Turns tokens into parts of a text, which are then joined. */
type TokenDecoder = (tokens: readonly string[]) => readonly string[]

/** The decoder that a `decoder` entry describes. @throws ERR_UNSUPPORTED, ERR_CONFIG */
export function readDecoder(value: unknown): TokenDecoder {
  const config = asObject(value)
  if (!config) return tokens => [tokens.join(' ')]
  const type = String(config.type)
  const read = Object.hasOwn(known, type) ? known[type] : undefined
  check(read, 'ERR_UNSUPPORTED', () => `tokenizer: the decoder ${shown(type)} is not known`)
  return read(config)
}

const known: Readonly<Record<string, (config: Fields) => TokenDecoder>> = {
  Sequence: config => {
    const steps = asArray(config.decoders).map(readDecoder)
    return tokens => steps.reduce((now, step) => step(now), tokens)
  },
  ByteLevel: () => tokens => [lossy(tokens.flatMap(byteLevelBytes))],
  WordPiece: config => {
    const prefix = typeof config.prefix === 'string' ? config.prefix : '##'
    const clean = config.cleanup === false ? (text: string) => text : cleaned
    return tokens =>
      tokens.map((token, i) => {
        if (i === 0) return clean(token)
        return clean(token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`)
      })
  },
  Metaspace: config => {
    const mark = typeof config.replacement === 'string' ? config.replacement : '▁'
    const prefixed = (config.prepend_scheme ?? (config.add_prefix_space === false ? 'never' : 'always')) !== 'never'
    return tokens => tokens.map((token, i) => token.replaceAll(mark, i === 0 && prefixed ? '' : ' '))
  },
  BPEDecoder: config => {
    const suffix = typeof config.suffix === 'string' ? config.suffix : '</w>'
    return tokens => tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? '' : ' '))
  },
  ByteFallback: () => byteFallback,
  Fuse: () => tokens => [tokens.join('')],
  Strip: config => {
    const content = String(config.content)
    const [start, stop] = [Number(config.start), Number(config.stop)]
    return tokens => tokens.map(token => strippedOf(token, content, start, stop))
  },
  Replace: config => {
    const pattern = readPattern(config.pattern, 'decoder Replace')
    const content = String(config.content ?? '')
    return tokens => tokens.map(token => replaced(new Piece(token), pattern, content).text)
  },
}

function byteLevelBytes(token: string): readonly number[] {
  const bytes = [...token].map(byteOf)
  return bytes.every(byte => byte !== undefined) ? bytes : [...Buffer.from(token)]
}

function lossy(bytes: readonly number[]): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes))
}

/** Spaces before punctuation and English contractions go. */
function cleaned(text: string): string {
  let result = text
  for (const [from, to] of [
    [' .', '.'],
    [' ?', '?'],
    [' !', '!'],
    [' ,', ','],
    [" ' ", "'"],
    [" n't", "n't"],
    [" 'm", "'m"],
    [' do not', " don't"],
    [" 's", "'s"],
    [" 've", "'ve"],
    [" 're", "'re"],
  ] as const)
    result = result.replaceAll(from, to)
  return result
}

function byteFallback(tokens: readonly string[]): string[] {
  const result: string[] = []
  let bytes: number[] = []
  const flush = () => {
    if (bytes.length === 0) return
    try {
      result.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)))
    } catch {
      for (const _ of bytes) result.push('\uFFFD')
    }
    bytes = []
  }
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1]
    if (byte) {
      bytes.push(Number.parseInt(byte, 16))
      continue
    }
    flush()
    result.push(token)
  }
  flush()
  return result
}

function strippedOf(token: string, content: string, start: number, stop: number): string {
  const chars = [...token]
  let from = 0
  while (from < start && from < chars.length && chars[from] === content) from++
  let to = chars.length
  while (chars.length - to < stop && to > 0 && chars[to - 1] === content) to--
  return chars.slice(from, Math.max(from, to)).join('')
}
