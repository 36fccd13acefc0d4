// Pairs of answers in rows: texts or messages, after a prompt of their own or after what both begin with.

import { isDeepStrictEqual } from 'node:util'
import { check } from '../errors.ts'
import type { Columns } from './columns.ts'
import { type Conversation, conversationOf, messagesIn } from './conversation.ts'
import { placeOf, type Row, textOf } from './row.ts'

/** The names of both answers' columns. */
function sidesOf({ chosen, rejected }: Columns): readonly [string, string] {
  check(chosen !== undefined && rejected !== undefined, 'ERR_OPTION', () => {
    return 'columns.chosen, columns.rejected: a pair needs both; name them'
  })
  return [chosen, rejected]
}

/** Whether the two answers of a row are the same. */
export function isTie(row: Row, columns: Columns): boolean {
  const [chosen, rejected] = sidesOf(columns).map(column => row.values[column])
  return isDeepStrictEqual(chosen, rejected)
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
