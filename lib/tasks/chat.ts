// Conversations as examples: written by the tokenizer's chat template, learned where the assistant speaks.

import { type Conversation, contentText } from '../data/conversation.ts'
import { type Example, IGNORED } from '../data/example.ts'
import { placeOf, type Row } from '../data/row.ts'
import { brief, check, fail, LowrankError } from '../errors.ts'
import { shown } from '../io/json.ts'
import { isRecord, type OptionTable, type ValuesOf } from '../options.ts'
import type { ChatTemplate, Message } from '../tokenizer/chatTemplate.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { nth } from '../tuple.ts'
import { cutIds } from './cut.ts'

/** How conversations are read. */
export const CHAT_OPTIONS = {
  template: {
    kind: 'choice',
    default: 'auto',
    help: 'Prompts and completions by the chat template, where there is one, or as text',
    choices: ['auto', 'none'],
  },
  // Reasoning is reasoning_content, or <think>…</think> before an answer; strip sets enable_thinking: false.
  thinking: {
    kind: 'choice',
    default: 'keep',
    help: 'Reasoning of the assistant: learned, taken out, or an empty thought',
    choices: ['keep', 'strip', 'empty'],
  },
  turns: { kind: 'choice', default: 'all', help: 'Turns of the assistant that are learned', choices: ['all', 'last'] },
} as const satisfies OptionTable

/** Options of conversations as a caller gives them. */
export type ChatOptions = ValuesOf<typeof CHAT_OPTIONS>

/** The template of a tokenizer. @throws ERR_CONFIG where it has none */
function templateOf({ chatTemplate, path }: Tokenizer): ChatTemplate {
  return (
    chatTemplate ??
    fail(
      'ERR_CONFIG',
      `chat template: the tokenizer of ${path} has none, and the data hold messages; take an instruct model, or put a ` +
        'chat_template.jinja beside its tokenizer.json',
    )
  )
}

/** The ids after which the assistant speaks. */
export function promptIds({ messages, tools }: Omit<Conversation, 'from'>, tokenizer: Tokenizer, options: ChatOptions) {
  const template = templateOf(tokenizer)
  const text = renderer(template, { tools }, options)(written(messages, template, options), true)
  return Int32Array.from(tokenizer.tokens(text))
}

/**
 * A conversation as one example. A turn of the assistant begins where the template's generation prompt ends, and ends
 * with the special token that closes it: nothing else is learned.
 * @throws ERR_DATA naming the row where the template's text of a turn is not the beginning of that of the whole, where
 * no token would end a turn, or nothing is left to learn
 */
export function chatExample(
  row: Row,
  conversation: Conversation,
  tokenizer: Tokenizer,
  { maxLength, chat = {} }: { readonly maxLength: number; readonly chat?: ChatOptions | undefined },
): Example {
  const template = templateOf(tokenizer)
  const render = renderer(template, conversation, chat, row)
  const messages = inRow(row, () => written(conversation.messages, template, chat))
  const whole = render(messages, false)
  const turns = [...messages.keys()].filter(i => i >= conversation.from && isLearned(nth(messages, i)))
  check(turns.length > 0, 'ERR_DATA', () => `data: ${placeOf(row)}: no turn of the assistant is there to learn`)
  const places = (chat.turns === 'last' ? turns.slice(-1) : turns).map(i => {
    return turnPlace(row, { messages, i, whole, render, specials: specialTexts(tokenizer) })
  })
  const { ids, starts, ends } = tokenizer.spans(whole)
  const label = ids.map((id, t) => {
    const isInside = places.some(
      ([from, to]) => nth(ends, t) > from && nth(starts, t) < to && nth(ends, t) > nth(starts, t),
    )
    return isInside ? id : IGNORED
  })
  return cutIds(row, Int32Array.from(ids), Int32Array.from(label), maxLength, tokenizer.truncationSide)
}

type Render = (messages: readonly Message[], isPrompt: boolean) => string

/** Renders one row's messages, and names the row where the template refuses them. */
function renderer(
  template: ChatTemplate,
  { tools }: { tools?: readonly unknown[] | undefined },
  chat: ChatOptions,
  row?: Row,
): Render {
  const variables = chat.thinking === 'strip' ? { enable_thinking: false } : undefined
  return (messages, addGenerationPrompt) =>
    inRow(row, () => template.render(messages, { tools, addGenerationPrompt, variables }))
}

/** Names the row in what is said of its data. */
function inRow<T>(row: Row | undefined, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (!row || !(error instanceof LowrankError) || error.code !== 'ERR_DATA') throw error
    fail('ERR_DATA', `data: ${placeOf(row)}: ${error.message}`, error)
  }
}

/** OpenAI's `weight` and its like say which turns of the assistant are not to be learned. */
function isLearned({ role, weight, train }: Message): boolean {
  return role === 'assistant' && weight !== 0 && train !== false
}

interface Turn {
  readonly messages: readonly Message[]
  readonly i: number
  readonly whole: string
  readonly render: Render
  readonly specials: readonly string[]
}

