// Records of what a model says about rows.

import type { ColumnNames, Columns } from '../data/columns.ts'
import type { Row } from '../data/row.ts'
import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import type { Model } from '../model.ts'
import { checkIdle, checkOptions } from '../options.ts'
import { unknownOfText } from '../tasks/encode.ts'
import { taskOfModel } from '../tasks/index.ts'
import { columnsIn } from '../tasks/infer.ts'
import type { PredictionRecord, TaskValues } from '../tasks/task.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { isCount, must, nth } from '../tuple.ts'
import { predict } from './evaluate.ts'

/** A model that can be asked. */
export interface Predictor {
  readonly model: Model
  readonly tokenizer: Tokenizer
  /** Tokens that it reads at once; longer rows are read in windows. */
  readonly maxLength: number
  /** Options of the task's own, as it was trained. */
  readonly taskOptions?: TaskValues
}

/** How rows are read and what is told of them. */
export interface PredictOptions {
  /** Columns by part; found by their usual names otherwise. */
  readonly columns?: ColumnNames | undefined
  readonly batchSize?: number | undefined
  /** Likeliest answers to tell. */
  readonly top?: number | undefined
}

/**
 * A record for each row, in order. Rows longer than the model reads are read in windows (`windows` says how many);
 * pairs are cut (`truncated`). `unknown` tells the tokens that the vocabulary lacks, where these are more than a fifth.
 * @throws ERR_DATA for rows that the task can't read, ERR_CHECKPOINT for a model whose logits are not finite
 */
export async function* predictRows(
  predictor: Predictor,
  rows: readonly Row[],
  options: PredictOptions = {},
): AsyncGenerator<PredictionRecord> {
  checkOptions('predictRows', options, { columns: true, batchSize: true, top: true })
  const { model, tokenizer, maxLength, taskOptions } = predictor
  const { columns: given = {}, batchSize, top: wanted } = options
  const task = taskOfModel(model)
  check(wanted === undefined || isCount(wanted), 'ERR_OPTION', () => `top: ${shown(wanted)} is no whole number from 0`)
  if (!task.ranks) checkIdle('top', wanted, () => `on ${task.title}, whose answers are not ranked`)
  const found: Columns = columnsIn(rows, given, task.name)
  const { rows: read, columns } = task.readable(rows, found)
  const reader = { tokenizer, labels: model.labels, columns }
  const top = wanted ?? task.tells ?? 1
  const parts = read.map(row => task.parts(row, tokenizer, { columns, maxLength, taskOptions, unlabelled: true }))
  const predictions = predict(model, parts.flat(), { batchSize, top: task.tells ? top : 0 })
  for (const examples of parts) {
    const own = []
    while (own.length < examples.length) own.push(must((await predictions.next()).value, 'value'))
    const unknown = unknownOfText(examples, tokenizer)
    const lacks = unknown === undefined ? {} : { unknown }
    if (!task.merge) {
      for (const [i, prediction] of own.entries())
        yield { ...task.record(prediction, nth(examples, i), reader, top), ...lacks }
      continue
    }
    const record = task.record(task.merge(own, examples), nth(examples, 0), reader, top)
    yield {
      ...record,
      ...(examples.length > 1 ? { windows: examples.length } : {}),
      ...(examples.some(({ truncated }) => truncated) ? { truncated: true } : {}),
      ...lacks,
    }
  }
}
