// From data settings to rows and examples.

import type { Splits } from '../data/duplicates.ts'
import { type EncodedRows, encodeRows } from '../data/encode.ts'
import { type LabelMap, labelMap } from '../data/labels.ts'
import { type Masking, maskingOf, textBlocks } from '../data/maskedLm.ts'
import { collectRows, type DataFormat, type OpenOptions, openDataset, openFile } from '../data/open.ts'
import { type SplitData, type SplitOptions, splitData } from '../data/prepare.ts'
import type { Row } from '../data/row.ts'
import { parseFractions, splitRows, strataOf } from '../data/split.ts'
import type { ProblemType } from '../data/task.ts'
import { check } from '../errors.ts'
import type { Problem, Task } from '../heads/head.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { HeadChoice } from './base.ts'
import type { Settings } from './options/options.ts'

const problems: Readonly<Record<ProblemType, Problem>> = {
  single_label_classification: 'single',
  multi_label_classification: 'multi',
  regression: 'regression',
}

/** How a problem is called in data and config.json. */
export function problemTypeOf(problem: Problem): ProblemType {
  return (Object.keys(problems) as ProblemType[]).find(type => problems[type] === problem)!
}

/** Reader options of a command; `notice` is told about conversions. */
export function openOptions(settings: Settings, notice?: (message: string) => void): OpenOptions {
  return { format: settings.format as DataFormat | undefined, delimiter: settings.delimiter, notice }
}

/** Rows of the splits that training is to use, with task and labels found out. */
export async function readSplits(settings: Settings, labels?: LabelMap): Promise<SplitData> {
  const notices: string[] = []
  const notice = (message: string): void => void notices.push(message)
  const options: SplitOptions = {
    ...openOptions(settings, notice),
    task: settings.task as Task | undefined,
    columnNames: settings.columns,
    labels: labels ?? (settings.labels ? labelMap(settings.labels) : undefined),
    fractions: parseFractions(settings.split),
    seed: settings.seed,
    duplicates: settings.duplicates as 'report' | 'drop' | 'move',
  }
  const source = settings.train === undefined ? settings.data! : await readFiles(settings, notice)
  const found = await splitData(source, options)
  const splits = settings.rows === undefined ? found.splits : limited(found, settings.rows, settings.seed, notice)
  return { ...found, splits, notices: [...notices, ...found.notices] }
}

async function readFiles(settings: Settings, notice: (message: string) => void): Promise<Partial<Splits>> {
  check(settings.data === undefined, 'ERR_OPTION', () => {
    return `train: "${settings.train}" and data "${settings.data}" are both given; keep one`
  })
  const splits: Partial<Record<keyof Splits, Row[]>> = {}
  for (const name of ['train', 'validation', 'test'] as const) {
    const path = settings[name]
    if (path !== undefined) splits[name] = await collectRows(openFile(path, openOptions(settings, notice)).rows())
  }
  return splits
}

function limited(data: SplitData, rows: number, seed: number, notice: (message: string) => void): Splits {
  const { splits, columns, choice } = data
  const all = splits.train
  if (rows >= all.length) return splits
  const share = rows / all.length
  const { train } = splitRows(all, strataOf(all, columns, choice), [share, 1 - share, 0], seed)
  notice(`${train.length} of ${all.length} training rows taken, stratified by seed ${seed}`)
  return { ...splits, train }
}

/** The head that data ask for. A regression has one output, called by its column. */
export function headFor({ choice, labels, columns }: SplitData): HeadChoice {
  const { task, problemType } = choice
  if (task === 'masked-lm') return { task }
  if (problemType === 'regression') return { task, problem: 'regression', labels: [columns.label ?? 'value'] }
  return { task, problem: problemType && problems[problemType], labels: labels!.names }
}

/** Rows as examples. Texts of masked LM are cut into blocks, so that nothing of them is lost. */
export function encode(
  rows: readonly Row[],
  tokenizer: Tokenizer,
  { choice, columns, labels }: Pick<SplitData, 'choice' | 'columns' | 'labels'>,
  maxLength: number,
): EncodedRows {
  if (choice.task === 'masked-lm') {
    const blocks = textBlocks(rows, columns.text!, tokenizer, { length: maxLength, across: false })
    return { examples: [...blocks], truncated: 0, lostWords: 0 }
  }
  return encodeRows(rows, tokenizer, { ...choice, columns, labels, maxLength })
}

/** How tokens are hidden where the task hides them. */
export function maskingFor(task: Task, tokenizer: Tokenizer, settings: Settings): Masking | undefined {
  return task === 'masked-lm' ? maskingOf(tokenizer, { probability: settings.maskProbability }) : undefined
}

/** Rows of one file, or of the split of a folder that is to be evaluated. */
export async function readRows(settings: Settings, notice: (message: string) => void): Promise<readonly Row[]> {
  const source = openDataset(settings.data!, openOptions(settings, notice))
  const wanted = settings.evaluateOn ?? 'auto'
  const split = wanted === 'auto' ? (['test', 'validation', 'train'] as const).find(name => source[name]) : wanted
  const file = source[split as keyof Splits]
  check(file, 'ERR_DATA', () => {
    return `data: ${settings.data} has no ${String(split)} split; it has ${Object.keys(source).join(', ')}`
  })
  return collectRows(file.rows())
}
