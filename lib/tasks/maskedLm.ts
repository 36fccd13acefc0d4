import { columnOf } from '../data/columns.ts'
// Masked language modelling: tokens of a text are hidden and told from the rest.

import { type Example, IGNORED } from '../data/example.ts'
import { maskingOf, textBlocks } from '../data/maskedLm.ts'
import { placeOf, type Row, textOf } from '../data/row.ts'
import { check } from '../errors.ts'
import { maskedLmHead } from '../heads/languageModel.ts'
import { filled, type OptionTable } from '../options.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { nth } from '../tuple.ts'
import { type ItemsPrediction, readSupervised } from './items.ts'
import { languageModel, textAlone, tokenName } from './languageModel.ts'
import { shareRun, textFor, textRows } from './shared.ts'
import type { EncodeSpec, PredictionRecord, Task, TextRun } from './task.ts'

/** What stands behind a mask. */
interface TokenRecord {
  readonly predicted: string
  readonly probability: number
  readonly gold?: string
  /** The likeliest tokens, the first being `predicted`. */
  readonly top?: readonly { readonly predicted: string; readonly probability: number }[]
}

const name = maskedLmHead.task
const OPTIONS = {
  maskProbability: {
    kind: 'number',
    default: 0.15,
    help: 'Share of tokens hidden',
    min: 0.01,
    max: 1,
    search: { from: 0.1, to: 0.4 },
  },
} as const satisfies OptionTable

/** Hidden tokens. */
/** What predict tells of a text: each token that was hidden. */
type MasksRecord = PredictionRecord & { readonly tokens: readonly TokenRecord[] }

export const maskedLm: Task<ItemsPrediction, MasksRecord> = {
  name,
  needs: 'a text column (columns.text)',
  title: 'masked language model',
  ranks: true,
  tells: 5,
  ...languageModel,

  infer(rows, columns, asked) {
    const { text } = columns
    if (text === undefined) return undefined
    if (asked.task === name) return `asked for; text in "${text}"`
    return asked.able && !asked.able.includes(name) ? undefined : textAlone(name, rows, columns, asked)
  },
  readable: textRows,

  options: OPTIONS,
  transform(tokenizer, options) {
    const { maskProbability: probability } = filled(OPTIONS, options, name)
    return maskingOf(tokenizer, { probability })
  },
  parts: maskParts,

  *encode(row, tokenizer, { columns, maxLength }) {
    yield* textBlocks([row], columnOf(columns, 'text'), tokenizer, { length: maxLength, across: false })
  },

  read: (answers, examples, _, top) => readSupervised(answers, examples, answered, top),
  record({ predicted, gold, probabilities, top }, example, reader) {
    const tokens = Array.from(predicted, (id, i): TokenRecord => {
      const ranked = top?.[i]?.map(one => ({ predicted: tokenName(one.id, reader), probability: one.probability }))
      return {
        predicted: tokenName(id, reader),
        probability: nth(probabilities, i),
        ...(ranked ? { top: ranked } : {}),
        ...(gold ? { gold: tokenName(nth(gold, i), reader) } : {}),
      }
    })
    return { text: textFor(example, reader), tokens }
  },
  line({ text, tokens }) {
    const masks = tokens.flatMap(({ predicted, probability, top }) => {
      const found = (top ?? [{ predicted, probability }]).flatMap((one, i): TextRun[] => [
        { text: i === 0 ? '\n    ' : ', ' },
        { text: one.predicted, style: 'bold' },
        { text: ' ' },
        shareRun(one.probability),
      ])
      return found
    })
    return [{ text }, ...masks]
  },
}

/** Blocks of a text that hold masks. @throws ERR_DATA where none does */
function maskParts(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): readonly Example[] {
  const { mask } = tokenizer.specials
  const parts = [...maskedLm.encode(row, tokenizer, spec)].flatMap(block => {
    const asked = Int32Array.from(block.ids.keys()).filter(t => block.ids[t] === mask)
    return asked.length > 0 ? [{ ...block, asked }] : []
  })
  check(parts.length > 0, 'ERR_DATA', () => {
    const what = mask === undefined ? 'mask' : tokenizer.token(mask)
    return `predict: "${textOf(row, columnOf(spec.columns, 'text'))}" (${placeOf(row)}) has no ${what} token to fill`
  })
  return parts
}

/** Hidden tokens: those with a label, those that are asked for, else all. */
function answered({ ids, label, asked }: Example): Int32Array {
  if (label instanceof Int32Array) return Int32Array.from(ids.keys()).filter(t => label[t] !== IGNORED)
  return asked ?? Int32Array.from(ids.keys())
}
