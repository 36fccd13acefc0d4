// `lowrank inspect batch`: the first optimizer step as the model sees it.

import { type BatchOptions, batches } from '../../data/batches.ts'
import { check } from '../../errors.ts'
import { findBase, findTokenizer, loadBase, maxLengthOf, tasksOf } from '../../open/base.ts'
import { viewBatch } from '../../tasks/batchView.ts'
import { taskOf } from '../../tasks/index.ts'
import { headFor } from '../../tasks/prepare.ts'
import { supervision } from '../../tasks/supervision.ts'
import { resolveClassWeights } from '../../train/checks.ts'
import { encode, optionsFor, readSplits } from '../data.ts'
import type { Settings } from '../options/options.ts'
import { renderBatch } from '../terminal/batchLines.ts'
import type { Console } from '../terminal/console.ts'
import { countText, plural } from '../terminal/format.ts'

/** What of the settings decides the batches, as training has them. */
function planOf(settings: Settings): Omit<BatchOptions, 'collate'> {
  const { batchSize, batchTokens, accumulate, seed, groupByLength, dropLast } = settings
  return { batchSize, batchTokens, accumulate, seed, groupByLength, dropLast, shuffle: true }
}

/** Prints the first batch of training. @throws ERR_DATA where some row has no label that counts */
export async function inspectBatchCommand(settings: Settings, console: Console): Promise<number> {
  const base = await findBase(settings)
  const tokenizer = await findTokenizer(settings, base.path)
  const data = await readSplits(settings, tasksOf(base.path))
  for (const notice of data.notices) console.note(notice)
  const model = await loadBase(base.path, headFor(data, settings.labels), settings, 'meta')
  try {
    const maxLength = maxLengthOf(settings, model, tokenizer)
    const task = taskOf(data.choice)
    const options = optionsFor(task, settings)
    const { examples, truncated } = await encode(data.splits.train, tokenizer, data, maxLength, options)
    const classWeights = resolveClassWeights(model, examples, settings.classWeights)
    const transform = task.transform?.(tokenizer, options)
    const { collate } = model.head
    const step = batches(examples, { ...planOf(settings), classWeights, transform, collate }).at(0)
    const reader = { tokenizer, task, labels: model.labels, classWeights }
    const sequences = step.microBatches.flatMap(batch => viewBatch(batch, reader))
    const { without } = supervision(model, examples)
    console.line(
      `step 1: ${plural(step.samples, 'sequence')}, ${countText(step.tokens)} tokens, loss divided by ${+step.total.toFixed(4)}`,
    )
    for (const line of renderBatch(sequences, console.color)) console.line(line)
    console.event({
      type: 'summary',
      samples: step.samples,
      tokens: step.tokens,
      total: step.total,
      truncated,
      sequences,
    })
    check(transform || without === 0, 'ERR_DATA', () => {
      return `labels: ${without} of ${examples.length} training rows have no label that counts; check the label column`
    })
    return 0
  } finally {
    model.dispose()
  }
}
