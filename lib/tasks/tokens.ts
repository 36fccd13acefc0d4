// Token classification: a tag for each word. Tags of entities (B-x, I-x …) are scored as spans, others word by word.

import { type Columns, columnOf } from '../data/columns.ts'
import { mapRows } from '../data/duplicates.ts'
import { type Example, firstPieces, IGNORED } from '../data/example.ts'
import { labelId, tagLabelsOf } from '../data/labels.ts'
import { changed, joinedLists, type List } from '../data/list.ts'
import { taggedWords } from '../data/places.ts'
import { listOf, placeOf, type Row, textOf } from '../data/row.ts'
import {
  areEntityTags,
  areUsualTags,
  detectScheme,
  entityType,
  haveBegins,
  haveTypeFirst,
  isEntityTag,
  isPureIob1,
  markEnds,
  placeFirst,
  sentencesWithPlaceFirst,
  spellingOf,
  tagsOf,
  toIob2,
  withPlaceFirst,
} from '../data/tags.ts'
import { splitWords } from '../data/words.ts'
import { check, fail } from '../errors.ts'
import { tokenHead } from '../heads/tokenClassification.ts'
import { shown } from '../io/json.ts'
import { bootstrapEntityF1 } from '../metrics/compare.ts'
import { type EntitySpan, entityReport, entitySpans } from '../metrics/entities.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { must, nth } from '../tuple.ts'
import { type ItemsPrediction, readItems, rightItems, shareOfItems, viewItems, wrongItem } from './items.ts'
import { averageTitles, balancedWeights, bootstrapShares, classScores, named, oneClass, rarest } from './shared.ts'
import type {
  Answer,
  Converted,
  EncodeSpec,
  LabelSource,
  Mistake,
  PredictionRecord,
  Reader,
  Task,
  TextPiece,
  TextRun,
} from './task.ts'
import { mergeWords, wordWindows } from './windows.ts'

/** An entity of a sentence: words [start, end), and what it says. */
interface EntityRecord extends EntitySpan {
  readonly text: string
  /** Least probability of its words. */
  readonly probability: number
}

const name = tokenHead.task
const namesOf = (ids: Int32Array, labels: readonly string[]): string[] => Array.from(ids, id => nth(labels, id))

/**
 * Weight of what is no entity. The F1 that a model can reach is reached where words are tagged from half of it on as a
 * probability (Lipton et al. 2014), so from less than one half: docs/defaults.md has what was measured.
 */
const OUTSIDE = 0.4

/**
 * A row of tags teaches as much as it has words, so a run needs fewer steps, and lower ones, than where a row has one
 * label: docs/defaults.md has what was measured.
 */
const PACE = { lr: 0.5, steps: 0.5 }

/** Tags as spans are read from them: as IOB2, where the labels are of another scheme. */
const readable = (tags: readonly string[], labels: readonly string[]) =>
  areUsualTags(labels) ? tags : toIob2(withPlaceFirst(tags, labels))

const spansOf = (ids: Int32Array, labels: readonly string[]) => entitySpans(readable(namesOf(ids, labels), labels))

/** What predict tells of a sentence: its entities, or words and tags where these are none. */
type TagsRecord = PredictionRecord & {
  readonly tags: readonly string[]
  readonly words?: readonly string[]
  readonly entities?: readonly EntityRecord[]
}

