// What a trained language model is asked, written as in its training.

import { type ColumnNames, type Columns, columnNames, findColumns } from '../data/columns.ts'
import { contentText, conversationOf, holdsMessages } from '../data/conversation.ts'
import { placeOf, type Row } from '../data/row.ts'
import { check } from '../errors.ts'
import { type CompleteOptions, complete, type Prompt } from '../generate/generate.ts'
import { filled } from '../options.ts'
import { plainPrompt } from '../tasks/causalLm.ts'
import { CHAT_OPTIONS, type ChatOptions } from '../tasks/chat.ts'
import type { PredictionRecord } from '../tasks/task.ts'
import type { Message } from '../tokenizer/chatTemplate.ts'
import { lastOf, must, nth } from '../tuple.ts'
import type { Trained } from './trained.ts'

type Asked = Pick<Trained, 'tokenizer' | 'taskOptions' | 'columnNames'>

/** How conversations are written. */
export function chatOf({ taskOptions }: Pick<Trained, 'taskOptions'>): ChatOptions {
  const own = Object.entries(taskOptions).filter(([name]) => name in CHAT_OPTIONS)
  return filled(CHAT_OPTIONS, Object.fromEntries(own), 'chat')
}

/** Whether texts are turns of a user: the tokenizer has a template, and the training data were no plain texts. */
export function chats(asked: Asked): boolean {
  const { tokenizer, columnNames } = asked
  return tokenizer.chatTemplate !== undefined && chatOf(asked).template !== 'none' && columnNames.text === undefined
}

/** What is continued where somebody says a text, after a system message where there is one. */
export function promptFor(trained: Asked, text: string, system?: string): Prompt {
  if (chats(trained)) {
    const before = system === undefined ? [] : [{ role: 'system', content: system }]
    return [...before, { role: 'user', content: text }]
  }
  check(
    system === undefined,
    'ERR_OPTION',
    () => 'system: the model continues plain texts, which have no system message',
  )
  const { prompt, context } = trained.columnNames
  // Where a row holds nothing but a text, that is the prompt.
  if (prompt === undefined) return text
  const row = { values: { [prompt]: text }, file: '', line: 1 }
  return plainPrompt(row, { prompt, ...(context === undefined ? {} : { context }) })
}

/** What is continued in a row: its messages up to the assistant's last, its prompt, or its text. */
function promptOfRow(trained: Asked, row: Row, columns: Columns): { prompt: Prompt; tools?: readonly unknown[] } {
  const { completion: _, ...given } = columns
  const isChat = holdsMessages(row, columns) || (columns.prompt !== undefined && chats(trained))
  if (!isChat) {
    const value = columns.text === undefined ? undefined : row.values[columns.text]
    const text = columns.prompt === undefined ? String(value ?? '') : plainPrompt(row, given)
    return { prompt: columns.prompt === undefined ? promptFor(trained, text) : text }
  }
  const { messages, tools } = conversationOf(row, given)
  const prompt = asked(messages)
  check(prompt.length > 0, 'ERR_DATA', () => {
    return `predict: ${placeOf(row)} holds the assistant's answer alone; put before it what is asked`
  })
  return { prompt, ...(tools ? { tools } : {}) }
}

/** A conversation up to where the assistant speaks last. */
function asked(messages: readonly Message[]): readonly Message[] {
  return messages.at(-1)?.role === 'assistant' ? messages.slice(0, -1) : messages
}

/**
 * What a trained language model says to rows, in their order: to their messages, prompts or texts.
 * @throws ERR_DATA for rows without any of these
 */
export async function* answerRows(
  trained: Trained,
  rows: readonly Row[],
  { columns: given, ...options }: CompleteOptions & { readonly columns?: ColumnNames | undefined },
): AsyncGenerator<PredictionRecord> {
  const { model, tokenizer } = trained
  const seen = columnNames(rows)
  const known = Object.entries(trained.columnNames).filter(([, name]) => name !== undefined && seen.includes(name))
  const columns = findColumns(seen, given ?? Object.fromEntries(known))
  const asked = rows.map(row => promptOfRow(trained, row, columns))
  for (const [i, { prompt, tools }] of asked.entries()) {
    // Those that share their tools go side by side.
    if (i > 0 && nth(asked, i - 1).tools === tools) continue
    const end = asked.findIndex((other, k) => k > i && other.tools !== tools)
    const group = asked.slice(i, end < 0 ? undefined : end)
    const prompts = group.map(one => one.prompt)
    const said = await complete(model, tokenizer, prompts, { ...options, chat: chatOf(trained), tools })
    for (const [k, [first]] of said.entries()) {
      const { text: generated, finish, tokens } = must(first, 'first')
      yield { text: lastText(prompts[k] ?? prompt), generated, finish, tokens }
    }
  }
}

function lastText(prompt: Prompt): string {
  return typeof prompt === 'string' ? prompt : contentText(lastOf(prompt))
}
