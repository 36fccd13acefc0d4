// What language models of both kinds share: tokens are told, and judged by perplexity.

import { perplexityReport } from '../metrics/perplexity.ts'
import { type ItemsPrediction, shareOfItems, viewItems, wrongItem } from './items.ts'
import { bootstrapShares } from './shared.ts'
import type { Reader, Task } from './task.ts'

/** A token as the vocabulary has it. */
export const nameOf = (id: number, { tokenizer }: Pick<Reader, 'tokenizer'>): string => tokenizer.token(id) ?? `#${id}`

type Shared = 'strata' | 'score' | 'metric' | 'sample' | 'resample' | 'wrong' | 'mistake' | 'view'

export const languageModel: Pick<Task<ItemsPrediction>, Shared> = {
  strata: rows => rows.map(() => ''),
  score(predictions, _, { mean, weight }) {
    const correct = predictions.reduce((sum, prediction) => sum + shareOfItems(prediction)[0], 0)
    const report = perplexityReport([{ sum: mean * weight, tokens: weight, correct }])
    const { perplexity, bitsPerToken } = report
    return { metrics: { perplexity, accuracy: correct / weight, bitsPerToken }, reports: { perplexity: report } }
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
  }),

  wrong: wrongItem,
  mistake({ positions, predicted, gold, probabilities }, { ids }, reader) {
    let worst = -1
    predicted.forEach((id, i) => {
      if (id !== gold![i] && (worst < 0 || probabilities[i]! > probabilities[worst]!)) worst = i
    })
    const at = positions[worst]!
    const said = nameOf(predicted[worst]!, reader)
    const text = (part: Int32Array) => reader.tokenizer.decode(part)
    return {
      text: [{ text: text(ids.slice(0, at)) }, { text: said, mark: 'blank' }, { text: text(ids.slice(at + 1)) }],
      gold: nameOf(gold![worst]!, reader),
      predicted: said,
      probability: probabilities[worst]!,
    }
  },
  view: (batch, i, reader) => viewItems(batch, i, id => nameOf(id, reader)),
}