/** A tag for each word. */
export const tokens: Task<ItemsPrediction, TagsRecord> = {
  name,
  needs: 'words and tags (columns.tokens, columns.tags)',
  title: 'token classification',

  adopt: taggedWords,
  infer(rows, { tokens, tags }, asked) {
    if (tokens === undefined || (asked.task !== undefined && asked.task !== name)) return undefined
    check(tags !== undefined, 'ERR_DATA', () => `task: words in "${tokens}" but no tags; name them with columns.tags`)
    const isNumbers = (list: unknown) => Array.isArray(list) && list.every(Number.isInteger)
    const numbers = asked.labels === undefined && rows.every(({ values }) => isNumbers(values[tags]))
    const unnamed = numbers ? ', a number; labels name them in the order of their numbers (O,B-PER,I-PER)' : ''
    return `"${tokens}" holds words and "${tags}" one tag a word${unnamed}`
  },
  convert: convertTags,
  labels: (rows, columns, order) => tagLabelsOf(rows, columnOf(columns, 'tags'), order),
  strata(rows, columns) {
    const sentences = changed(rows, row => listOf(row, columnOf(columns, 'tags')))
    return rarest(changed(sentencesWithPlaceFirst(sentences), typesOf))
  },
  readable: asWords,
  encode: encodeTagged,
  parts: (row, tokenizer, { columns, maxLength }) =>
    wordWindows(row, wordsOf(row, columnOf(columns, 'tokens')), tokenizer, maxLength),
  merge: mergeWords,

  *classes(label) {
    if (label instanceof Int32Array) for (const id of label) if (id !== IGNORED) yield id
  },
  pace: PACE,
  weights: labels => (areEntityTags(labels) ? labels.map(label => (label === 'O' ? OUTSIDE : 1)) : undefined),
  balance: balancedWeights,
  checkCounts: (split, counts, labels) => (split === 'train' ? oneClass(split, counts, labels) : []),

  read: (answers, examples, batch) =>
    readItems(answers, examples, (example, i) => {
      const start = nth(batch.cuSeqlens, i)
      const at = answered(example)
      return { positions: Int32Array.from(at), rows: at.map(t => start + t) }
    }),
  score(predictions, labels) {
    if (!areEntityTags(labels)) {
      const all = (of: 'gold' | 'predicted') => predictions.flatMap(p => Array.from(must(p[of], of)))
      return classScores(all('gold'), all('predicted'), labels)
    }
    const sentences = (of: 'gold' | 'predicted') =>
      predictions.map(p => readable(namesOf(must(p[of], of), labels), labels))
    const [gold, predicted] = [sentences('gold'), sentences('predicted')]
    const entities = entityReport(gold, predicted)
    const entitiesStrict = entityReport(gold, predicted, { mode: 'strict' })
    const metrics = {
      ...named('', entities.micro),
      ...named('macro', entities.macro),
      ...named('weighted', entities.weighted),
      ...named('strict', entitiesStrict.micro),
      accuracy: entities.tokenAccuracy,
      accuracyWithoutO: entities.tokenAccuracyWithoutO,
    }
    return { metrics, reports: { entities, entitiesStrict } }
  },
  metric: labels => (areEntityTags(labels) ? 'f1' : 'accuracy'),
  sample: () => ({
    positions: Int32Array.of(0),
    gold: Int32Array.of(0),
    predicted: Int32Array.of(0),
    probabilities: Float32Array.of(1),
  }),
  titles: labels => averageTitles(areEntityTags(labels) ? 'entities' : 'macro'),
  leading: labels => (areEntityTags(labels) ? ['f1', 'precision', 'recall'] : []),
  resample(before, after, labels, seed) {
    if (!areEntityTags(labels))
      return { accuracy: bootstrapShares(before.map(shareOfItems), after.map(shareOfItems), seed) }
    const tags = (list: readonly Answer<ItemsPrediction>[], of: 'gold' | 'predicted') =>
      list.map(p => readable(namesOf(must(p[of], of), labels), labels))
    return { f1: bootstrapEntityF1(tags(after, 'gold'), tags(before, 'predicted'), tags(after, 'predicted'), { seed }) }
  },
  details({ entities, classification }, _, labels) {
    if (entities) return { className: 'entity type', classes: entities.types }
    const { classes = [], confusion = [] } = classification ?? {}
    return { className: 'class', classes, confusion: { labels, cells: confusion } }
  },

  right: rightItems,
  wrong: wrongItem,
  mistake: (prediction, example, reader) =>
    areEntityTags(reader.labels) ? spanMistake(prediction, example, reader) : wordMistake(prediction, example, reader),
  record({ predicted, gold, probabilities }, { words = [] }, { labels }) {
    const tags = namesOf(predicted, labels)
    const known = gold ? { gold: namesOf(gold, labels) } : {}
    const text = words.join(' ')
    if (!areEntityTags(labels)) return { text, words: words.slice(0, tags.length), tags, ...known }
    const entities = spansOf(predicted, labels).map(
      (span): EntityRecord => ({
        ...span,
        text: words.slice(span.start, span.end).join(' '),
        probability: Math.min(...probabilities.subarray(span.start, span.end)),
      }),
    )
    return { text, entities, tags, ...known }
  },
  line({ text, entities, words, tags }) {
    if (entities) return entityRuns(text.split(' '), entities)
    return (words ?? []).flatMap((word, i): TextRun[] => {
      return [{ text: `${i === 0 ? '' : ' '}${word}/` }, { text: nth(tags, i), style: 'cyan' }]
    })
  },
  view: (batch, i, { labels }, weights) => viewItems(batch, i, id => labels[id] ?? `#${id}`, weights),
}

