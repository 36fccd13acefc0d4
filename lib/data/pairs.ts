// Pairs of answers in rows: texts or messages, after a prompt of their own or after what both begin with.

import { isDeepStrictEqual } from 'node:util'
import { check } from '../errors.ts'
import type { Columns } from './columns.ts'
import { type Conversation, conversationOf, messagesIn } from './conversation.ts'
import type { Splits } from './duplicates.ts'
import type { List } from './list.ts'
import { placeOf, type Row, textOf } from './row.ts'

const PROMPTS = ['prompt', 'question', 'instruction', 'input'] as const
const ANSWERS = [
  ['chosen', 'rejected'],
  ['chosen_response', 'rejected_response'],
  ['response_j', 'response_k'],
] as const
/** What stands before a prompt, where a data set has it. */
export const BEFORE: readonly Columns[] = [
  { system: 'system', tools: 'tools' },
  { system: 'system' },
  { tools: 'tools' },
  {},
]

/** Usual names of pairs, with their prompts and without. */
export const PAIR_NAMES: readonly Columns[] = ANSWERS.flatMap(([chosen, rejected]) => [
  ...PROMPTS.flatMap(prompt => BEFORE.map(before => ({ ...before, prompt, chosen, rejected }))),
  ...BEFORE.map(before => ({ ...before, chosen, rejected })),
])

export const isPair = ({ chosen, rejected }: Columns): boolean => chosen !== undefined && rejected !== undefined

/** The names of both answers' columns. */
function sidesOf({ chosen, rejected }: Columns): readonly [string, string] {
  check(chosen !== undefined && rejected !== undefined, 'ERR_OPTION', () => {
    return 'columns.chosen, columns.rejected: a pair needs both; name them'
  })
  return [chosen, rejected]
}

/** Whether the two answers of a row are the same. */
function isTie(row: Row, columns: Columns): boolean {
  const [chosen, rejected] = sidesOf(columns).map(column => row.values[column])
  return isDeepStrictEqual(chosen, rejected)
}

/** The pairs whose answers differ, and a notice of those that are left out. */
export function withoutTies(
  splits: Partial<Splits>,
  columns: Columns,
  notice: (text: string) => void,
): Partial<Splits> {
  const entries = Object.entries(splits)
  const kept = entries.map(([split, rows]) => [split, rows.filter(row => !isTie(row, columns))] as const)
  const count = (all: readonly (readonly [string, List<Row>])[]) => all.reduce((sum, [, rows]) => sum + rows.length, 0)
  const [pairs, rest] = [count(entries), count(kept)]
  if (rest === pairs) return splits
  notice(`${pairs - rest} of ${pairs} pairs have the same answer twice and are left out`)
  return Object.fromEntries(kept)
}

/** Whether an answer of a row brings its whole conversation, which begins with what both share. */
function isWhole(row: Row, columns: Columns): boolean {
  const [chosen] = sidesOf(columns)
  return Array.isArray(row.values[chosen]) && messagesIn(row, chosen).at(0)?.role !== 'assistant'
}

/** Whether a row holds messages, or parts of a conversation that a template is to write. */
export function holdsMessagePairs(row: Row, columns: Columns): boolean {
  const parts = [columns.prompt, ...sidesOf(columns)]
  return parts.some(column => column !== undefined && Array.isArray(row.values[column]))
}

/**
 * Both conversations of a row, the better one first; what stands before `from` is the prompt.
 * @throws ERR_DATA naming the row for what is no message, or where nothing is shared
 */
export function conversationPair(row: Row, columns: Columns): readonly [Conversation, Conversation] {
  const { chosen: _, rejected: __, ...given } = columns
  const [first, second] = sidesOf(columns)
  if (!isWhole(row, columns)) {
    const of = (completion: string) => conversationOf(row, { ...given, completion })
    return [of(first), of(second)]
  }
  const [better, worse] = [messagesIn(row, first), messagesIn(row, second)]
  const parted = better.findIndex((message, i) => !isDeepStrictEqual(message, worse[i]))
  const shared = parted < 0 ? better.length : parted
  check(shared > 0 && shared < worse.length && shared < better.length, 'ERR_DATA', () => {
    const what = shared > 0 ? 'one is the beginning of the other' : 'they share no message to answer'
    return `data: ${placeOf(row)}: "${first}" and "${second}" are whole conversations, and ${what}; drop the row`
  })
  const { prompt: ___, ...others } = given
  const of = (messages: string) => conversationOf(row, { ...others, messages })
  const [one, other] = [of(first), of(second)]
  // A system message of its own column stands before those of both.
  const before = one.messages.length - better.length
  return [
    { ...one, from: before + shared },
    { ...other, from: before + shared },
  ]
}

/**
 * Two texts, and what stands before both: the prompt as `promptOf` writes it, else what they begin with. A space at its
 * end goes with the answers, as their first token has it.
 */
export function textPair(
  row: Row,
  columns: Columns,
  promptOf: (row: Row, columns: Columns) => string,
): { prompt: string; answers: readonly [string, string] } {
  const [first, second] = sidesOf(columns)
  const [better, worse] = [textOf(row, first), textOf(row, second)]
  if (columns.prompt !== undefined) return { prompt: promptOf(row, columns), answers: [better, worse] }
  let shared = 0
  while (shared < better.length && better[shared] === worse[shared]) shared++
  // Nor is a character of two units parted.
  if (shared > 0 && /[ \ud800-\udbff]/.test(better.charAt(shared - 1))) shared--
  return { prompt: better.slice(0, shared), answers: [better.slice(shared), worse.slice(shared)] }
}
