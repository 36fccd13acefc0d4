// `lowrank generate`: what a language model says to texts.

import { complete, type Generated, generate } from '../../generate/generate.ts'
import { chatOf, promptFor } from '../../open/ask.ts'
import { useThreads } from '../../open/base.ts'
import type { Trained } from '../../open/trained.ts'
import { taskOfModel } from '../../tasks/index.ts'
import { nth } from '../../tuple.ts'
import { optionsFor } from '../data.ts'
import { cacheOf, generationOf } from '../options/generation.ts'
import type { Settings } from '../options/options.ts'
import { type Console, paint } from '../terminal/console.ts'
import { typedLines } from '../terminal/lines.ts'
import { typedTexts } from '../texts.ts'
import { openTold, speakerOf } from '../trained.ts'

/** Prints what follows each text: one as it comes, several as they are done. */
export async function generateCommand(given: Settings, console: Console): Promise<number> {
  const spoken = speakerOf(given)
  const texts = typedTexts(spoken, 'write what it holds to the standard input, one text a line')
  const settings = { ...spoken, texts }
  useThreads(settings)
  const started = performance.now()
  const opened = await openTold(settings, console)
  const own = optionsFor(taskOfModel(opened.model), settings, opened.taskOptions)
  const trained = { ...opened, taskOptions: own }
  try {
    let count = 0
    for await (const texts of groups(settings)) {
      count += texts.length
      if (texts.length === 1 && settings.samples === 1) await streamOne(trained, nth(texts, 0), settings, console)
      else await printAll(trained, texts, settings, console)
      if (console.closed) break
    }
    console.event({ type: 'summary', texts: count, seconds: (performance.now() - started) / 1000 })
    return 0
  } finally {
    opened.model.dispose()
  }
}

/** The texts given, at once; those of the standard input one by one. */
async function* groups({ texts }: Settings): AsyncGenerator<readonly string[]> {
  if (texts) yield texts
  else for await (const { text } of typedLines()) yield [text]
}

async function streamOne(trained: Trained, text: string, settings: Settings, console: Console): Promise<void> {
  const { model, tokenizer } = trained
  const chat = chatOf(trained)
  let [said, finish]: [string, Generated['finish']] = ['', 'length']
  const prompt = promptFor(trained, text, settings.system)
  const options = { ...generationOf(settings), cacheType: settings.cacheType, chat }
  for await (const piece of generate(model, tokenizer, prompt, options)) {
    console.text(piece.text)
    said += piece.text
    finish = piece.finish ?? finish
    if (console.closed) return
  }
  console.line()
  console.event({ type: 'generation', prompt: text, text: said, finish })
}

async function printAll(
  trained: Trained,
  texts: readonly string[],
  settings: Settings,
  console: Console,
): Promise<void> {
  const { model, tokenizer } = trained
  const chat = chatOf(trained)
  const prompts = texts.map(text => promptFor(trained, text, settings.system))
  const options = { ...generationOf(settings), ...cacheOf(settings), chat, n: settings.samples }
  const all = await complete(model, tokenizer, prompts, options)
  for (const [i, completions] of all.entries())
    for (const { text, finish, tokens } of completions) {
      console.line(paint(console.color, 'dim', nth(texts, i)))
      console.line(text)
      console.line()
      console.event({ type: 'generation', prompt: texts[i], text, finish, tokens })
    }
}
