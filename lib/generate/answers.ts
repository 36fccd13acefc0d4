// What a language model says to examples, beside what they wanted: an evaluation in words.

import { type Example, IGNORED } from '../data/example.ts'
import type { List } from '../data/list.ts'
import type { Model } from '../model.ts'
import { checkOptions } from '../options.ts'
import type { Words } from '../tasks/task.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { Decoder } from './decoder.ts'
import { choiceOf } from './options.ts'

/** How examples are answered. */
export interface AnswersOptions {
  /** The first so many examples. */
  readonly rows: number
  /** Most tokens of an answer. Default 256. */
  readonly maxNewTokens?: number | undefined
  /** Answers under way at a time. Default 16. */
  readonly batchSize?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Says something to examples, in their order; undefined to those that ask for nothing. */
export type Say = (model: Model, examples: List<Example>) => Promise<readonly (Words | undefined)[]>

/** Answers by the likeliest token each time: to the last turn of the assistant, a prompt, or what an encoder reads. */
export function sayWith(tokenizer: Tokenizer, options: AnswersOptions): Say {
  checkOptions('sayWith', options, { rows: true, maxNewTokens: true, batchSize: true, signal: true })
  const { rows, maxNewTokens, batchSize, signal } = options
  return async (model, examples) => {
    const choice = choiceOf(model, { maxNewTokens, signal })
    const decoder = new Decoder(model, { sequences: batchSize })
    const answer = async (example: Example): Promise<Words | undefined> => {
      const asked = askedIn(example)
      if (!asked) return undefined
      const said: number[] = []
      for await (const id of decoder.tokens(asked.prompt, choice)) if (!choice.ends.has(id)) said.push(id)
      return { said: tokenizer.decode(said), wanted: tokenizer.decode(asked.wanted) }
    }
    try {
      return await Promise.all(examples.slice(0, rows).map(answer))
    } finally {
      await decoder.close()
    }
  }
}

/** What stands before the last tokens that are learned, and these; undefined where nothing stands before them. */
function askedIn({ ids, label, target }: Example): { prompt: Int32Array; wanted: Int32Array } | undefined {
  if (target) return { prompt: ids, wanted: target }
  if (!(label instanceof Int32Array)) return undefined
  let end = ids.length
  while (end > 0 && label[end - 1] === IGNORED) end--
  let start = end
  while (start > 0 && label[start - 1] !== IGNORED) start--
  return start > 0 && end > start ? { prompt: ids.slice(0, start), wanted: ids.slice(start, end) } : undefined
}
