// Preference tuning of language models: of two answers to a prompt the better one is to become likelier (DPO and its
// kin), or an answer that is wanted, and one that is not less likely (KTO).

import type { Columns } from '../data/columns.ts'
import { type Conversation, conversationOf } from '../data/conversation.ts'
import type { Example, Preference, PreferenceGoal } from '../data/example.ts'
import type { List } from '../data/list.ts'
import {
  BEFORE,
  conversationPair,
  holdsMessagePairs,
  isPair,
  PAIR_NAMES,
  textPair,
  withoutTies,
} from '../data/pairs.ts'
import { placeOf, type Row, textOf } from '../data/row.ts'
import { check, fail } from '../errors.ts'
import { preferenceHead } from '../heads/preference.ts'
import { asksReference, loneLosses, pairLosses } from '../heads/preferenceLosses.ts'
import { shown } from '../io/json.ts'
import { filled, type OptionTable } from '../options.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { nth } from '../tuple.ts'
import { answerExample, isChat, isTemplated, plainPrompt } from './causalLm.ts'
import { CHAT_OPTIONS, type ChatOptions, chatExample } from './chat.ts'
import { viewItems } from './items.ts'
import { tokenName } from './languageModel.ts'
import { logitsIn } from './logits.ts'
import { type ComparedPrediction, comparedAnswers, marginOf, readCompared, rewardsOf } from './rewards.ts'
import { textFor } from './shared.ts'
import type { EncodeSpec, PredictionRecord, Task } from './task.ts'

const name = preferenceHead.task

/** How preferences are learned. */
const OPTIONS = {
  ...CHAT_OPTIONS,
  loss: {
    kind: 'choice',
    help: 'What becomes of pairs (dpo, ipo, hinge, orpo), or of answers with labels (kto)',
    choices: [...pairLosses, ...loneLosses],
    found: 'dpo for pairs, kto for answers with labels',
  },
  beta: {
    kind: 'number',
    default: 0.1,
    min: 1e-6,
    help: 'How dear it is to move away from the reference; of orpo the weight of the odds',
    search: { from: 0.01, to: 1, scale: 'log' },
  },
  reference: {
    kind: 'choice',
    default: 'start',
    help: 'Which model answers are held against: as it starts, or with its adapters off',
    choices: ['start', 'base'],
  },
  desirableWeight: { kind: 'number', default: 1, min: 0, help: 'Weight of answers that are wanted, of kto' },
  undesirableWeight: { kind: 'number', default: 1, min: 0, help: 'Weight of answers that are not wanted, of kto' },
} as const satisfies OptionTable

const usual: readonly Columns[] = [
  ...PAIR_NAMES,
  ...BEFORE.map(before => ({ ...before, prompt: 'prompt', completion: 'completion', label: 'label' })),
]

/** Where {@link preference} puts the answer to another prompt. */
const OTHER = 'answer to another prompt'

const VERDICTS = new Map<unknown, boolean>(
  [true, 1, '1', 'true', 'True', 'TRUE']
    .map((yes): [unknown, boolean] => [yes, true])
    .concat([false, 0, '0', 'false', 'False', 'FALSE'].map(no => [no, false])),
)

const isLone = ({ prompt, completion, label }: Columns, rows: List<Row>) =>
  prompt !== undefined &&
  completion !== undefined &&
  label !== undefined &&
  rows.every(({ values }) => VERDICTS.has(values[label]))

interface PreferenceRecord extends PredictionRecord {
  readonly chosen: number
  readonly rejected: number
  readonly margin: number
}

/** The answer that is preferred. */
export const preference: Task<ComparedPrediction, PreferenceRecord> = {
  name,
  needs:
    'two answers, the better one first (columns.chosen and rejected), or prompts and completions with a label of true ' +
    'or false',
  usual,
  title: 'language model of preferences',
  options: OPTIONS,
  ...comparedAnswers,
  relative: true,
  says: true,

  infer(rows, columns, asked) {
    if (asked.able && !asked.able.includes(name)) return undefined
    if (isPair(columns)) return `"${columns.chosen}" is to be preferred to "${columns.rejected}"`
    if (isLone(columns, rows)) return `"${columns.label}" says whether "${columns.completion}" is wanted`
    return undefined
  },
  convert({ splits, columns }, notice) {
    if (isPair(columns)) return { splits: withoutTies(splits, columns, notice) }
    const entries = Object.entries(splits).map(([split, rows]) => [split, withOthers(rows, columns)])
    return { splits: Object.fromEntries(entries) }
  },
  found: (_, columns) => ({ loss: (isPair(columns) ? pairLosses : loneLosses)[0] }),
  strata: (rows, { label }) =>
    rows.map(({ values }) => (label === undefined ? '' : String(VERDICTS.get(values[label])))),
  readable: () => fail('ERR_UNSUPPORTED', `predict: ${name} says texts; use generate`),
  encode: (row, tokenizer, spec) => [exampleOf(row, tokenizer, spec)],
  parts: (row, tokenizer, spec) => [exampleOf(row, tokenizer, spec)],

  read: (answers, examples) => {
    const { data } = logitsIn(answers)
    return examples.map((example, i) => readCompared(example, [-nth(data, 2 * i), -nth(data, 2 * i + 1)]))
  },
  record(prediction, example, reader) {
    const [chosen, rejected] = rewardsOf(prediction)
    const { said: generated, wanted } = prediction.words ?? {}
    const words = prediction.words ? { generated, wanted } : {}
    return { text: textFor(example, reader), ...words, chosen, rejected, margin: marginOf(prediction) }
  },
  line: ({ text, margin }) => [{ text: margin.toFixed(3), style: 'bold', width: 10 }, { text: ` ${text}` }],
  view(batch, i, reader) {
    const { tokenLabels = [] } = viewItems(batch, i, id => tokenName(id, reader))
    return { tokenLabels: [null, ...tokenLabels.slice(0, -1)], weight: i % 2 === 0 ? 1 : 0 }
  },
}

