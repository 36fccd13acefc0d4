import { columnOf } from '../data/columns.ts'
// Reward models: a score for an answer, learned from pairs of answers of which the first is better.

import { type Conversation, conversationOf } from '../data/conversation.ts'
import type { Example } from '../data/example.ts'
import { conversationPair, holdsMessagePairs, isPair, PAIR_NAMES, textPair, withoutTies } from '../data/pairs.ts'
import { type Row, textOf } from '../data/row.ts'
import { preferenceHead } from '../heads/preference.ts'
import { rewardHead } from '../heads/reward.ts'
import { filled } from '../options.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { must, nth } from '../tuple.ts'
import { answerExample, isChat, isTemplated, plainPrompt } from './causalLm.ts'
import { CHAT_OPTIONS, chatExample } from './chat.ts'
import { logitsIn } from './logits.ts'
import { type ComparedPrediction, comparedAnswers, scoreCompared } from './rewards.ts'
import { textFor } from './shared.ts'
import type { EncodeSpec, PredictionRecord, Task } from './task.ts'

const name = rewardHead.task

/** What predict tells of an answer, or of a pair. */
interface RewardRecord extends PredictionRecord {
  readonly reward: number
  /** Of a pair: the score of the other answer. */
  readonly rejected?: number
}

/** The better of two answers has more. */
export const reward: Task<ComparedPrediction, RewardRecord> = {
  name,
  needs: 'two answers, the better one first (columns.chosen and rejected)',
  usual: PAIR_NAMES,
  title: 'reward model',
  ...comparedAnswers,
  options: CHAT_OPTIONS,

  infer(rows, columns, { task, able }) {
    if (able && !able.includes(name)) return undefined
    // Language models learn from pairs themselves, unless a reward model is asked for.
    const isOther = able !== undefined && !able.includes(preferenceHead.task)
    if (!isPair(columns) || rows.length === 0 || !(task === name || isOther)) return undefined
    return `"${columns.chosen}" is to have more than "${columns.rejected}"`
  },
  convert: ({ splits, columns }, notice) => ({ splits: withoutTies(splits, columns, notice) }),
  outputs: () => [name],
  strata: rows => rows.map(() => ''),
  readable: (rows, columns) => ({ rows, columns }),
  encode: (row, tokenizer, spec) => [exampleOf(row, tokenizer, spec)],
  parts: (row, tokenizer, spec) => [exampleOf(row, tokenizer, spec)],

  read(answers, examples) {
    const { data } = logitsIn(answers)
    let at = 0
    return examples.map(({ other }) => {
      const first = nth(data, at++)
      const second = other ? nth(data, at++) : 0
      return { gold: Float32Array.of(other ? 2 : 1, 0, 0, 1), predicted: Float32Array.of(first, second, 0, 0) }
    })
  },
  score(predictions) {
    const { metrics, reports } = scoreCompared(predictions)
    const { chosenLogProb: _, rejectedLogProb: __, ...scores } = metrics
    return { metrics: scores, reports }
  },
  record({ predicted }, example, reader) {
    const rejected = example.other ? { rejected: nth(predicted, 1) } : {}
    return { text: textFor(example, reader), reward: nth(predicted, 0), ...rejected }
  },
  line: ({ text, reward }) => [{ text: reward.toFixed(4).padStart(9), style: 'bold' }, { text: `  ${text}` }],
  view: (_, i) => ({ label: i % 2 === 0 ? 'chosen' : 'rejected', weight: i % 2 === 0 ? 1 : 0 }),
}

/** A pair, or where there is none the one answer, or text, that is to have a score. */
function exampleOf(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): Example {
  const { columns, maxLength } = spec
  const chat = filled(CHAT_OPTIONS, spec.taskOptions ?? {}, name)
  const said = (one: Conversation) => without(chatExample(row, one, tokenizer, { maxLength, chat }))
  if (!isPair(columns)) {
    if (isChat(row, columns, tokenizer, chat)) return said(conversationOf(row, columns))
    return columns.prompt === undefined
      ? textExample(row, textOf(row, columnOf(columns, 'text')), tokenizer, maxLength)
      : written(row, plainPrompt(row, columns), textOf(row, columnOf(columns, 'completion')), tokenizer, maxLength)
  }
  if (holdsMessagePairs(row, columns) || isTemplated(columns, tokenizer, chat)) {
    const [better, worse] = conversationPair(row, columns)
    return together(said(better), said(worse))
  }
  const { prompt, answers } = textPair(row, columns, plainPrompt)
  const [better, worse] = answers.map(answer => written(row, prompt, answer, tokenizer, maxLength))
  return together(must(better, 'chosen'), must(worse, 'rejected'))
}

const without = ({ label: _, ...example }: Example): Example => example

function together(better: Example, worse: Example): Example {
  return {
    ...better,
    other: { ids: worse.ids, typeIds: worse.typeIds },
    truncated: better.truncated || worse.truncated,
  }
}

/** An encoder reads prompt and answer as a pair of texts, a decoder as one text and its end. */
function written(row: Row, prompt: string, answer: string, tokenizer: Tokenizer, maxLength: number): Example {
  if (tokenizer.specials.cls === undefined) return without(answerExample(row, prompt, answer, tokenizer, maxLength))
  const { ids, typeIds, truncated } = tokenizer.encode(prompt, { pair: answer, maxLength })
  return { ids, typeIds, truncated, row }
}

function textExample(row: Row, text: string, tokenizer: Tokenizer, maxLength: number): Example {
  const { ids, truncated } = tokenizer.encode(text, { maxLength })
  return { ids, truncated, row }
}
