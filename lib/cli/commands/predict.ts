// `lowrank predict`: what a trained adapter says about texts.

import { createInterface } from 'node:readline'
import { packExamples } from '../../data/batches.ts'
import { type Columns, columnNames, findColumns } from '../../data/columns.ts'
import { type Example, encodeRow, IGNORED } from '../../data/encode.ts'
import { readLines } from '../../data/lines.ts'
import { openFile } from '../../data/open.ts'
import { type Row, textOf } from '../../data/row.ts'
import { splitWords } from '../../data/words.ts'
import { check } from '../../errors.ts'
import { softmax } from '../../heads/decode.ts'
import { scope } from '../../tensor.ts'
import { predict } from '../../train/evaluate.ts'
import { openTrained, type Trained } from '../adapter.ts'
import { useThreads } from '../base.ts'
import { openOptions, problemTypeOf } from '../data.ts'
import type { Settings } from '../options/options.ts'
import { type PredictionRecord, predictionLine, predictionRecord } from '../predictions.ts'
import type { Console } from '../terminal/console.ts'

const chunk = 256

/** Prints predictions for the texts given, the rows of a file, or the lines of the standard input, as they are done. */
export async function predictCommand(settings: Settings, console: Console): Promise<number> {
  useThreads(settings)
  const started = performance.now()
  const trained = openTrained(settings)
  let count = 0
  try {
    for await (const rows of chunks(rowsOf(settings, console), groupSize(settings))) {
      for await (const record of predictRows(trained, rows, settings)) {
        count++
        console.line(predictionLine(record, console.color))
        console.event({ type: 'prediction', ...record })
      }
      if (console.closed) break
    }
    check(count > 0, 'ERR_DATA', () => 'predict: there is no text; give texts, --input or lines on the standard input')
    console.event({ type: 'summary', predictions: count, seconds: (performance.now() - started) / 1000 })
    return 0
  } finally {
    trained.model.dispose()
  }
}

/** A model that can be asked. */
export type Predictor = Pick<Trained, 'model' | 'tokenizer' | 'maxLength'>

/** Records of some rows, in their order. */
export async function* predictRows(
  trained: Predictor,
  rows: readonly Row[],
  settings: Pick<Settings, 'columns' | 'evalBatchSize' | 'top'>,
): AsyncGenerator<PredictionRecord> {
  const { model, tokenizer, maxLength } = trained
  const { task, problem } = model.head
  const { rows: read, columns } = readable(rows, settings.columns ?? {}, task === 'token-classification')
  const spec = { task, problemType: problemTypeOf(problem), columns, maxLength, unlabelled: true }
  const examples = read.map(row => encodeRow(row, tokenizer, spec))
  const reader = { tokenizer, labels: model.labels, columns }
  if (task === 'masked-lm') {
    for (const example of examples)
      yield await fillMasks(trained, example, textOf(example.row, columns.text!), settings.top)
    return
  }
  let i = 0
  for await (const prediction of predict(model, examples, { batchSize: settings.evalBatchSize }))
    yield predictionRecord(prediction, examples[i++]!, reader, settings.top)
}

/** Rows with their columns; texts become words where words are tagged. */
function readable(
  rows: readonly Row[],
  given: Settings['columns'] & {},
  tagged: boolean,
): { rows: readonly Row[]; columns: Columns } {
  const columns = findColumns(columnNames(rows), given)
  if (!tagged) {
    check(columns.text !== undefined, 'ERR_DATA', () => 'predict: the rows hold words, the adapter reads texts')
    return { rows, columns }
  }
  if (columns.tokens !== undefined) return { rows, columns: { tokens: columns.tokens } }
  const split = rows.map(row => ({ ...row, values: { tokens: splitWords(textOf(row, columns.text!)) } }))
  return { rows: split, columns: { tokens: 'tokens' } }
}

/** The likeliest tokens at each mask of a text. */
async function fillMasks(
  { model, tokenizer }: Predictor,
  example: Example,
  text: string,
  top = 5,
): Promise<PredictionRecord> {
  const { mask } = tokenizer.specials
  const label = Int32Array.from(example.ids, id => (id === mask ? 0 : IGNORED))
  check(label.includes(0), 'ERR_DATA', () => {
    return `predict: "${text}" has no ${mask === undefined ? 'mask' : tokenizer.token(mask)} token to fill`
  })
  const { read, columns } = scope(() => {
    const batch = packExamples([{ ...example, label }], Int32Array.of(0), model.head)
    const logits = model.logits(batch, batch.targets)
    return { read: logits.data(), columns: logits.shape[1]! }
  })
  const data = (await read) as Float32Array
  const tokens = Array.from({ length: data.length / columns }, (_, row) => {
    const probabilities = softmax({ data, columns }, row)
    const best = [...probabilities.keys()].sort((a, b) => probabilities[b]! - probabilities[a]!).slice(0, top)
    const ranked = best.map(id => ({ predicted: tokenizer.token(id) ?? `#${id}`, probability: probabilities[id]! }))
    return { ...ranked[0]!, top: ranked }
  })
  return { text, tokens }
}

async function* rowsOf(settings: Settings, console: Console): AsyncGenerator<Row> {
  const { texts, input } = settings
  check(
    texts === undefined || input === undefined,
    'ERR_OPTION',
    () => 'predict: texts and input are both given; keep one',
  )
  const row = (text: string, line: number, file = ''): Row => ({ values: { text }, file, line })
  if (texts) {
    for (const [i, text] of texts.entries()) yield row(text, i + 1)
    return
  }
  if (input !== undefined && input !== '-') {
    if (settings.format !== undefined || /\.(jsonl|ndjson|csv|tsv|conll\w*|iob2?|bio)$/i.test(input)) {
      yield* openFile(input, openOptions(settings, console.note)).rows()
      return
    }
    for await (const { text, number } of readLines(input)) if (text.trim() !== '') yield row(text, number, input)
    return
  }
  if (process.stdin.isTTY) console.note('reading texts from the terminal, one a line; Ctrl-D ends')
  let line = 0
  for await (const text of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY }))
    if (++line && text.trim() !== '') yield row(text, line)
}

/** Rows to read before predicting: one where somebody types them. */
function groupSize({ texts, input, evalBatchSize }: Settings): number {
  const typed = !texts && (input === undefined || input === '-') && process.stdin.isTTY
  return typed ? 1 : (evalBatchSize ?? chunk)
}

/** Rows in groups of at most `size`. */
async function* chunks(rows: AsyncIterable<Row>, size: number): AsyncGenerator<Row[]> {
  let group: Row[] = []
  for await (const row of rows) {
    group.push(row)
    if (group.length < size) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
