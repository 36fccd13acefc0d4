// Text to text: an encoder reads the prompt, and a decoder says the completion, each with the token that ends it.

import { textOf } from '../data/row.ts'
import type { Targets } from '../data/targets.ts'
import { check, fail } from '../errors.ts'
import { seq2seqLmHead } from '../heads/languageModel.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { must, nth } from '../tuple.ts'
import { causalLm } from './causalLm.ts'
import { type ItemsPrediction, readItems } from './items.ts'
import { languageModel, tokenName } from './languageModel.ts'
import type { Task } from './task.ts'

const name = seq2seqLmHead.task

/** What is said to what was read. */
export const seq2seqLm: Task<ItemsPrediction> = {
  name,
  needs: 'prompts and completions (columns.prompt and columns.completion)',
  title: 'text-to-text model',
  ...languageModel,
  says: true,

  infer(_, { prompt, completion }, { able }) {
    if (prompt === undefined || completion === undefined || (able && !able.includes(name))) return undefined
    return `"${completion}" is what is to be said to "${prompt}"`
  },
  *encode(row, tokenizer, { columns, maxLength, unlabelled }) {
    const { prompt, completion } = columns
    check(prompt !== undefined, 'ERR_OPTION', () => `columns.prompt: ${name} needs prompts`)
    const { ids, truncated } = withEnd(tokenizer, textOf(row, prompt), maxLength)
    const said =
      unlabelled || completion === undefined ? undefined : withEnd(tokenizer, textOf(row, completion), maxLength)
    yield { ids, target: said?.ids, truncated: truncated || said?.truncated === true, row }
  },
  readable: () => fail('ERR_UNSUPPORTED', `predict: ${name} says texts; use generate`),
  parts: (row, tokenizer, spec) => [...seq2seqLm.encode(row, tokenizer, spec)],

  read(answers, examples, { decoder }, top) {
    const itemsOf = (target: Int32Array, i: number) => {
      const positions = Int32Array.from(target.keys())
      return { positions, rows: positions.map(t => nth(must(decoder, 'decoder').cuSeqlens, i) + t) }
    }
    const labelled = examples.map(example => ({ ...example, label: example.target }))
    return readItems(answers, labelled, ({ target }, i) => itemsOf(must(target, 'target'), i), top)
  },
  record: causalLm.record,
  line: causalLm.line,
  mistake: (prediction, example, reader) =>
    languageModel.mistake(prediction, { ...example, ids: must(example.target, 'target') }, reader),

  view({ ids, cuSeqlens, decoder, targets }, i, reader) {
    const part = (all: Targets['values'], { cuSeqlens: at }: { cuSeqlens: Int32Array }) => {
      return Array.from(all.subarray(at[i], at[i + 1]), id => tokenName(id, reader))
    }
    const [read, said] = [part(ids, { cuSeqlens }), part(must(targets, 'targets').values, must(decoder, 'decoder'))]
    return {
      tokens: [...read, '→', ...said],
      tokenLabels: [...read.map(() => null), null, ...said],
      weight: said.length,
    }
  },
}

/** A text with the token that ends it; a longer one loses what stands before that. */
export function withEnd(tokenizer: Tokenizer, text: string, maxLength: number) {
  const { eos } = tokenizer.specials
  const { ids, truncated } = tokenizer.encode(text, Number.isFinite(maxLength) ? { maxLength } : {})
  if (eos === undefined || ids.at(-1) === eos) return { ids, truncated }
  const kept = ids.slice(0, maxLength - 1)
  return { ids: Int32Array.of(...kept, eos), truncated: truncated || kept.length < ids.length }
}
