// From a path or rows to examples of three splits: the order in which the parts of this folder are used.
import { check } from '../errors.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { type ColumnNames, type Columns, columnNames, findColumns } from './columns.ts'
import { type DuplicateReport, type DuplicateRule, resolveDuplicates, type Splits, splitHash } from './duplicates.ts'
import { type EncodedRows, encodeRows } from './encode.ts'
import { type LabelMap, type LabelOrder, labelsOf, tagLabelsOf } from './labels.ts'
import { collectRows, type DataSource, type OpenOptions, openDataset } from './open.ts'
import { listOf, type Row } from './row.ts'
import { type Fractions, splitRows, strataOf } from './split.ts'
import { detectScheme, toIob2 } from './tags.ts'
import { inferTask, type Task, type TaskChoice } from './task.ts'

/** Choices that a data set leaves open; what is not given is inferred and told in `notices`. */
export interface SplitOptions extends OpenOptions {
  readonly task?: Task | undefined
  readonly columnNames?: ColumnNames | undefined
  /** Label map to keep to (of a trained model); from all splits of the data otherwise. */
  readonly labels?: LabelMap | undefined
  readonly labelOrder?: LabelOrder | undefined
  /** Shares for splits that the data don't bring; 0.8/0.1/0.1 by default. */
  readonly fractions?: Fractions | undefined
  readonly seed?: number | bigint | undefined
  readonly duplicates?: DuplicateRule | undefined
}

/** Rows by split with all that was found out about them. */
export interface SplitData {
  readonly splits: Splits
  readonly choice: TaskChoice
  readonly columns: Columns
  /** Undefined for regression and masked LM. */
  readonly labels: LabelMap | undefined
  readonly duplicates: DuplicateReport
  readonly splitHash: string
  /** Sentences for the user about what was inferred, converted or split. */
  readonly notices: readonly string[]
}

/** Examples by split. */
export interface PreparedData extends SplitData {
  readonly train: EncodedRows
  readonly validation: EncodedRows
  readonly test: EncodedRows
}

const defaultFractions: Fractions = [0.8, 0.1, 0.1]

/**
 * Reads a file or folder, or takes rows; finds columns, task and labels; makes the splits that are missing.
 * @throws ERR_DATA, ERR_OPTION as the parts do
 */
export async function splitData(source: string | Partial<Splits>, options: SplitOptions = {}): Promise<SplitData> {
  const notices: string[] = []
  const given = typeof source === 'string' ? await readSplits(source, options, notices) : source
  const all = [...(given.train ?? []), ...(given.validation ?? []), ...(given.test ?? [])]
  check(all.length > 0, 'ERR_DATA', () => 'data: no rows')
  const columns = findColumns(columnNames(all), options.columnNames)
  const choice = inferTask(all, columns, options.task)
  notices.push(`task ${choice.task}: ${choice.reason}`)
  const tagged = convertTags(given, choice, columns, notices)
  const cut = cutSplits(tagged, columns, choice, options, notices)
  const { splits, report } = resolveDuplicates(cut, columns, options.duplicates)
  const across = report.trainValidation + report.trainTest + report.validationTest
  if (across > 0) notices.push(acrossText(across, options.duplicates ?? 'report'))
  const labels = options.labels ?? findLabels(splits, columns, choice, options.labelOrder)
  return { splits, choice, columns, labels, duplicates: report, splitHash: splitHash(splits), notices }
}

const duplicateTexts: Readonly<Record<DuplicateRule, string>> = {
  report: 'left there; duplicates: drop or move would part them',
  drop: 'the copies in the split trained on are dropped',
  move: 'all copies are moved to one split',
}

function acrossText(count: number, rule: DuplicateRule): string {
  return `${count} ${count === 1 ? 'text stands' : 'texts stand'} in more than one split (${duplicateTexts[rule]})`
}

/** {@link splitData} and the encoding of every split; empty splits give no examples. */
export async function prepareData(
  source: string | Partial<Splits>,
  tokenizer: Tokenizer,
  options: SplitOptions & { readonly maxLength: number },
): Promise<PreparedData> {
  const data = await splitData(source, options)
  const { columns, choice, labels, splits } = data
  const spec = { ...choice, columns, labels, maxLength: options.maxLength }
  const encode = (rows: readonly Row[]): EncodedRows => encodeRows(rows, tokenizer, spec)
  const [train, validation, test] = [encode(splits.train), encode(splits.validation), encode(splits.test)]
  const cut = train.truncated + validation.truncated + test.truncated
  const count = train.examples.length + validation.examples.length + test.examples.length
  const notices = [...data.notices, `${cut} of ${count} examples truncated to ${options.maxLength} tokens`]
  return { ...data, notices, train, validation, test }
}

async function readSplits(path: string, options: OpenOptions, notices: string[]): Promise<Partial<Splits>> {
  const told = { ...options, notice: options.notice ?? ((message: string) => notices.push(message)) }
  const source: DataSource = openDataset(path, told)
  const splits: Partial<Record<keyof Splits, Row[]>> = {}
  for (const name of ['train', 'validation', 'test'] as const) {
    const file = source[name]
    if (file) splits[name] = await collectRows(file.rows())
  }
  return splits
}

function cutSplits(
  { train = [], validation, test }: Partial<Splits>,
  columns: Columns,
  choice: TaskChoice,
  { fractions = defaultFractions, seed = 0 }: SplitOptions,
  notices: string[],
): Splits {
  if (validation || train.length === 0) return { train, validation: validation ?? [], test: test ?? [] }
  const whole = fractions[0] + fractions[1]
  const shares: Fractions = test ? [fractions[0] / whole, fractions[1] / whole, 0] : fractions
  const cut = splitRows(train, strataOf(train, columns, choice), shares, seed)
  const sizes = `${cut.train.length}/${cut.validation.length}/${(test ?? cut.test).length}`
  notices.push(`split ${shares.map(share => +share.toFixed(4)).join('/')} by seed ${seed}, stratified: ${sizes} rows`)
  return test ? { ...cut, test } : cut
}

function convertTags(splits: Partial<Splits>, choice: TaskChoice, columns: Columns, notices: string[]) {
  const { tags } = columns
  if (choice.task !== 'token-classification' || tags === undefined) return splits
  const rows = [...(splits.train ?? []), ...(splits.validation ?? []), ...(splits.test ?? [])]
  const scheme = detectScheme(rows.map(row => listOf(row, tags)))
  if (scheme !== 'IOB1' && scheme !== 'BIOES') return splits
  notices.push(`tags converted from ${scheme} to IOB2`)
  const convert = (row: Row): Row => ({ ...row, values: { ...row.values, [tags]: toIob2(listOf(row, tags)) } })
  return Object.fromEntries(Object.entries(splits).map(([name, list]) => [name, list.map(convert)])) as Partial<Splits>
}

function findLabels(splits: Splits, columns: Columns, choice: TaskChoice, order?: LabelOrder): LabelMap | undefined {
  const rows = [...splits.train, ...splits.validation, ...splits.test]
  if (choice.task === 'masked-lm' || choice.problemType === 'regression') return undefined
  if (choice.task === 'token-classification') return tagLabelsOf(rows, columns.tags!, order)
  return labelsOf(rows, columns.label!, order)
}
