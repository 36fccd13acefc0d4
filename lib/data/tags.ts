// Entity tags: which scheme a list of them follows, and one scheme as another.

import { must, nth } from '../tuple.ts'

/**
 * IOB1: B only between neighbours of one type; IOB2: B starts every entity; BIOES (BILOU, BMES) marks ends and singles;
 * none: no tags of entities.
 */
export type TagScheme = 'IOB1' | 'IOB2' | 'BIOES' | 'none'

const shape = /^([BIESLUM])-(.+)$/s

/** Whether a tag is that of an entity, or O. */
export function isEntityTag(tag: string): boolean {
  return tag === 'O' || shape.test(tag)
}

/**
 * The scheme of tagged sentences: BIOES when E, S, L, U or M occurs; IOB1 when an I starts an entity; IOB2 when every
 * entity starts with B; 'none' when there are no such tags (part-of-speech tags, for one).
 */
export function detectScheme(sentences: Iterable<readonly string[]>): TagScheme {
  let scheme: TagScheme = 'none'
  for (const tags of sentences) {
    const found = schemeOf(tags)
    if (found === 'BIOES') return found
    if (found === 'IOB1' || scheme === 'none') scheme = found
  }
  return scheme
}

/** Whether sentences are IOB1 and nothing else: each B parts two neighbours of one type. */
export function isPureIob1(sentences: Iterable<readonly string[]>): boolean {
  let starts = false
  for (const tags of sentences)
    for (const [i, tag] of tags.entries()) {
      const match = shape.exec(tag)
      if (!match) continue
      const follows = i > 0 && shape.exec(nth(tags, i - 1))?.[2] === match[2]
      if (match[1] === 'B' ? !follows : match[1] !== 'I') return false
      starts ||= match[1] === 'I' && !follows
    }
  return starts
}

/** One sentence's tags in IOB2, entities as conlleval reads them; tags of other shapes stay as they are. */
export function toIob2(tags: readonly string[]): string[] {
  let type = ''
  let open = false
  return tags.map(tag => {
    const match = shape.exec(tag)
    if (!match) {
      open = false
      return tag
    }
    const [, prefix, found] = match
    const starts = !open || found !== type || prefix === 'B' || prefix === 'S' || prefix === 'U'
    type = must(found, 'found')
    open = prefix === 'B' || prefix === 'I' || prefix === 'M'
    return `${starts ? 'B' : 'I'}-${type}`
  })
}

/** Spells tags of one sentence in IOB2 as another scheme. */
type Spelling = (tags: readonly string[]) => string[]

/**
 * How a model with these labels spells entities: by the letters it has, and by types that have an I- but no B- label
 * (IOB1).
 */
export function spellingOf(labels: readonly string[]): Spelling {
  const parts = labels.flatMap(label => {
    const match = shape.exec(label)
    return match ? [[nth(match, 1), nth(match, 2)] as const] : []
  })
  const has = (letter: string) => parts.some(([prefix]) => prefix === letter)
  const known = new Set(labels)
  if (['E', 'S', 'L', 'U', 'M'].some(has)) {
    const letters = { inside: has('M') ? 'M' : 'I', end: has('L') ? 'L' : 'E', single: has('U') ? 'U' : 'S' }
    return tags => withEnds(tags, letters)
  }
  if (parts.some(([prefix, type]) => prefix === 'I' && !known.has(`B-${type}`))) return tags => toIob1(tags, known)
  return tags => [...tags]
}

function withEnds(tags: readonly string[], letters: { inside: string; end: string; single: string }): string[] {
  return tags.map((tag, i) => {
    const match = shape.exec(tag)
    if (!match) return tag
    const [, prefix, type] = match
    const goesOn = tags[i + 1] === `I-${type}`
    if (prefix === 'B') return goesOn ? tag : `${letters.single}-${type}`
    return `${goesOn ? letters.inside : letters.end}-${type}`
  })
}

function toIob1(tags: readonly string[], known: ReadonlySet<string>): string[] {
  return tags.map((tag, i) => {
    const match = shape.exec(tag)
    if (match?.[1] !== 'B') return tag
    const follows = shape.exec(tags[i - 1] ?? '')?.[2] === match[2]
    return follows && known.has(tag) ? tag : `I-${match[2]}`
  })
}

function schemeOf(tags: readonly string[]): TagScheme {
  let previous = ''
  let scheme: TagScheme = 'none'
  for (const tag of tags) {
    const match = shape.exec(tag)
    const type = match?.[2] ?? ''
    if (match && 'ESLUM'.includes(nth(match, 1))) return 'BIOES'
    if (match?.[1] === 'I' && type !== previous) scheme = 'IOB1'
    else if (match && scheme === 'none') scheme = 'IOB2'
    previous = type
  }
  return scheme
}
