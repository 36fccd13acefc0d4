// Conversations in rows: messages as OpenAI and transformers have them, ShareGPT's, and questions with answers.

import { check, fail, nearest } from '../errors.ts'
import { isRecord } from '../options.ts'
import type { Message } from '../tokenizer/chatTemplate.ts'
import { type Columns, columnOf } from './columns.ts'
import { placeOf, type Row, textOf, typeOf } from './row.ts'

/** Turns of somebody and an assistant. */
export interface Conversation {
  readonly messages: readonly Message[]
  /** JSON schemas of what the assistant may call. */
  readonly tools?: readonly unknown[]
  /** Messages before this one are given, whoever says them. */
  readonly from: number
}

/** Who speaks, in ShareGPT's words and ours. */
const ROLES: Readonly<Record<string, string>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  chatgpt: 'assistant',
  model: 'assistant',
  assistant: 'assistant',
  function_call: 'assistant',
  system: 'system',
  developer: 'developer',
  tool: 'tool',
  function: 'tool',
  observation: 'tool',
  function_response: 'tool',
}

/** Whether rows hold conversations, or parts of them as lists of messages. */
export function holdsMessages(row: Row, { messages, prompt }: Columns): boolean {
  return messages !== undefined || (prompt !== undefined && Array.isArray(row.values[prompt]))
}

/**
 * The conversation of a row: its messages, or a prompt with its completion as the turns of a user and an assistant.
 * Without `completion` it ends with the prompt.
 * @throws ERR_DATA naming the row for what is no message
 */
export function conversationOf(row: Row, columns: Columns): Conversation {
  const { messages, completion, system } = columns
  const tools = toolsOf(row, columns.tools)
  const before = system === undefined || !row.values[system] ? [] : [{ role: 'system', content: textOf(row, system) }]
  if (messages !== undefined) return { messages: [...before, ...messagesIn(row, messages)], ...tools, from: 0 }
  const given = [...before, ...turnsOf(row, columnOf(columns, 'prompt'), 'user', () => promptText(row, columns))]
  const said = completion === undefined ? [] : turnsOf(row, completion, 'assistant', () => textOf(row, completion))
  return { messages: [...given, ...said], ...tools, from: given.length }
}

/** What is asked: an instruction, and below it what it is about, where the row has that. */
export function promptText(row: Row, columns: Columns): string {
  const { context } = columns
  const asked = textOf(row, columnOf(columns, 'prompt'))
  const about = context === undefined || row.values[context] == null ? '' : textOf(row, context)
  return about === '' ? asked : `${asked}\n\n${about}`
}

function turnsOf(row: Row, column: string, role: string, text: () => string): Message[] {
  return Array.isArray(row.values[column]) ? messagesIn(row, column) : [{ role, content: text() }]
}

/** The list of messages in a column. @throws ERR_DATA naming the row for what is no message */
export function messagesIn(row: Row, column: string): Message[] {
  const value = parsed(row.values[column])
  check(Array.isArray(value) && value.length > 0, 'ERR_DATA', () => {
    const what = Array.isArray(value) ? 'empty' : `${typeOf(value)}, not a list of messages`
    return `data: ${placeOf(row)}: "${column}" is ${what}`
  })
  return value.map((message: unknown, i) => messageOf(row, `"${column}"[${i}]`, message))
}

function messageOf(row: Row, where: string, message: unknown): Message {
  check(isRecord(message), 'ERR_DATA', () => `data: ${placeOf(row)}: ${where} is ${typeOf(message)}, not a message`)
  const { from, value, ...others } = message
  const isShareGpt = typeof from === 'string' && message.role === undefined
  const spoken = isShareGpt ? from : message.role
  check(typeof spoken === 'string', 'ERR_DATA', () => {
    return `data: ${placeOf(row)}: ${where} has neither role nor from, but ${Object.keys(message).join(', ')}`
  })
  const role = ROLES[spoken] ?? unknownRole(row, where, spoken)
  if (isShareGpt) return { ...others, role, content: value }
  const hasMore = message.tool_calls !== undefined || message.reasoning_content !== undefined
  check(message.content !== undefined || hasMore, 'ERR_DATA', () => {
    return `data: ${placeOf(row)}: ${where} has no content`
  })
  return { ...message, role: spoken === 'developer' ? spoken : role }
}

function unknownRole(row: Row, where: string, role: string): never {
  const known = Object.keys(ROLES)
  fail(
    'ERR_DATA',
    `data: ${placeOf(row)}: ${where} is said by "${role}"${nearest(role, known)}; use system, user, assistant or tool`,
  )
}

function toolsOf(row: Row, column: string | undefined): { tools?: readonly unknown[] } {
  const value = column === undefined ? undefined : parsed(row.values[column])
  if (value === undefined || value === null || (Array.isArray(value) && value.length === 0)) return {}
  check(Array.isArray(value), 'ERR_DATA', () => {
    return `data: ${placeOf(row)}: column "${column}" is ${typeOf(value)}, not a list of tools`
  })
  return { tools: value }
}

/** The content of a message as text: that of its text parts, where it is a list. */
export function contentText({ content }: Message): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return content === null || content === undefined ? '' : JSON.stringify(content)
  return content.map((part: unknown) => (isRecord(part) && typeof part.text === 'string' ? part.text : '')).join('')
}

/** A conversation for people and for comparisons: who says what, a line each. */
export function conversationText(row: Row, columns: Columns): string {
  const { messages, prompt, chosen } = columns
  if (messages === undefined && prompt === undefined && chosen !== undefined) return answerText(row, chosen)
  return conversationOf(row, columns)
    .messages.map(message => `${message.role}: ${contentText(message)}`)
    .join('\n')
}

/** An answer that may be a text or messages, as text. */
export function answerText(row: Row, column: string): string {
  if (!Array.isArray(row.values[column])) return textOf(row, column)
  return messagesIn(row, column)
    .map(message => `${message.role}: ${contentText(message)}`)
    .join('\n')
}

/** Lists that a table holds as text. */
function parsed(value: unknown): unknown {
  if (typeof value !== 'string' || !/^\s*\[/.test(value)) return value
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}