/** Labels of words as labels of tokens: on the first piece of each word, {@link IGNORED} elsewhere. */
export function alignLabels(wordIds: Int32Array, wordLabels: readonly number[]): Int32Array {
  return wordIds.map((word, t) => (word >= 0 && word !== wordIds[t - 1] ? nth(wordLabels, word) : IGNORED))
}

/** The tokens of an example that have an answer: those with a label, else the first pieces of its words, else all. */
function answered({ ids, label, wordIds }: Example): number[] {
  if (label instanceof Int32Array) return [...ids.keys()].filter(t => label[t] !== IGNORED)
  return wordIds ? firstPieces(wordIds) : [...ids.keys()]
}

function typesOf(tags: readonly string[]): string[] {
  return tags.filter(tag => tag !== 'O').map(entityType)
}

/** Words as they are, or texts split into words. */
function asWords(rows: List<Row>, columns: Columns) {
  const { tokens } = columns
  if (tokens !== undefined) return { rows, columns: { tokens } }
  check(columns.text2 === undefined, 'ERR_DATA', () => {
    return 'predict: the rows hold pairs of texts, and a tagger reads one text or its words; give { text } or { tokens }'
  })
  const split = changed(
    rows,
    (row): Row => ({ ...row, values: { tokens: splitWords(textOf(row, columnOf(columns, 'text'))) } }),
  )
  return { rows: split, columns: { tokens: 'tokens' } }
}

function wordsOf(row: Row, column: string): string[] {
  const words = listOf(row, column)
  check(words.length > 0, 'ERR_DATA', () => `data: ${placeOf(row)}: "${column}" has no words`)
  return words
}

function* encodeTagged(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): Generator<Example> {
  const { tokens, tags } = spec.columns
  check(tokens !== undefined, 'ERR_OPTION', () => `columns.tokens: ${name} needs a column of words`)
  const words = wordsOf(row, tokens)
  const { ids, typeIds, wordIds, truncated } = tokenizer.encodeWords(words, { maxLength: spec.maxLength })
  const example = { ids, typeIds, words, wordIds, truncated, row }
  if (spec.unlabelled || tags === undefined) {
    yield example
    return
  }
  const { labels } = spec
  check(labels, 'ERR_OPTION', () => `labels: ${name} needs a label map`)
  const list = row.values[tags]
  if (!Array.isArray(list)) fail('ERR_DATA', `data: ${placeOf(row)}: "${tags}" is no list of tags`)
  check(list.length === words.length, 'ERR_DATA', () => {
    return `data: ${placeOf(row)}: ${words.length} words in "${tokens}" and ${list.length} tags in "${tags}"`
  })
  const wordLabels = list.map(tag => labelId(labels, row, tag))
  yield { ...example, label: alignLabels(wordIds, wordLabels) }
}

/**
 * Tags in the scheme of the labels to keep to, else in IOB2. Tags that are labels already stay as they are, but where
 * another scheme hides in the same letters: tags without ends under labels with ends, and IOB1 under labels that have a
 * B- and an I- for each type.
 */
