// Entity tags: which scheme a list of them follows, and one scheme as another.

import { must, nth } from '../tuple.ts'
import { changed, type List } from './list.ts'

/**
 * IOB1: B only between neighbours of one type; IOB2: B starts every entity; BIOES (BILOU, BMES, BMEW) marks ends and
 * singles; none: no tags of entities.
 */
export type TagScheme = 'IOB1' | 'IOB2' | 'BIOES' | 'none'

// B-PER, and B_PER, which some corpora write.
const shape = /^([BIESLUMW])[-_](.+)$/s
const usual = /^(?:O$|[BI]-)/
// PER-B, PER_B.
const typeFirst = /^(.+)([-_])([BIESLUMW])$/s

/** Whether a tag is that of an entity, or O. */
export function isEntityTag(tag: string): boolean {
  return tag === 'O' || shape.test(tag)
}

/** Each tag that occurs. */
export function tagsOf(sentences: Iterable<readonly string[]>): Set<string> {
  const found = new Set<string>()
  for (const tags of sentences) for (const tag of tags) found.add(tag)
  return found
}

/** Whether these labels, all of them together, are tags of entities. */
export function areEntityTags(labels: readonly string[]): boolean {
  return labels.some(label => label !== 'O') && withPlaceFirst(labels).every(isEntityTag)
}

/**
 * Whether tags are of entities and have the type first: O, and PER-B and PER-I and their kin. One tag cannot tell,
 * since other names end so by chance: all must, some not read the other way round too, a type that goes on must begin,
 * and one must go on.
 */
export function haveTypeFirst(tags: Iterable<string>): boolean {
  const letters = new Map<string, string>()
  let hasOutside = false
  let isOtherWay = true
  for (const tag of new Set(tags)) {
    if (tag === 'O') hasOutside = true
    if (tag === 'O') continue
    const [, type, , letter = ''] = typeFirst.exec(tag) ?? []
    if (type === undefined) return false
    isOtherWay &&= shape.test(tag)
    letters.set(type, `${letters.get(type) ?? ''}${letter}`)
  }
  const goesOn = (found: string) => /[IMEL]/.test(found)
  const all = [...letters.values()]
  return hasOutside && !isOtherWay && all.some(goesOn) && all.every(found => !goesOn(found) || found.includes('B'))
}

/** A tag that has its type first, with its place first. */
export function placeFirst(tag: string): string {
  return tag.replace(typeFirst, '$3$2$1')
}

/** Tags with the place first, whichever of the two they have first. */
export function withPlaceFirst(tags: readonly string[], all: Iterable<string> = tags): readonly string[] {
  return haveTypeFirst(all) ? tags.map(placeFirst) : tags
}

/** Sentences of tags with the place first, whichever of the two all of them together have first. */
export function sentencesWithPlaceFirst(sentences: List<readonly string[]>): List<readonly string[]> {
  return haveTypeFirst(tagsOf(sentences)) ? changed(sentences, tags => tags.map(placeFirst)) : sentences
}

/**
 * The scheme of tagged sentences: BIOES when E, S, L, U, M or W occurs; IOB1 when an I starts an entity; IOB2 when
 * every entity starts with B; 'none' when there are no such tags (part-of-speech tags, for one).
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
    const starts = !open || found !== type || 'BSUW'.includes(must(prefix, 'prefix'))
    type = must(found, 'found')
    open = prefix === 'B' || prefix === 'I' || prefix === 'M'
    return `${starts ? 'B' : 'I'}-${type}`
  })
}

/** Spells tags of one sentence in IOB2 as another scheme. */
type Spelling = (tags: readonly string[]) => string[]

/** The type of a tag's entity; a tag of another shape as it is. */
export function entityType(tag: string): string {
  return shape.exec(tag)?.[2] ?? tag
}

/** Whether every type that has an I- has a B- too. */
export function haveBegins(labels: Iterable<string>): boolean {
  const known = new Set(labels)
  return [...known].every(label => shape.exec(label)?.[1] !== 'I' || known.has(`B${label.slice(1)}`))
}

/** Whether tags of these labels are read as they are: O, and B- and I- for each type. */
export function areUsualTags(labels: readonly string[]): boolean {
  return labels.every(label => usual.test(label)) && haveBegins(labels)
}

/** Whether tags bear the letters of a scheme that marks ends. */
export function markEnds(tags: Iterable<string>): boolean {
  for (const tag of tags) if ('ESLUW'.includes(shape.exec(tag)?.[1] ?? ' ')) return true
  return false
}

/** Letters and sign with which a model writes tags. */
interface Letters {
  readonly sign: string
  readonly inside: string
  readonly end: string
  readonly single: string
}

/**
 * How a model with these labels spells entities: by the letters it has, and by types that have an I- but no B- label
 * (IOB1).
 */
export function spellingOf(labels: readonly string[]): Spelling {
  if (haveTypeFirst(labels)) {
    const spell = spellingOf(labels.map(placeFirst))
    return tags => spell(tags).map(tag => tag.replace(/^([BIESLUMW])([-_])(.+)$/s, '$3$2$1'))
  }
  const entities = labels.filter(label => shape.test(label))
  const sign = entities.length > 0 && entities.every(label => label[1] === '_') ? '_' : '-'
  const has = (letter: string) => entities.some(label => label.startsWith(letter))
  const known = new Set(labels)
  if (['E', 'S', 'L', 'U', 'M', 'W'].some(has)) {
    const end = ['L', 'E'].find(has) ?? 'I'
    const inside = ['I', 'M'].find(has) ?? end
    return tags => withEnds(tags, { sign, inside, end, single: ['U', 'S', 'W'].find(has) ?? 'B' })
  }
  if (!haveBegins(entities)) return tags => toIob1(tags, known, sign)
  return tags => tags.map(tag => (shape.test(tag) ? tag[0] + sign + tag.slice(2) : tag))
}

function withEnds(tags: readonly string[], { sign, inside, end, single }: Letters): string[] {
  return tags.map((tag, i) => {
    const match = shape.exec(tag)
    if (!match) return tag
    const [, prefix, type] = match
    const goesOn = tags[i + 1] === `I-${type}`
    const letter = prefix === 'B' ? (goesOn ? 'B' : single) : goesOn ? inside : end
    return `${letter}${sign}${type}`
  })
}

function toIob1(tags: readonly string[], known: ReadonlySet<string>, sign: string): string[] {
  return tags.map((tag, i) => {
    const match = shape.exec(tag)
    if (!match) return tag
    const [, prefix, type] = match
    const follows = prefix === 'B' && shape.exec(tags[i - 1] ?? '')?.[2] === type
    const first = `B${sign}${type}`
    return follows && known.has(first) ? first : `I${sign}${type}`
  })
}

function schemeOf(tags: readonly string[]): TagScheme {
  let previous = ''
  let scheme: TagScheme = 'none'
  for (const tag of tags) {
    const match = shape.exec(tag)
    const type = match?.[2] ?? ''
    if (match && 'ESLUMW'.includes(nth(match, 1))) return 'BIOES'
    if (match?.[1] === 'I' && type !== previous) scheme = 'IOB1'
    else if (match && scheme === 'none') scheme = 'IOB2'
    previous = type
  }
  return scheme
}
