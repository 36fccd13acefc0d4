// Entity-level scores of tag sequences, equal to seqeval's: `default` is conlleval's chunking, `strict` is IOB2.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { checkOptions } from '../options.ts'
import { isOneOf, nth, under } from '../tuple.ts'
import { type Counts, checkPaired, meanScores, type Scores, scoresFromCounts } from './scores.ts'

/** `default` lets an I- tag start an entity, as conlleval does; `strict` drops an I- without its B- (IOB2). */
export type EntityMode = (typeof MODES)[number]

const MODES = ['default', 'strict'] as const

function checkMode(mode: unknown): void {
  check(isOneOf(MODES, mode), 'ERR_OPTION', () => `mode: ${shown(mode)} is none; use ${MODES.join(' or ')}`)
}

/** One entity: words [start, end) of its sentence. */
export type EntitySpan = { type: string; start: number; end: number }

/** Everything the CLI and the report say about one mode's entities. */
export type EntityReport = {
  mode: EntityMode
  sentences: number
  micro: Scores
  macro: Scores
  weighted: Scores
  /** One row per entity type, sorted by type. */
  types: (Scores & { label: string; predicted: number })[]
  /** Share of equal tags. */
  tokenAccuracy: number
  /** The same over the words whose gold tag is not O; NaN where there are none. */
  tokenAccuracyWithoutO: number
}

/** Hits, predictions and gold entities by type. */
type EntityCounts = Map<string, Counts>

/** Tags of the words of a sentence: `O`, `B-PER`, `I-PER`. */
export type Tags = readonly string[]

function parseTag(tag: string): { prefix: string; type: string } {
  const [prefix] = tag
  check(prefix !== undefined, 'ERR_DATA', () => 'entities: an empty tag; outside is "O"')
  const rest = tag.slice(prefix.length)
  const dash = rest.indexOf('-')
  return { prefix, type: rest.slice(dash + 1) || '_' }
}

function endsChunk(previous: string, prefix: string, sameType: boolean): boolean {
  if ('ES'.includes(previous)) return true
  if ('BI'.includes(previous) && 'BSO'.includes(prefix)) return true
  return !'O.'.includes(previous) && !sameType
}

function startsChunk(previous: string, prefix: string, sameType: boolean): boolean {
  if ('BS'.includes(prefix)) return true
  if ('ESO'.includes(previous) && 'EI'.includes(prefix)) return true
  return !'O.'.includes(prefix) && !sameType
}

function defaultSpans(tags: Tags): EntitySpan[] {
  const spans: EntitySpan[] = []
  let previous = { prefix: 'O', type: '' }
  let start = 0
  for (let i = 0; i <= tags.length; i++) {
    const current = i < tags.length ? parseTag(nth(tags, i)) : { prefix: 'O', type: '_' }
    const sameType = previous.type === current.type
    if (endsChunk(previous.prefix, current.prefix, sameType)) spans.push({ type: previous.type, start, end: i })
    if (startsChunk(previous.prefix, current.prefix, sameType)) start = i
    previous = current
  }
  return spans
}

function strictSpans(tags: Tags): EntitySpan[] {
  const spans: EntitySpan[] = []
  let open: EntitySpan | undefined
  for (const [i, tag] of tags.entries()) {
    check(
      'BIO'.includes(tag.charAt(0) || '?'),
      'ERR_DATA',
      () => `entities: tag "${tag}" is not IOB2 (O, B-x, I-x); use mode "default" for other schemes`,
    )
    const type = tag.slice(1).replace(/^-+|-+$/g, '') || '_'
    if (open && tag[0] === 'I' && open.type === type) {
      open.end = i + 1
      continue
    }
    open = tag[0] === 'B' ? { type, start: i, end: i + 1 } : undefined
    if (open) spans.push(open)
  }
  return spans
}

/** The entities of one sentence. Throws ERR_DATA for an empty tag, and in strict mode for one that is not IOB2. */
export function entitySpans(tags: Tags, mode: EntityMode = 'default'): EntitySpan[] {
  checkMode(mode)
  return mode === 'strict' ? strictSpans(tags) : defaultSpans(tags)
}

function checkSentences(gold: readonly Tags[], predicted: readonly Tags[]): void {
  checkPaired('entities', gold, predicted)
  for (const [i, tags] of gold.entries())
    check(
      tags.length === nth(predicted, i).length,
      'ERR_DATA',
      () => `entities: sentence ${i} has ${tags.length} gold tags but ${nth(predicted, i).length} predicted ones`,
    )
}

// seqeval's default mode scans all sentences as one sequence with an O after each, and a malformed tag may reach back
// over that O; scanning sentence by sentence would differ there.
function joinSentences(sentences: readonly Tags[]): string[] {
  return sentences.flatMap(tags => [...tags, 'O'])
}

