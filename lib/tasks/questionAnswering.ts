// Extractive question answering: the answer to a question is a stretch of a text, or the text has none. Long texts are
// read in windows, and the best stretch of all of them is taken (Devlin et al. 2019, section 4.2 and 4.3).

import { columnOf } from '../data/columns.ts'
import type { Example, Passage } from '../data/example.ts'
import { changed, type List } from '../data/list.ts'
import { unitsOf } from '../data/places.ts'
import { placeOf, type Row, textOf } from '../data/row.ts'
import { check } from '../errors.ts'
import { questionHead } from '../heads/questionAnswering.ts'
import { shown } from '../io/json.ts'
import { pairedBootstrap } from '../metrics/compare.ts'
import { type AnswerScore, answerReport, answerScore } from '../metrics/squad.ts'
import { filled, isRecord, type OptionTable } from '../options.ts'
import type { Encoded, Tokenizer } from '../tokenizer/tokenizer.ts'
import { lastOf, mapTuple, must, nth } from '../tuple.ts'
import { type LogitRows, largest, logitsIn } from './logits.ts'
import type { Answer, EncodeSpec, Prediction, Task, TextPiece } from './task.ts'

const name = questionHead.task

/** A stretch of a text, or none of it. */
export interface Candidate {
  /** Its places in the text; both are 0 for none. */
  readonly start: number
  readonly end: number
  /** Sum of the logits of its first and last token. */
  readonly score: number
}

/** An answer, and how near the right one it is. */
export interface QuestionPrediction extends Prediction {
  /** Exact match and F1 of a right answer, both 1; undefined where it is not known. */
  readonly gold: Float32Array | undefined
  /** Exact match and F1 of the answer. */
  readonly predicted: Float32Array
  /** The likeliest stretches, best first. */
  readonly candidates: readonly Candidate[]
  /** The score of there being no answer. */
  readonly none: number
  readonly passage: Passage
}

const OPTIONS = {
  docStride: {
    kind: 'integer',
    min: 0,
    help: 'Tokens that windows of a long text share',
    found: '128, at most half a window',
  },
  unanswerable: {
    kind: 'boolean',
    help: 'Texts may lack the answer, which is then empty',
    found: 'whether any training row has none',
  },
} as const satisfies OptionTable

const STRIDE = 128
/** Starts, ends and answers that are looked at, and the longest answer, in tokens: those of transformers' script. */
const BEST = 20
const LONGEST = 30

/** Where answers start, in a column beside one of their texts. */
const STARTS = 'answer_start'

