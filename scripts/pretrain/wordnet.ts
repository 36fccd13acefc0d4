// Reads the data files of WordNet (format: wndb(5WN)).

import { openSource, textOf } from './sources.ts'
import { cleanLine } from './text.ts'

/** One set of synonyms with its gloss. `file` is the number of its lexicographer file. */
export interface Synset {
  readonly id: string
  readonly file: number
  readonly lemmas: readonly string[]
  readonly definition: string
  readonly examples: readonly string[]
  /** Whether it names one thing, such as a person or a place, in place of a kind. */
  readonly isInstance: boolean
}

export const PARTS = ['noun', 'verb', 'adj', 'adv'] as const

/** The synsets of one part of speech, in file order. */
export function synsets(part: (typeof PARTS)[number]): Synset[] {
  const lines = textOf(openSource('wordnet'), `dict/data.${part}`).split('\n')
  return lines.filter(line => /^\d{8} /.test(line)).map(line => parse(part, line))
}

function parse(part: string, line: string): Synset {
  const bar = line.indexOf('| ')
  const fields = line.slice(0, bar).split(' ')
  const count = Number.parseInt(fields[3] ?? '0', 16)
  const lemmas = Array.from({ length: count }, (_, i) => lemma(fields[4 + 2 * i] ?? ''))
  const gloss = cleanLine(line.slice(bar + 2))
  const start = gloss.search(/[;:]\s*"/)
  const head = start < 0 ? gloss : gloss.slice(0, start)
  const examples = start < 0 ? [] : [...gloss.slice(start).matchAll(/"([^"]+)"/g)].map(match => match[1]!.trim())
  return {
    id: `${part}:${fields[0]}`,
    file: Number(fields[1]),
    lemmas,
    definition: head.replace(/[;:,\s]+$/, ''),
    examples,
    isInstance: fields.includes('@i'),
  }
}

/** Adjectives carry a syntactic marker such as `(p)`, and spaces are written `_`. */
function lemma(field: string): string {
  return field.replace(/\((?:a|p|ip)\)$/, '').replaceAll('_', ' ')
}
