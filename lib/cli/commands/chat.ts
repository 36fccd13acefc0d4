// `lowrank chat`: a conversation with a language model in the terminal.

import { createInterface, type Interface } from 'node:readline'
import { check } from '../../errors.ts'
import { Decoder } from '../../generate/decoder.ts'
import { generateBy } from '../../generate/generate.ts'
import { chatOf, chats } from '../../open/ask.ts'
import { useThreads } from '../../open/base.ts'
import type { Trained } from '../../open/trained.ts'
import { taskOfModel } from '../../tasks/index.ts'
import type { Message } from '../../tokenizer/chatTemplate.ts'
import { lastOf } from '../../tuple.ts'
import { optionsFor } from '../data.ts'
import { cacheOf, generationOf } from '../options/generation.ts'
import type { Settings } from '../options/options.ts'
import { type Console, paint } from '../terminal/console.ts'
import { openTold, speakerOf } from '../trained.ts'

const HELP =
  '/reset forgets, /system TEXT begins anew under a system message, /exit or Ctrl-D ends, Ctrl-C stops an answer'

/** Answers line by line, with all that was said before, until the input ends. */
export async function chatCommand(given: Settings, console: Console): Promise<number> {
  const settings = speakerOf(given)
  useThreads(settings)
  const opened = await openTold(settings, console)
  const own = optionsFor(taskOfModel(opened.model), settings, opened.taskOptions)
  const trained = { ...opened, taskOptions: own }
  const terminal = process.stdin.isTTY === true
  const input = createInterface({
    input: process.stdin,
    ...(terminal ? { output: process.stdout, prompt: paint(console.color, ['bold', 'cyan'], '> ') } : {}),
  })
  try {
    check(chats(trained), 'ERR_UNSUPPORTED', () => {
      return `chat: ${settings.adapter} has no chat template, or was trained on plain texts; use lowrank generate`
    })
    if (terminal) console.note(HELP)
    await talk(trained, input, settings, console)
    return 0
  } finally {
    input.close()
    opened.model.dispose()
  }
}

async function talk(trained: Trained, input: Interface, settings: Settings, console: Console): Promise<void> {
  // One for all turns: what was said before is not read again.
  const decoder = new Decoder(trained.model, cacheOf(settings))
  let messages = begin(settings.system)
  let answering: AbortController | undefined
  input.on('SIGINT', () => {
    if (answering) answering.abort(new Error('stopped'))
    else input.close()
  })
  try {
    input.prompt()
    for await (const line of input) {
      const text = line.trim()
      if (text === '/exit' || console.closed) break
      if (text === '/reset') messages = begin(settings.system)
      else if (text.startsWith('/system ')) messages = begin(text.slice('/system '.length))
      else if (text === '/help') console.note(HELP)
      else if (text !== '') {
        answering = new AbortController()
        messages = await answer(
          { ...trained, decoder },
          [...messages, { role: 'user', content: text }],
          answering.signal,
          settings,
          console,
        )
        answering = undefined
      }
      input.prompt()
    }
  } finally {
    await decoder.close()
  }
}

function begin(system: string | undefined): Message[] {
  return system === undefined ? [] : [{ role: 'system', content: system }]
}

/** Says what the model says, and gives the conversation with it; one that was stopped stays as far as it got. */
async function answer(
  trained: Trained & { readonly decoder: Decoder },
  messages: Message[],
  signal: AbortSignal,
  settings: Settings,
  console: Console,
): Promise<Message[]> {
  const { decoder, model, tokenizer } = trained
  const options = { ...generationOf(settings), chat: chatOf(trained), signal }
  let said = ''
  try {
    for await (const { text } of generateBy(decoder, model, tokenizer, messages, options)) {
      console.text(text)
      said += text
    }
  } catch (error) {
    if (error !== signal.reason) throw error
    console.text(' …')
  }
  console.line()
  console.event({ type: 'answer', prompt: lastOf(messages).content, text: said })
  return [...messages, { role: 'assistant', content: said }]
}