function convertTags({ splits, columns, labels }: LabelSource, notice: (text: string) => void): Converted {
  const { tags } = columns
  if (tags === undefined) return { splits }
  const written = changed(joinedLists(Object.values(splits)), row => listOf(row, tags))
  const all = tagsOf(written)
  const isTypeFirst = haveTypeFirst(all)
  const read = (list: readonly string[]) => (isTypeFirst ? list.map(placeFirst) : list)
  const sentences = changed(written, read)
  if (!labels) noticeOddTags(tagsOf(sentences), notice)
  const scheme = detectScheme(sentences)
  if (scheme === 'none') return { splits }
  const names = labels?.names ?? []
  const known = new Set(withPlaceFirst(names))
  const isKnown = [...all].every(tag => names.includes(tag))
  const ends = scheme !== 'BIOES' && markEnds(known)
  if (isKnown && !ends && !(haveBegins(known) && isPureIob1(sentences))) return { splits }
  const spell = labels ? spellingOf(names) : (list: readonly string[]) => [...list]
  const respelled = (list: readonly string[]) => spell(toIob2(read(list)))
  if (written.every(list => respelled(list).every((tag, t) => tag === list[t]))) return { splits }
  const own = written.some(list => respelled(list).some((tag, t) => tag !== toIob2(read(list))[t]))
  const from = isTypeFirst ? `${scheme} with the type first` : scheme
  notice(`tags converted from ${from} to ${own ? "the model's scheme" : 'IOB2'}`)
  const convert = (row: Row): Row => {
    return { ...row, values: { ...row.values, [tags]: respelled(listOf(row, tags)) } }
  }
  return { splits: mapRows(splits, convert) }
}

// As b-per, B:PER, and PER-B without a PER-I.
const almostEntity = /^[BIESLUMW][-_:/.]\p{L}|[-_:/.][BIESLUMW]$/iu

/** Tells of tags that seem to be meant as entities and are not read so. */
function noticeOddTags(tags: ReadonlySet<string>, notice: (message: string) => void): void {
  const odd = [...tags].find(tag => !isEntityTag(tag))
  const isMeant = tags.has('O') || [...tags].some(tag => isEntityTag(tag) || almostEntity.test(tag))
  if (odd !== undefined && isMeant)
    notice(`tags are scored word by word, not as entities, since ${shown(odd)} is none of O, B-x and I-x`)
}

function wordMistake({ positions, predicted, gold, probabilities }: ItemsPrediction, example: Example, reader: Reader) {
  const at = predicted.findIndex((id, i) => id !== must(gold, 'gold')[i])
  const word = example.wordIds?.[nth(positions, at)] ?? at
  const { words = [] } = example
  const predictedName = nth(reader.labels, nth(predicted, at))
  const text: TextPiece[] = [
    { text: words.slice(0, word + 1).join(' ') },
    { text: predictedName, mark: 'blank' },
    { text: words.slice(word + 1).join(' ') },
  ]
  return {
    text,
    gold: nth(reader.labels, nth(must(gold, 'gold'), at)),
    predicted: predictedName,
    probability: nth(probabilities, at),
  }
}

function spanMistake(prediction: ItemsPrediction, { words = [] }: Example, { labels }: Reader): Mistake {
  const [gold, predicted] = [spansOf(must(prediction.gold, 'gold'), labels), spansOf(prediction.predicted, labels)]
  return {
    gold: marked(words, gold, predicted, 'missed'),
    predicted: marked(words, predicted, gold, 'wrong'),
    probability: must(wrongItem(prediction), 'wrong item'),
  }
}

/** Words with spans marked: those that the other side has too are right. */
function marked(
  words: readonly string[],
  spans: readonly EntitySpan[],
  others: readonly EntitySpan[],
  otherwise: 'missed' | 'wrong',
): TextPiece[] {
  const key = ({ start, end, type }: EntitySpan) => `${start} ${end} ${type}`
  const known = new Set(others.map(key))
  const pieces: TextPiece[] = []
  let at = 0
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    if (span.start < at) continue
    pieces.push({ text: words.slice(at, span.start).join(' ') })
    const mark = known.has(key(span)) ? 'right' : otherwise
    pieces.push({ text: words.slice(span.start, span.end).join(' '), mark, name: span.type })
    at = span.end
  }
  return [...pieces, { text: words.slice(at).join(' ') }]
}

function entityRuns(words: readonly string[], entities: readonly EntityRecord[]): TextRun[] {
  const runs: TextRun[] = []
  const put = (...next: TextRun[]) => runs.push(...(runs.length > 0 ? [{ text: ' ' }] : []), ...next)
  let at = 0
  for (const { start, end, type } of entities) {
    if (start > at) put({ text: words.slice(at, start).join(' ') })
    const found = words.slice(start, end).join(' ')
    put({ text: '[' }, { text: found, style: 'bold' }, { text: ' ' }, { text: type, style: 'cyan' }, { text: ']' })
    at = end
  }
  if (at < words.length) put({ text: words.slice(at).join(' ') })
  return runs
}