function spansBySentence(sentences: readonly Tags[], mode: EntityMode): string[][] {
  const key = (span: EntitySpan, base: number) => `${span.start - base} ${span.end - base} ${span.type}`
  if (mode === 'strict') return sentences.map(tags => strictSpans(tags).map(span => key(span, 0)))
  const bySentence: string[][] = sentences.map(() => [])
  let sentence = 0
  let base = 0
  for (const span of defaultSpans(joinSentences(sentences))) {
    while (span.end > base + nth(sentences, sentence).length + 1) base += nth(sentences, sentence++).length + 1
    nth(bySentence, sentence).push(key(span, base))
  }
  return bySentence
}

function countInto(counts: EntityCounts, key: string, field: keyof Counts): void {
  const type = key.slice(key.indexOf(' ', key.indexOf(' ') + 1) + 1)
  let row = counts.get(type)
  if (!row) {
    row = { truePositive: 0, predicted: 0, gold: 0 }
    counts.set(type, row)
  }
  row[field]++
}

/** Counts of each sentence, for resampling; their sums are the counts of the corpus. */
export function entityCountsBySentence(
  gold: readonly Tags[],
  predicted: readonly Tags[],
  mode: EntityMode = 'default',
): EntityCounts[] {
  checkMode(mode)
  checkSentences(gold, predicted)
  const goldSpans = spansBySentence(gold, mode)
  const predictedSpans = spansBySentence(predicted, mode)
  return goldSpans.map((keys, i) => {
    const counts: EntityCounts = new Map()
    const goldKeys = new Set(keys)
    for (const key of goldKeys) countInto(counts, key, 'gold')
    for (const key of new Set(predictedSpans[i])) {
      countInto(counts, key, 'predicted')
      if (goldKeys.has(key)) countInto(counts, key, 'truePositive')
    }
    return counts
  })
}

function sumCounts(sentences: readonly EntityCounts[]): EntityCounts {
  const total: EntityCounts = new Map()
  for (const sentence of sentences)
    for (const [type, c] of sentence) {
      const sum = total.get(type) ?? { truePositive: 0, predicted: 0, gold: 0 }
      sum.truePositive += c.truePositive
      sum.predicted += c.predicted
      sum.gold += c.gold
      total.set(type, sum)
    }
  return total
}

function byCodePoint(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function tokenAccuracies(
  gold: readonly Tags[],
  predicted: readonly Tags[],
): Pick<EntityReport, 'tokenAccuracy' | 'tokenAccuracyWithoutO'> {
  const all = { right: 0, total: 0 }
  const inside = { right: 0, total: 0 }
  for (const [i, tags] of gold.entries())
    for (const [j, tag] of tags.entries()) {
      const right = tag === nth(predicted, i)[j] ? 1 : 0
      all.right += right
      all.total++
      if (tag === 'O') continue
      inside.right += right
      inside.total++
    }
  return { tokenAccuracy: all.right / all.total, tokenAccuracyWithoutO: inside.right / inside.total }
}

/**
 * All entity scores of one mode.
 *
 * A ratio 0/0 is `zeroDivision` (0 or 1). Where seqeval's macro average is NaN because there is no entity on either
 * side, this gives `zeroDivision` too.
 *
 * @param gold tags of each sentence's words
 * @param predicted the same shape
 */
export function entityReport(
  gold: readonly Tags[],
  predicted: readonly Tags[],
  options: { mode?: EntityMode; zeroDivision?: 0 | 1 } = {},
): EntityReport {
  checkOptions('entityReport', options, { mode: true, zeroDivision: true })
  const { mode = 'default', zeroDivision = 0 } = options
  const total = sumCounts(entityCountsBySentence(gold, predicted, mode))
  const names = [...total.keys()].sort(byCodePoint)
  const counts = names.map(name => under(total, name))
  const rows = counts.map(c => entityScores(c, zeroDivision))
  return {
    mode,
    sentences: gold.length,
    micro: entityScores(microCounts(counts), zeroDivision),
    macro: rows.length === 0 ? entityScores(microCounts([]), zeroDivision) : meanScores(rows),
    weighted: weightedScores(rows, counts, zeroDivision),
    types: rows.map((scores, i) => ({ label: nth(names, i), ...scores, predicted: nth(counts, i).predicted })),
    ...tokenAccuracies(gold, predicted),
  }
}

function microCounts(counts: readonly Counts[]): Counts {
  const sum = (field: keyof Counts) => counts.reduce((total, c) => total + c[field], 0)
  return { truePositive: sum('truePositive'), predicted: sum('predicted'), gold: sum('gold') }
}

// seqeval's F1 comes from precision and recall, so with zeroDivision 1 it is not that of scikit-learn.
function entityScores(counts: Counts, zeroDivision: 0 | 1): Scores {
  const { precision, recall, support } = scoresFromCounts(counts, zeroDivision)
  const sum = precision + recall
  return { precision, recall, f1: sum === 0 ? 0 : (2 * precision * recall) / sum, support }
}

function weightedScores(rows: readonly Scores[], counts: readonly Counts[], zeroDivision: 0 | 1): Scores {
  const { predicted, gold } = microCounts(counts)
  if (gold > 0)
    return meanScores(
      rows,
      counts.map(c => c.gold),
    )
  const alone = predicted === 0 ? zeroDivision : 0
  return { precision: alone, recall: zeroDivision, f1: alone, support: 0 }
}
