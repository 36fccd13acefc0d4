// What all problems of sequence classification share: texts, pairs and their labels.

import type { MicroBatch } from '../data/batches.ts'
import { columnOf } from '../data/columns.ts'
import type { Example } from '../data/example.ts'
import type { LabelMap } from '../data/labels.ts'
import { type Row, textOf } from '../data/row.ts'
import { sequenceHead } from '../heads/sequenceClassification.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { must } from '../tuple.ts'
import type { EncodeSpec } from './task.ts'
import { textWindows } from './windows.ts'

export const sequenceName = sequenceHead.task
export const sequenceNeeds = 'a text column and a label column (columns.text, columns.label)'

/** A text or pair, and its label as `labelOf` reads it. */
export function* encodeText(
  row: Row,
  tokenizer: Tokenizer,
  spec: EncodeSpec,
  labelOf: (row: Row, column: string, labels: LabelMap | undefined) => Example['label'],
): Generator<Example> {
  const { columns, maxLength, unlabelled, labels } = spec
  const { text2, label: column } = columns
  const text = columnOf(columns, 'text')
  const pair = text2 === undefined ? undefined : textOf(row, text2)
  const { ids, typeIds, truncated } = tokenizer.encode(textOf(row, text), { pair, maxLength })
  const label = unlabelled || column === undefined ? undefined : labelOf(row, column, labels)
  yield { ids, typeIds, label, truncated, row }
}

/** A text in as many windows as it takes; pairs are cut. */
export function textParts(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): readonly Example[] {
  const [example] = encodeText(row, tokenizer, spec, () => undefined)
  if (example && (!example.truncated || spec.columns.text2 !== undefined)) return [example]
  return textWindows(row, textOf(row, columnOf(spec.columns, 'text')), tokenizer, spec.maxLength)
}

/** Targets of sequence `i`, where they are numbers. */
export function numbersAt({ targets }: MicroBatch, i: number): number[] {
  const { values, width } = must(targets, 'targets')
  return Array.from(values.subarray(i * width, (i + 1) * width))
}
