// Causal language modelling: each token is told from those before it. Of conversations, and of prompts with
// completions, only what is answered is learned.

import { type Columns, columnOf } from '../data/columns.ts'
import { conversationOf, holdsMessages, promptText } from '../data/conversation.ts'
import { type Example, IGNORED } from '../data/example.ts'
import { type Row, textOf } from '../data/row.ts'
import { fail } from '../errors.ts'
import { causalLmHead, maskedLmHead } from '../heads/languageModel.ts'
import { filled } from '../options.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { must, nth } from '../tuple.ts'
import { CHAT_OPTIONS, type ChatOptions, chatExample } from './chat.ts'
import { cutIds } from './cut.ts'
import { type ItemsPrediction, readSupervised, viewItems } from './items.ts'
import { languageModel, textAlone, tokenName } from './languageModel.ts'
import { textFor } from './shared.ts'
import type { EncodeSpec, Task } from './task.ts'

const name = causalLmHead.task

/** The next token. */
export const causalLm: Task<ItemsPrediction> = {
  name,
  needs:
    'messages, prompts and completions, or texts (columns.messages, columns.prompt and completion, or columns.text)',
  title: 'causal language model',
  options: CHAT_OPTIONS,
  ...languageModel,
  says: true,

  infer(rows, columns, asked) {
    const { text, prompt, completion, messages } = columns
    if (asked.able && !asked.able.includes(name)) return undefined
    if (messages !== undefined) return `"${messages}" holds conversations`
    if (prompt !== undefined && completion !== undefined)
      return `"${completion}" is what is to be said after "${prompt}"`
    if (asked.task === name && text !== undefined) return `asked for; text in "${text}"`
    const { able } = asked
    const isDecoder = able?.includes(name) && !able.includes(maskedLmHead.task)
    return isDecoder ? textAlone(name, rows, columns, asked) : undefined
  },
  encode(row, tokenizer, spec) {
    const { columns, maxLength } = spec
    const chat = filled(CHAT_OPTIONS, spec.taskOptions ?? {}, name)
    if (isChat(row, columns, tokenizer, chat))
      return [chatExample(row, conversationOf(row, columns), tokenizer, { maxLength, chat })]
    if (columns.prompt === undefined) return textExamples(row, tokenizer, spec)
    return [
      answerExample(row, plainPrompt(row, columns), textOf(row, columnOf(columns, 'completion')), tokenizer, maxLength),
    ]
  },
  readable: () => fail('ERR_UNSUPPORTED', `predict: ${name} says texts; use generate`),
  parts: (row, tokenizer, spec) => [...causalLm.encode(row, tokenizer, spec)],

  read: (answers, examples, _, top) => readSupervised(answers, examples, learned, top),

  view(batch, i, reader) {
    // A label belongs to the row before its token: shown, it stands at the token itself.
    const { tokenLabels, weight } = viewItems(batch, i, id => tokenName(id, reader))
    return { tokenLabels: [null, ...must(tokenLabels, 'tokenLabels').slice(0, -1)], weight }
  },
  record({ predicted, gold, probabilities, words }, example, reader) {
    const tokens = Array.from(predicted, (id, i) => ({
      predicted: tokenName(id, reader),
      probability: nth(probabilities, i),
      ...(gold ? { gold: tokenName(nth(gold, i), reader) } : {}),
    }))
    const { said: generated, wanted } = words ?? {}
    return { text: textFor(example, reader), ...(words ? { generated, wanted } : {}), tokens }
  },
  line: ({ text, generated }) => [{ text }, { text: '\n    ' }, { text: String(generated), style: 'bold' }],
}

/** A text, with the token that ends it, in as many pieces as it takes; every token but the first is learned. */
function* textExamples(row: Row, tokenizer: Tokenizer, { columns, maxLength }: EncodeSpec): Generator<Example> {
  const ids = ended([...openedIds(tokenizer, textOf(row, columnOf(columns, 'text')))], tokenizer)
  // Each piece begins with the last token of the one before it, so that none goes unlearned.
  for (let start = 0; start === 0 || start < ids.length - 1; start += maxLength - 1) {
    const piece = Int32Array.from(ids.slice(start, start + maxLength))
    yield { ids: piece, label: piece, truncated: false, row }
  }
}

/** Messages are written by the chat template; prompts and completions where there is one, unless they are not to be. */
export function isChat(row: Row, columns: Columns, tokenizer: Tokenizer, options: ChatOptions): boolean {
  return holdsMessages(row, columns) || isTemplated(columns, tokenizer, options)
}

/** Whether prompts are written by the chat template, as what somebody says. */
export function isTemplated({ prompt }: Columns, { chatTemplate }: Tokenizer, { template }: ChatOptions): boolean {
  return prompt !== undefined && chatTemplate !== undefined && template !== 'none'
}

/**
 * A prompt and its completion, read as one text, since tokens may span where they meet; what the prompt alone would not
 * have begun with is learned.
 */
export function answerExample(row: Row, given: string, said: string, tokenizer: Tokenizer, maxLength: number): Example {
  const prompt = openedIds(tokenizer, given)
  const whole = ended([...openedIds(tokenizer, given + said)], tokenizer)
  const differs = prompt.findIndex((id, t) => id !== whole[t])
  const known = differs < 0 ? prompt.length : differs
  const ids = Int32Array.from(whole)
  const label = ids.map((id, t) => (t < known ? IGNORED : id))
  return cutIds(row, ids, label, maxLength, tokenizer.truncationSide)
}

/** A prompt as plain text: as it stands, or an instruction under headings as Stanford's Alpaca has them. */
export function plainPrompt(row: Row, columns: Columns): string {
  if (columns.context === undefined && columns.prompt !== 'instruction') return promptText(row, columns)
  const about = columns.context === undefined ? '' : textOf(row, columns.context)
  const input = about === '' ? '' : `### Input:\n${about}\n\n`
  return `### Instruction:\n${textOf(row, columnOf(columns, 'prompt'))}\n\n${input}### Response:\n`
}

/** Ids of a text as the tokenizer begins one, without what it would end it with. */
export function openedIds(tokenizer: Tokenizer, text: string): number[] {
  const { bos } = tokenizer.specials
  const tokens = tokenizer.tokens(text)
  return bos === undefined || tokenizer.encode(text).ids[0] !== bos || tokens[0] === bos ? tokens : [bos, ...tokens]
}

function ended(ids: number[], { specials: { eos } }: Tokenizer): number[] {
  return eos === undefined ? ids : [...ids, eos]
}

/** Where the tokens are that are learned; the first of a sequence has none before it to be told from. */
function learned({ label }: Example): Int32Array {
  const labels = label instanceof Int32Array ? label : new Int32Array()
  return Int32Array.from(labels.keys()).filter(t => t > 0 && labels[t] !== IGNORED)
}