/** Rows with the answer of the row before each, the first with that of the last. */
function withOthers(rows: List<Row>, { completion, label }: Columns): List<Row> {
  if (completion === undefined || label === undefined) return rows
  return rows.map((row, i) => ({ ...row, values: { ...row.values, [OTHER]: rows.at(i - 1)?.values[completion] } }))
}

function exampleOf(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): Example {
  const { columns } = spec
  const {
    loss: given,
    beta,
    reference,
    desirableWeight,
    undesirableWeight,
    ...chat
  } = filled(OPTIONS, spec.taskOptions ?? {}, name)
  const fitting = isPair(columns) ? pairLosses : loneLosses
  const loss = given ?? nth(fitting, 0)
  check(fitting.includes(loss), 'ERR_OPTION', () => {
    const has = isPair(columns) ? 'pairs of answers' : 'answers with labels'
    return `loss: ${loss} does not take ${has}, which the data have; use ${fitting.join(', ')}`
  })
  check(asksReference(loss) || spec.taskOptions?.reference === undefined, 'ERR_OPTION', () => {
    return `reference: ${reference} has no effect, since loss ${loss} asks no reference; leave it out`
  })
  const goal = { loss, beta, reference, weights: [desirableWeight, undesirableWeight] } as const
  return isPair(columns) ? pairExample(row, tokenizer, spec, chat, goal) : loneExample(row, tokenizer, spec, chat, goal)
}

function together(first: Example, second: Example, preference: Preference): Example {
  const { ids, label } = second
  const other = { ids, ...(label instanceof Int32Array ? { label } : {}) }
  return { ...first, other, preference, truncated: first.truncated || second.truncated }
}

/** A prompt with its better answer, and with the other. */
function pairExample(
  row: Row,
  tokenizer: Tokenizer,
  spec: EncodeSpec,
  chat: ChatOptions,
  goal: PreferenceGoal,
): Example {
  const { columns, maxLength } = spec
  if (holdsMessagePairs(row, columns) || isTemplated(columns, tokenizer, chat)) {
    const [better, worse] = conversationPair(row, columns)
    const of = (one: Conversation) => chatExample(row, one, tokenizer, { maxLength, chat })
    return together(of(better), of(worse), { goal })
  }
  const { prompt, answers } = textPair(row, columns, plainPrompt)
  const of = (answer: string) => answerExample(row, prompt, answer, tokenizer, maxLength)
  return together(of(answers[0]), of(answers[1]), { goal })
}

/** An answer that is wanted or not, and behind it that of another prompt. */
function loneExample(
  row: Row,
  tokenizer: Tokenizer,
  spec: EncodeSpec,
  chat: ChatOptions,
  goal: PreferenceGoal,
): Example {
  const { columns, maxLength } = spec
  const { completion, label } = columns
  check(completion !== undefined && label !== undefined, 'ERR_OPTION', () => {
    return `columns: ${name} needs ${preference.needs}`
  })
  const wanted = VERDICTS.get(row.values[label])
  check(wanted !== undefined, 'ERR_DATA', () => {
    return `labels: ${placeOf(row)}: "${label}" is ${shown(row.values[label])}, expected true or false`
  })
  const answer = row.values[OTHER] ?? fail('ERR_DATA', `data: ${placeOf(row)}: no other answer; make rows by splitData`)
  const of = (each: Row) => {
    return isChat(each, columns, tokenizer, chat)
      ? chatExample(each, conversationOf(each, columns), tokenizer, { maxLength, chat })
      : answerExample(each, plainPrompt(each, columns), textOf(each, completion), tokenizer, maxLength)
  }
  const other = of({ ...row, values: { ...row.values, [completion]: answer } })
  return together(of(row), other, { goal, wanted })
}
