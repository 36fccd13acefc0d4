// What language models of both kinds share: tokens are told, and judged by perplexity.

import { type Columns, columnNames } from '../data/columns.ts'
import { changed, type List } from '../data/list.ts'
import type { Row } from '../data/row.ts'
import { check } from '../errors.ts'
import { perplexityReport } from '../metrics/perplexity.ts'
import { must, nth } from '../tuple.ts'
import { type ItemsPrediction, rightItems, shareOfItems, viewItems, wrongItem } from './items.ts'
import { bootstrapShares } from './shared.ts'
import type { Asked, Reader, Task } from './task.ts'
import { wordIntervals, wordScores } from './words.ts'

/** A token as the vocabulary has it. */
export const tokenName = (id: number, { tokenizer }: Pick<Reader, 'tokenizer'>): string =>
  tokenizer.token(id) ?? `#${id}`

/** Columns that say nothing about a text. */
const idle = /^(|id|_id|idx|index|no|guid|uuid|unnamed: \d+|__index_level_\d+__)$/i

/** Why a text that stands alone is to be learned. @throws ERR_DATA where unknown columns stand beside it */
export function textAlone(name: string, rows: List<Row>, columns: Columns, asked: Asked): string | undefined {
  const { text, label } = columns
  if (text === undefined || label !== undefined || asked.task !== undefined) return undefined
  const others = columnNames(rows).filter(column => column !== text && !idle.test(column))
  check(others.length === 0, 'ERR_DATA', () => {
    const known = others.map(column => `"${column}"`).join(', ')
    return (
      `task: no label column is known beside "${text}", and the data also have ${known}; name the label with ` +
      `columns.label, or ask for task ${name} if the text alone is to be learned`
    )
  })
  return `"${text}" is text and there is no label column`
}

type Shared = 'strata' | 'score' | 'metric' | 'sample' | 'resample' | 'right' | 'wrong' | 'mistake' | 'view'

export const languageModel: Pick<Task<ItemsPrediction>, Shared> = {
  strata: rows => changed(rows, () => ''),
  score(predictions, _, { mean, weight }) {
    const correct = predictions.reduce((sum, prediction) => sum + shareOfItems(prediction)[0], 0)
    const report = perplexityReport([{ sum: mean * weight, tokens: weight, correct }])
    const { perplexity, bitsPerToken } = report
    const metrics = { perplexity, accuracy: correct / weight, bitsPerToken, ...wordScores(predictions) }
    return { metrics, reports: { perplexity: report } }
  },
  metric: () => 'loss',
  sample: () => ({
    positions: Int32Array.of(0),
    gold: Int32Array.of(0),
    predicted: Int32Array.of(0),
    probabilities: Float32Array.of(1),
  }),
  resample: (before, after, _, seed) => ({
    accuracy: bootstrapShares(before.map(shareOfItems), after.map(shareOfItems), seed),
    ...wordIntervals(before, after, seed),
  }),

  right: rightItems,
  wrong: wrongItem,
  mistake({ positions, predicted, gold, probabilities }, { ids }, reader) {
    let worst = -1
    predicted.forEach((id, i) => {
      if (id !== must(gold, 'gold')[i] && (worst < 0 || nth(probabilities, i) > nth(probabilities, worst))) worst = i
    })
    const at = nth(positions, worst)
    const said = tokenName(nth(predicted, worst), reader)
    const text = (part: Int32Array) => reader.tokenizer.decode(part)
    return {
      text: [{ text: text(ids.slice(0, at)) }, { text: said, mark: 'blank' }, { text: text(ids.slice(at + 1)) }],
      gold: tokenName(nth(must(gold, 'gold'), worst), reader),
      predicted: said,
      probability: nth(probabilities, worst),
    }
  },
  view: (batch, i, reader) => viewItems(batch, i, id => tokenName(id, reader)),
}