/** Where in the whole text the assistant says message `i`, and where the token stands that ends it. */
function turnPlace(row: Row, { messages, i, whole, render, specials }: Turn): [from: number, to: number] {
  const where = `data: ${placeOf(row)}: message ${i + 1}`
  const before = render(messages.slice(0, i), true)
  const own = i === messages.length - 1 ? whole : render(messages.slice(0, i + 1), false)
  const { tool_calls: calls, ...others } = nth(messages, i)
  const isUnwritten = calls != null && own === render([...messages.slice(0, i), others], false)
  check(!isUnwritten, 'ERR_DATA', () => {
    return `${where}: the chat template writes nothing of its tool_calls, so they cannot be learned; take a model with tools, or leave such rows out`
  })
  check(own.startsWith(before), 'ERR_DATA', () => {
    return `${where}: the chat template writes ${seen(own, before)} where its generation prompt is ${seen(before, own)}; its turns cannot be told apart`
  })
  // A text that goes on agrees with this one up to the end of the turn: what stands after it belongs to the end alone.
  const open = render(messages.slice(0, i + 1), true)
  const end = turnEnd(own.slice(before.length, agreement(own, open)), specials)
  check(end !== undefined, 'ERR_DATA', () => {
    const last = shown(own.slice(before.length).slice(-40))
    return `${where}: the chat template puts no special token at the end of the assistant's turn (${last}); a model would not learn to stop`
  })
  const to = before.length + end
  check(whole.startsWith(own.slice(0, to)), 'ERR_DATA', () => {
    return (
      `${where}: the chat template writes the turn otherwise once others follow (${seen(own, whole)} becomes ` +
      `${seen(whole, own)}), so what is learned would not be what is said; learn the last turn of each row alone (turns: last)`
    )
  })
  return [before.length, to]
}

/** Length of the beginning that two texts share. */
function agreement(a: string, b: string): number {
  let length = 0
  while (length < a.length && a[length] === b[length]) length++
  return length
}

/** The first characters of `text` that are not those of `other`. */
function seen(text: string, other: string): string {
  const at = agreement(text, other)
  return shown(text.slice(at, at + 24))
}

/** The end of the last special token, unless something but white space stands behind it. */
function turnEnd(text: string, specials: readonly string[]): number | undefined {
  let end = -1
  for (const special of specials) {
    const at = text.lastIndexOf(special)
    if (at >= 0) end = Math.max(end, at + special.length)
  }
  if (end < 0) return undefined
  const rest = text.slice(end).trimStart()
  // Two texts may part within a special token, whose beginning is then no text of the turn.
  return rest === '' || specials.some(special => special.startsWith(rest)) ? end : undefined
}

const specialsOf = new WeakMap<Tokenizer, readonly string[]>()

function specialTexts(tokenizer: Tokenizer): readonly string[] {
  const known = specialsOf.get(tokenizer)
  if (known) return known
  const texts = [...tokenizer.specialIds].flatMap(id => tokenizer.token(id) ?? []).filter(text => text !== '')
  specialsOf.set(tokenizer, texts)
  return texts
}

/** Messages as the template is to write them: texts in parts as it reads them, with the reasoning that is wanted. */
function written(messages: readonly Message[], template: ChatTemplate, options: ChatOptions): readonly Message[] {
  const texts = messages.map((message, i) => {
    const { content } = message
    if (!Array.isArray(content)) return message
    const other = content.find(part => !isRecord(part) || typeof part.text !== 'string')
    check(other === undefined, 'ERR_DATA', () => {
      const kind = isRecord(other) && typeof other.type === 'string' ? `"${brief(other.type)}"` : shown(other)
      return `message ${i + 1} has a part that is ${kind}; only text is read: {"type": "text", "text": "…"}`
    })
    return readsParts(template) ? message : { ...message, content: contentText(message) }
  })
  return thought(texts, options)
}

const partReaders = new WeakMap<ChatTemplate, boolean>()

/** Whether a template writes the texts of parts. Others write the list itself, braces and all, as Python shows it. */
function readsParts(template: ChatTemplate): boolean {
  const known = partReaders.get(template)
  if (known !== undefined) return known
  const found = writesParts(template)
  partReaders.set(template, found)
  return found
}

function writesParts(template: ChatTemplate): boolean {
  try {
    const text = template.render([{ role: 'user', content: [{ type: 'text', text: 'part' }] }])
    return text.includes('part') && !/["']type["']/.test(text)
  } catch {
    return false
  }
}

const THOUGHT = /^\s*<think>[\s\S]*?<\/think>\s*/
const EMPTY = '<think>\n\n</think>\n\n'

/** Messages with the reasoning that is wanted. */
function thought(messages: readonly Message[], { thinking = 'keep' }: ChatOptions): readonly Message[] {
  if (thinking === 'keep') return messages
  return messages.map(message => {
    if (message.role !== 'assistant') return message
    const { reasoning_content: _, reasoning: __, thinking: ___, ...others } = message
    if (message.content === null || message.content === undefined) return others
    const answer = contentText(message).replace(THOUGHT, '')
    return { ...others, content: thinking === 'empty' ? EMPTY + answer : answer }
  })
}