/** Answers as SQuAD has them: their texts and where they start; empty lists where there is none. */
function answersOf(row: Row, column: string): { text: string; start: number }[] {
  const value = row.values[column]
  const starts = row.values[STARTS]
  if (starts === null && !value) return []
  const isFlat = starts !== undefined && !isRecord(value)
  const given = isFlat ? { text: value, answer_start: starts } : typeof value === 'string' ? parsed(value) : value
  const listed = isRecord(given) ? pairs(given) : given
  const wrong = (): string => {
    const forms = `{ text: […], answer_start: […] } as in SQuAD, or a text beside a column ${STARTS}`
    return `answers: ${placeOf(row)}: "${column}" is ${shown(value)}; expected ${forms}`
  }
  check(Array.isArray(listed), 'ERR_DATA', wrong)
  return listed.map(one => {
    check(isRecord(one) && typeof one.text === 'string', 'ERR_DATA', wrong)
    const start = Number(one.answer_start)
    check(Number.isInteger(start) && start >= 0, 'ERR_DATA', wrong)
    return { text: one.text, start }
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** { text: ['a'], answer_start: [1] } as [{ text: 'a', answer_start: 1 }]. */
function pairs({ text, answer_start: starts }: Record<string, unknown>): unknown {
  const [texts, places]: [unknown[], unknown[]] = [[text].flat(), [starts].flat()]
  if (texts.length !== places.length) return undefined
  return texts.map((one, i) => ({ text: one, answer_start: places[i] }))
}

/** Where an answer stands. @throws ERR_DATA where the text has something else there */
function placed(row: Row, text: string, answer: { text: string; start: number }): readonly [number, number] {
  const start = unitsOf(text)?.[answer.start] ?? answer.start
  const end = start + answer.text.length
  check(text.slice(start, end) === answer.text, 'ERR_DATA', () => {
    return `answers: ${placeOf(row)}: the text has ${shown(text.slice(start, end))} at ${answer.start}, not ${shown(answer.text)}`
  })
  return [start, end]
}

/** @throws ERR_DATA for answers that are texts alone: they would be taken for names of classes */
function checkPlaced(rows: List<Row>, context: string, label: string): void {
  const isText = ({ values }: Row): boolean => {
    const [text, answer] = [values[context], values[label]]
    return typeof text === 'string' && typeof answer === 'string' && answer !== '' && text.includes(answer)
  }
  const isAnswers = /^answers?$/i.test(label) && !rows.some(row => STARTS in row.values) && rows.every(isText)
  check(!isAnswers, 'ERR_DATA', () => {
    const cure = `write where each starts in a column ${STARTS}, or name them with labels if they are classes`
    return `answers: all "${label}" stand in "${context}", without a place; ${cure}`
  })
}

function* windowsOf(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): Generator<Example> {
  const { text: question, text2: context, label } = spec.columns
  check(question !== undefined && context !== undefined, 'ERR_OPTION', () => {
    return `columns.text, columns.text2: ${name} needs a question and its text`
  })
  const { docStride, unanswerable = false } = filled(OPTIONS, spec.taskOptions ?? {}, name)
  const text = textOf(row, context)
  const pair = tokenizer.encode(textOf(row, question), { pair: text })
  const { room, step } = stepOf(row, pair, spec.maxLength, docStride)
  const golds = spec.unlabelled || label === undefined ? undefined : answersOf(row, label)
  const answer = golds?.[0] && placed(row, text, golds[0])
  const known = { text, golds: golds?.map(one => one.text), mayLack: unanswerable }
  const count = pair.textIds.reduce((total, of) => total + (of === 1 ? 1 : 0), 0)
  for (let start = 0, part = 0; part === 0 || start + room - step < count; start += step, part++) {
    const { ids, typeIds, places } = windowOf(pair, start, Math.min(count, start + room))
    const target = golds && labelOf(answer, places)
    yield { ids, typeIds, label: target, truncated: false, row, part, passage: { ...known, places } }
  }
}

/** Tokens of the text that a window has room for, and how far the next one is. */
function stepOf(row: Row, { ids, textIds }: Encoded, maxLength: number, docStride: number | undefined) {
  const around = textIds.reduce((total, of) => total + (of === 1 ? 0 : 1), 0)
  const room = maxLength - around
  check(room > 0, 'ERR_DATA', () => {
    return `maxLength: ${placeOf(row)}: the question takes ${around} of ${maxLength} tokens; raise maxLength`
  })
  const isLong = ids.length > maxLength
  check(!isLong || docStride === undefined || docStride < room, 'ERR_OPTION', () => {
    return `docStride: ${docStride} tokens of a window that has room for ${room}; give fewer, or raise maxLength`
  })
  return { room, step: isLong ? room - (docStride ?? Math.min(STRIDE, Math.floor(room / 2))) : room }
}

/** A pair with the tokens from `start` to before `end` of its second text alone, and where they stand in it. */
function windowOf({ ids, typeIds, textIds, starts, ends }: Encoded, start: number, end: number) {
  let at = 0
  const kept = Array.from(textIds.keys()).filter(t => {
    if (textIds[t] !== 1) return true
    at++
    return at > start && at <= end
  })
  const pick = (list: Int32Array) => Int32Array.from(kept, t => nth(list, t))
  const places = Int32Array.from(kept.flatMap(t => (textIds[t] === 1 ? [nth(starts, t), nth(ends, t)] : [-1, -1])))
  return { ids: pick(ids), typeIds: pick(typeIds), places }
}

/** First and last token of an answer; the first token of all where the window does not hold it whole. */
function labelOf(answer: readonly [number, number] | undefined, places: Int32Array): Int32Array {
  if (!answer) return Int32Array.of(0, 0)
  const [start, end] = answer
  let [first, last] = [-1, -1]
  for (let t = 0; 2 * t < places.length; t++) {
    if (nth(places, 2 * t) < 0) continue
    if (nth(places, 2 * t) <= start) first = t
    if (last < 0 && nth(places, 2 * t + 1) >= end) last = t
  }
  return first < 0 || last < first ? Int32Array.of(0, 0) : Int32Array.of(first, last)
}

/** The likeliest stretches of one window. */
function candidatesOf({ data }: LogitRows, from: number, { places }: Passage): Candidate[] {
  const count = places.length / 2
  const column = (c: number) => Array.from({ length: count }, (_, t) => nth(data, 2 * (from + t) + c))
  const inText = (t: number) => nth(places, 2 * t) >= 0
  const [starts, ends] = mapTuple([column(0), column(1)], list => largest(list, BEST).filter(inText))
  const found = starts.flatMap(first =>
    ends.flatMap(last => {
      if (last < first || last - first + 1 > LONGEST) return []
      const score = nth(data, 2 * (from + first)) + nth(data, 2 * (from + last) + 1)
      return [{ start: nth(places, 2 * first), end: nth(places, 2 * last + 1), score }]
    }),
  )
  return bestOf(found)
}

const bestOf = (list: readonly Candidate[]) => [...list].sort((a, b) => b.score - a.score).slice(0, BEST)

const said = ({ text }: Passage, { start, end }: Candidate) => text.slice(start, end)

/** The answer: the best stretch, or none where that scores higher and may be. */
function answerOf({ candidates, none, passage }: Omit<QuestionPrediction, 'gold' | 'predicted'>): string {
  const [best] = candidates
  return best && !(passage.mayLack && none > best.score) ? said(passage, best) : ''
}

function predictionOf(passage: Passage, candidates: readonly Candidate[], none: number): QuestionPrediction {
  const answer = { candidates, none, passage }
  if (!passage.golds) return { ...answer, gold: undefined, predicted: new Float32Array(2) }
  const { exact, f1 } = answerScore(answerOf(answer), passage.golds)
  return { ...answer, gold: Float32Array.of(1, 1), predicted: Float32Array.of(exact, f1) }
}

/** Shares of the candidates, and of none where it may be: a softmax over their scores. */
function shares({ candidates, none, passage }: QuestionPrediction): { of: readonly number[]; none: number } {
  const scores = [...candidates.map(({ score }) => score), ...(passage.mayLack ? [none] : [])]
  const most = Math.max(...scores)
  const parts = scores.map(score => Math.exp(score - most))
  const whole = parts.reduce((total, one) => total + one, 0)
  const of = parts.map(one => one / whole)
  return { of: of.slice(0, candidates.length), none: passage.mayLack ? lastOf(of) : 0 }
}

const scoresOf = ({ predicted }: Answer<QuestionPrediction>): AnswerScore => {
  return { exact: nth(predicted, 0), f1: nth(predicted, 1) }
}

const probabilityOf = (prediction: QuestionPrediction): number => {
  const { of, none } = shares(prediction)
  return answerOf(prediction) === '' ? none : (of[0] ?? 0)
}

/** An answer in its text. */
function markedIn({ text }: Passage, start: number, end: number, mark: 'right' | 'missed' | 'wrong'): TextPiece[] {
  return [{ text: text.slice(0, start) }, { text: text.slice(start, end), mark }, { text: text.slice(end) }]
}

/** Stretches of a text that answer a question. */
export const questionAnswering: Task<QuestionPrediction> = {
  name,
  needs: 'questions, texts and answers (columns.text, columns.text2, columns.label)',
  title: 'question answering',
  ranks: true,
  asked: { question: 'a question', context: 'a text' },
  usual: ['answers', 'answer'].map(label => ({ text: 'question', text2: 'context', label })),
  options: OPTIONS,

  infer(rows, { text, text2, label }, { task, able, labels }) {
    if (text === undefined || text2 === undefined || label === undefined) return undefined
    if (task === undefined && !labels) checkPlaced(rows, text2, label)
    const [row] = rows
    const value = row?.values[label]
    const isBeside = row !== undefined && STARTS in row.values
    const shaped = isBeside || (isRecord(value) ? STARTS in value : Array.isArray(value) && value.every(isRecord))
    if (task !== name && (!shaped || (able && !able.includes(name)))) return undefined
    return `"${label}" are answers to "${text}" in "${text2}"`
  },
  found: (rows, columns) => ({
    unanswerable: rows.some(row => answersOf(row, columnOf(columns, 'label')).length === 0),
  }),
  strata: (rows, columns) =>
    changed(rows, row => (answersOf(row, columnOf(columns, 'label')).length > 0 ? 'answer' : 'none')),
  readable(rows, columns) {
    const { text, text2 } = columns
    check(text !== undefined && text2 !== undefined, 'ERR_DATA', () => {
      return 'predict: the rows hold no question and text; give { text: question, text2: text }, or name the columns'
    })
    return { rows, columns }
  },
  encode: windowsOf,
  parts: (row, tokenizer, spec) => [...windowsOf(row, tokenizer, spec)],
  merge: predictions =>
    predictionOf(
      nth(predictions, 0).passage,
      bestOf(predictions.flatMap(({ candidates }) => candidates)),
      Math.min(...predictions.map(({ none }) => none)),
    ),

  read(answers, examples, { cuSeqlens }) {
    const logits = logitsIn(answers)
    return examples.map(({ passage }, i) => {
      const from = nth(cuSeqlens, i)
      const none = nth(logits.data, 2 * from) + nth(logits.data, 2 * from + 1)
      return predictionOf(must(passage, 'passage'), candidatesOf(logits, from, must(passage, 'passage')), none)
    })
  },
  score(predictions) {
    const answered = predictions.map(({ passage }) => must(passage.golds, 'golds').some(gold => gold !== ''))
    const report = answerReport(predictions.map(scoresOf), answered)
    const { exact: exactMatch, f1, hasAnswer, noAnswer } = report
    const parts = hasAnswer && noAnswer && { hasAnswerF1: hasAnswer.f1, noAnswerF1: noAnswer.f1 }
    return { metrics: { exactMatch, f1, ...parts }, reports: { answers: report } }
  },
  metric: () => 'f1',
  sample: () => ({
    gold: Float32Array.of(1, 1),
    predicted: Float32Array.of(1, 1),
    candidates: [],
    none: 0,
    passage: { text: '', golds: ['a'], places: new Int32Array(0), mayLack: false },
  }),
  titles: () => ({ f1: 'F1 (words of the answer)' }),
  leading: () => ['exactMatch', 'f1'],
  resample(before, after, _, seed) {
    const mean = (list: readonly Answer<QuestionPrediction>[], sample: Uint32Array, of: number) =>
      sample.reduce((total, i) => total + nth(nth(list, i).predicted, of), 0) / sample.length
    const interval = (metric: string, of: number) => {
      const score = (sample: Uint32Array) => ({ before: mean(before, sample, of), after: mean(after, sample, of) })
      return pairedBootstrap(metric, after.length, score, { seed })
    }
    return { exactMatch: interval('exactMatch', 0), f1: interval('f1', 1) }
  },

  right: ({ predicted }) => predicted[0] === 1,
  wrong: prediction => (questionAnswering.right(prediction) ? undefined : probabilityOf(prediction)),
  mistake(prediction, { row }, { columns }) {
    const { passage, candidates } = prediction
    const [gold] = answersOf(row, columnOf(columns, 'label'))
    const [best] = candidates
    const isNone = answerOf(prediction) === ''
    const none: TextPiece[] = [{ text: '(no answer)' }]
    return {
      text: [{ text: textOf(row, columnOf(columns, 'text')) }],
      gold: gold ? markedIn(passage, ...placed(row, passage.text, gold), 'missed') : none,
      predicted: isNone || !best ? none : markedIn(passage, best.start, best.end, 'wrong'),
      probability: probabilityOf(prediction),
    }
  },
  record(prediction, { row, passage: read }, { columns }, top) {
    const [{ candidates }, passage] = [prediction, must(read, 'passage')]
    const answer = answerOf(prediction)
    const { of, none } = shares(prediction)
    const [best] = candidates
    const place = answer === '' || !best ? {} : { start: best.start, end: best.end }
    const others = candidates
      .slice(0, top)
      .map((one, i) => ({ ...one, answer: said(passage, one), probability: nth(of, i) }))
    const known = passage.golds ? { gold: passage.golds } : {}
    return {
      text: textOf(row, columnOf(columns, 'text')),
      answer,
      probability: answer === '' ? none : nth(of, 0),
      ...place,
      ...(passage.mayLack ? { noAnswer: none } : {}),
      ...(top > 1 ? { top: others } : {}),
      ...known,
    }
  },
  line({ text, answer, probability }) {
    const shown = answer === '' ? '(no answer)' : String(answer)
    const share = `${(100 * Number(probability)).toFixed(1)} %`
    return [{ text: shown, style: 'bold' }, { text: ' ' }, { text: share, style: 'dim' }, { text: `  ${text}` }]
  },
  view({ targets, cuSeqlens }, i) {
    const { values } = must(targets, 'targets')
    const [start, end] = [nth(cuSeqlens, i), nth(cuSeqlens, i + 1)]
    const tokenLabels = Array.from({ length: end - start }, (_, t) => {
      const [starts, ends] = [nth(values, 2 * (start + t)) > 0, nth(values, 2 * (start + t) + 1) > 0]
      return starts && ends ? 'answer' : starts ? 'start' : ends ? 'end' : null
    })
    return { tokenLabels, weight: 1 }
  },
}
